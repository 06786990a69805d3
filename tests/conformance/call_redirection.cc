#include "tests/conformance/call_redirection.h"

#include <cstdint>
#include <cstring>

#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace understudy::conformance {
namespace {

struct Search {
  const char* symbol;
  void* to;
  bool found = false;
};

struct Imports {
  const Elf64_Sym* symbols = nullptr;
  const char* names = nullptr;
  const Elf64_Rela* relocations[2] = {nullptr, nullptr};  // calls through the table, and the others
  size_t bytes[2] = {0, 0};
};

Imports imports_of(const dl_phdr_info& program) {
  Imports imports;
  for (int i = 0; i < program.dlpi_phnum; ++i) {
    if (program.dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    // The loader has made these addresses absolute.
    for (auto* d = reinterpret_cast<const Elf64_Dyn*>(program.dlpi_addr + program.dlpi_phdr[i].p_vaddr);
         d->d_tag != DT_NULL; ++d) {
      const auto address = d->d_un.d_ptr;
      if (d->d_tag == DT_SYMTAB) imports.symbols = reinterpret_cast<const Elf64_Sym*>(address);
      if (d->d_tag == DT_STRTAB) imports.names = reinterpret_cast<const char*>(address);
      if (d->d_tag == DT_JMPREL) imports.relocations[0] = reinterpret_cast<const Elf64_Rela*>(address);
      if (d->d_tag == DT_PLTRELSZ) imports.bytes[0] = d->d_un.d_val;
      if (d->d_tag == DT_RELA) imports.relocations[1] = reinterpret_cast<const Elf64_Rela*>(address);
      if (d->d_tag == DT_RELASZ) imports.bytes[1] = d->d_un.d_val;
    }
  }
  return imports;
}

// The table may have been made read-only after start.
bool write_slot(void** slot, void* to) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  auto* begin = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(slot) & ~(page - 1));
  if (mprotect(begin, page, PROT_READ | PROT_WRITE) != 0) return false;
  *slot = to;
  return true;
}

int redirect_in(dl_phdr_info* program, size_t, void* data) {
  auto& search = *static_cast<Search*>(data);
  const Imports imports = imports_of(*program);
  if (imports.symbols == nullptr || imports.names == nullptr) return 1;
  for (int table = 0; table < 2; ++table) {
    const size_t count = imports.bytes[table] / sizeof(Elf64_Rela);
    for (size_t i = 0; imports.relocations[table] != nullptr && i < count; ++i) {
      const Elf64_Rela& r = imports.relocations[table][i];
      const auto type = ELF64_R_TYPE(r.r_info);
      if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) continue;
      const char* name = imports.names + imports.symbols[ELF64_R_SYM(r.r_info)].st_name;
      if (std::strcmp(name, search.symbol) != 0) continue;
      search.found |= write_slot(reinterpret_cast<void**>(program->dlpi_addr + r.r_offset), search.to);
    }
  }
  return 1;  // the first one is the program itself
}

}  // namespace

bool redirect_calls_of_program(const char* symbol, void* to) {
  Search search{symbol, to};
  dl_iterate_phdr(redirect_in, &search);
  return search.found;
}

}  // namespace understudy::conformance
