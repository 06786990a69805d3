// The shared object that packetdrill loads. The tool loads with RTLD_DEEPBIND, under which DPDK's start-up
// would read another `optarg` than the one that getopt writes (the program's own copy). So this one depends
// on nothing, and loads the adapter beside it in the ordinary way.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <dlfcn.h>

#include "tests/conformance/packetdrill_interface.h"

extern "C" __attribute__((visibility("default"))) void packetdrill_interface_init(
    const char* flags, PacketdrillInterface* table) {
  Dl_info self{};
  dladdr(reinterpret_cast<void*>(&packetdrill_interface_init), &self);
  std::string path = self.dli_fname;
  path.replace(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1, std::string::npos,
               "libunderstudy_packetdrill_adapter.so");
  void* adapter = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* fill = adapter == nullptr ? nullptr : dlsym(adapter, "fill_packetdrill_interface");
  if (fill == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::exit(2);
  }
  reinterpret_cast<decltype(&packetdrill_interface_init)>(fill)(flags, table);
}
