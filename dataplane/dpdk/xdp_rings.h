#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

struct rte_mempool;

namespace understudy {

// The four rings that an XDP socket shares with the kernel, seen beside the driver. The af_xdp driver of
// DPDK 22.11 forgets two things when its device is closed: to close the socket, so that the kernel never
// gives the interface's queue back, and every buffer that lies in a ring, some thousands each time. Both are
// put right here.
//
//   auto rings = XdpRings::of(descriptor);    // while the device runs
//   ... stop and remove the device ...
//   rings->give_back(pool);                   // the buffers return to the pool, the socket is closed
//
// The thread that owns the port.
// A third, after a refused start: it loses the buffers that it had laid ready. So a port waits until
// xdp_queue_free first.
class XdpRings {
 public:
  static std::optional<XdpRings> of(int descriptor);  // none when it is no XDP socket
  XdpRings(XdpRings&& other) noexcept;
  XdpRings& operator=(XdpRings&&) = delete;
  ~XdpRings();

  // Call once, after the driver has let go of the device, and once no frame can be on its way into the
  // socket. Returns how many buffers came back.
  uint32_t give_back(rte_mempool& pool);

 private:
  struct Ring {
    char* memory;
    uint64_t length;                       // of the mapping, in bytes
    uint64_t producer, consumer, entries;  // offsets in the mapping
    uint64_t entry_size;
    uint32_t size;  // entries, a power of two
  };
  XdpRings(int descriptor, uint64_t inode) : descriptor_(descriptor), inode_(inode) {}
  uint32_t empty(const Ring& ring, rte_mempool& pool) const;

  int descriptor_;
  uint64_t inode_;
  std::vector<Ring> rings_;
};

// Whether an XDP socket could be bound to this queue now. The kernel holds a queue for some time after its
// last socket was closed (an RCU grace period and a work item).
bool xdp_queue_free(int interface_index, uint32_t queue);

}  // namespace understudy
