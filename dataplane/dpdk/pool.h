#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <rte_mbuf.h>

#include "common/result.h"

namespace understudy {

// A buffer holds RTE_PKTMBUF_HEADROOM bytes of headroom and a frame of up to kBufferRoom bytes: enough for an
// MTU of 1500 and for one slot of an af_packet ring of 2048-byte frames.
inline constexpr uint16_t kBufferRoom = 2048;

struct PoolSettings {
  std::string name;                   // unique in the process, at most 20 characters
  uint32_t buffers = 0;               // 0: as many as memory_mb holds
  unsigned memory_mb = 64;            // used when `buffers` is 0
  uint16_t frame_room = kBufferRoom;  // bytes for a frame, headroom not counted
  uint16_t private_size = 0;          // bytes beside each buffer for the owner of the pool; multiple of 8
  unsigned lcores = 1;                // threads that will cache buffers
};

struct PoolStatistics {
  uint32_t buffers = 0;
  uint32_t in_use = 0;  // taken by someone; those in lcore caches count as free
  uint32_t bytes_per_buffer = 0;
};

// Bytes of memory that one buffer costs, header and alignment included. Pure.
uint32_t bytes_per_buffer(uint16_t frame_room, uint16_t private_size);
enum class PageKind { huge, ordinary };
// The room that a buffer really gets. On ordinary pages DPDK lets no buffer cross a page, and the af_xdp
// driver computes the extent of the pool as if they lay side by side: it would lose every frame in the last
// buffers. So there each buffer is widened until it fills its part of a page. Pure.
uint16_t granted_room(uint16_t frame_room, uint16_t private_size, PageKind pages);
// How many buffers `memory_mb` holds. On ordinary pages no buffer crosses a page, so each of the usual size
// takes a whole one. Pure.
uint32_t buffers_for_memory(unsigned memory_mb, uint16_t frame_room, uint16_t private_size, PageKind pages);
// Buffers that each lcore keeps at hand: a 16th of its share and at most 256, so that caches cannot hide the
// pool. Pure.
uint32_t cache_size(uint32_t buffers, unsigned lcores);

struct PoolDeleter {
  void operator()(rte_mempool* pool) const;
};
using Pool = std::unique_ptr<rte_mempool, PoolDeleter>;

// A pool of mbufs. Every port that uses it must be closed before it is destroyed. Control thread.
Result<Pool> create_pool(const PoolSettings& settings);
// Any thread; walks the lcore caches, so not per burst.
PoolStatistics pool_statistics(const rte_mempool& pool);

}  // namespace understudy
