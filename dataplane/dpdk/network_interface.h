#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "common/address.h"
#include "common/result.h"
#include "dataplane/dpdk/device.h"

namespace understudy {

// The kernel's network interface under a socket port: what DPDK's socket drivers don't tell, or tell wrongly
// (they report the link as always up), and settings that vanish with the process, however it ends. Control
// thread.
class NetworkInterface {
 public:
  // In the network namespace of the calling thread. Errors: no such interface, no permission.
  static Result<NetworkInterface> open(const std::string& name);
  NetworkInterface(NetworkInterface&& other) noexcept;
  NetworkInterface& operator=(NetworkInterface&& other) noexcept;
  ~NetworkInterface();

  int index() const { return index_; }
  uint32_t mtu() const;       // bytes after the Ethernet header; 0 when the interface is gone
  bool carrier() const;       // up, and with a link; false when the interface is gone
  Status hold_promiscuous();  // for as long as this object lives; no flag of the interface is changed

 private:
  NetworkInterface(std::string name, int descriptor, int index);
  std::string name_;
  int descriptor_ = -1;  // a packet socket that receives nothing
  int index_ = 0;
};

// Descriptors of this process that are open now.
std::set<int> open_descriptors();
// Those of them that are BPF maps and programs and not in `before`.
std::set<int> new_bpf_descriptors(const std::set<int>& before);
// Closes those that are BPF maps and programs still: libxdp forgets two of them each time.
void close_bpf_descriptors(const std::set<int>& descriptors);
// The socket of a driver on interface `index`, among those that are open now and not in `before`. -1: none.
int find_port_socket(DeviceKind kind, int index, const std::set<int>& before);
// An AF_PACKET socket also receives what this host sends on the interface itself; this turns that off.
void ignore_outgoing_frames(int packet_socket);
// Lets an XDP socket have a whole completion ring of frames on their way. With the kernel's default of some
// 90 full frames the driver, which calls send() until all is taken, spins as soon as softirqs lag behind; and
// a worker at a high priority that spins is what keeps them from running.
void allow_frames_on_the_way(int xdp_socket);
// Frames that the kernel dropped since the last call because the ring of an AF_PACKET socket was full.
uint64_t take_dropped_frames(int packet_socket);

}  // namespace understudy
