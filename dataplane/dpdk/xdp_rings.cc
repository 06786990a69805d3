#include "dataplane/dpdk/xdp_rings.h"

#include <bit>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <linux/if_xdp.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace understudy {
namespace {

struct Mapping {
  uint64_t offset, length;
};

uint64_t inode_of(int descriptor) {
  struct stat status {};
  return descriptor >= 0 && fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

// What of the socket is in this process's memory: the driver's view of its rings, which tells their sizes.
std::vector<Mapping> mappings_of(uint64_t inode) {
  std::vector<Mapping> mappings;
  std::ifstream maps("/proc/self/maps");
  const std::string name = fmt::format("socket:[{}]", inode);
  for (std::string line; std::getline(maps, line);) {
    uint64_t from = 0, to = 0, offset = 0;
    if (line.ends_with(name) &&
        std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64, &from, &to, &offset) == 3)
      mappings.push_back({offset, to - from});
  }
  return mappings;
}

const xdp_ring_offset* layout_of(uint64_t offset, const xdp_mmap_offsets& offsets) {
  switch (offset) {
    case XDP_PGOFF_RX_RING:
      return &offsets.rx;
    case XDP_PGOFF_TX_RING:
      return &offsets.tx;
    case XDP_UMEM_PGOFF_FILL_RING:
      return &offsets.fr;
    case XDP_UMEM_PGOFF_COMPLETION_RING:
      return &offsets.cr;
    default:
      return nullptr;
  }
}

uint32_t index_at(const char* memory, uint64_t offset) {
  uint32_t value = 0;
  std::memcpy(&value, memory + offset, sizeof value);
  return value;
}

}  // namespace

std::optional<XdpRings> XdpRings::of(int descriptor) {
  xdp_mmap_offsets offsets{};
  socklen_t length = sizeof offsets;
  if (descriptor < 0 || getsockopt(descriptor, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) != 0)
    return std::nullopt;
  XdpRings rings(descriptor, inode_of(descriptor));
  for (const Mapping& mapping : mappings_of(rings.inode_)) {
    const xdp_ring_offset* layout = layout_of(mapping.offset, offsets);
    if (layout == nullptr) continue;
    void* memory = mmap(nullptr, mapping.length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor,
                        static_cast<off_t>(mapping.offset));
    if (memory == MAP_FAILED) continue;
    const bool frames = layout == &offsets.rx || layout == &offsets.tx;
    const uint64_t entry_size = frames ? sizeof(xdp_desc) : sizeof(uint64_t);
    const auto size = static_cast<uint32_t>(std::bit_floor((mapping.length - layout->desc) / entry_size));
    rings.rings_.push_back({static_cast<char*>(memory), mapping.length, layout->producer, layout->consumer,
                            layout->desc, entry_size, size});
  }
  return rings;
}

XdpRings::XdpRings(XdpRings&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      inode_(other.inode_),
      rings_(std::move(other.rings_)) {
  other.rings_.clear();
}

XdpRings::~XdpRings() {
  for (const Ring& ring : rings_) munmap(ring.memory, ring.length);
}

// Each entry begins with the address of a buffer as the driver gives it to the kernel: relative to the page
// in which the pool's memory begins, without the pool's header; the upper 16 bits are an offset inside the
// buffer.
uint32_t XdpRings::empty(const Ring& ring, rte_mempool& pool) const {
  constexpr uint64_t kAddressMask = (uint64_t{1} << XSK_UNALIGNED_BUF_OFFSET_SHIFT) - 1;
  const rte_mempool_memhdr& memory = *STAILQ_FIRST(&pool.mem_list);
  const auto start = reinterpret_cast<uintptr_t>(memory.addr);
  const uintptr_t base = start & ~(static_cast<uintptr_t>(getpagesize()) - 1);
  const uint32_t last = index_at(ring.memory, ring.producer);
  uint32_t given_back = 0;
  for (uint32_t next = index_at(ring.memory, ring.consumer); next != last && given_back < ring.size; ++next) {
    uint64_t address = 0;
    std::memcpy(&address, ring.memory + ring.entries + (next & (ring.size - 1)) * ring.entry_size,
                sizeof address);
    const uintptr_t element = base + (address & kAddressMask);
    if (element < start || element >= start + memory.len) continue;
    auto* buffer = reinterpret_cast<rte_mbuf*>(element + pool.header_size);
    if (buffer->pool != &pool) continue;
    rte_pktmbuf_free(buffer);
    ++given_back;
  }
  return given_back;
}

uint32_t XdpRings::give_back(rte_mempool& pool) {
  uint32_t given_back = 0;
  for (const Ring& ring : rings_) {
    given_back += empty(ring, pool);
    munmap(ring.memory, ring.length);
  }
  rings_.clear();
  if (descriptor_ >= 0 && inode_of(descriptor_) == inode_) close(descriptor_);
  descriptor_ = -1;
  return given_back;
}

bool xdp_queue_free(int interface_index, uint32_t queue) {
  const int probe = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (probe < 0) return true;  // the device will say why
  constexpr size_t kChunk = 4096;
  void* memory = mmap(nullptr, kChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  xdp_umem_reg area{};
  area.addr = reinterpret_cast<uintptr_t>(memory);
  area.len = kChunk;
  area.chunk_size = kChunk;
  const int entries = 1;
  bool prepared = setsockopt(probe, SOL_XDP, XDP_UMEM_REG, &area, sizeof area) == 0;
  for (int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING})
    prepared = prepared && setsockopt(probe, SOL_XDP, ring, &entries, sizeof entries) == 0;
  // Zero-copy is asked for because interfaces that need the copy refuse it after they have looked whether the
  // queue is taken, and so don't give it to the probe.
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = XDP_ZEROCOPY;
  address.sxdp_ifindex = static_cast<uint32_t>(interface_index);
  address.sxdp_queue_id = queue;
  const bool bound = prepared && bind(probe, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  const bool busy = prepared && !bound && errno == EBUSY;
  close(probe);
  munmap(memory, kChunk);
  // A real device took the probe; its queue is free again when that is gone.
  if (bound) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return !busy;
}

}  // namespace understudy
