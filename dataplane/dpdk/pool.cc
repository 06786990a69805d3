#include "dataplane/dpdk/pool.h"

#include <algorithm>

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mempool.h>

namespace understudy {

uint32_t bytes_per_buffer(uint16_t frame_room, uint16_t private_size) {
  const uint32_t element =
      static_cast<uint32_t>(sizeof(rte_mbuf)) + private_size + RTE_PKTMBUF_HEADROOM + frame_room;
  return rte_mempool_calc_obj_size(element, 0, nullptr);
}

uint32_t buffers_for_memory(unsigned memory_mb, uint16_t frame_room, uint16_t private_size, PageKind pages) {
  constexpr uint64_t kOrdinaryPage = 4096;
  uint64_t each = bytes_per_buffer(frame_room, private_size);
  if (pages == PageKind::ordinary && each <= kOrdinaryPage) each = kOrdinaryPage / (kOrdinaryPage / each);
  each += 2 * sizeof(void*);  // its place in the ring of free ones, which is a power of two in size
  return static_cast<uint32_t>(std::min<uint64_t>((uint64_t{memory_mb} << 20) / each, UINT32_MAX / 2));
}

uint32_t cache_size(uint32_t buffers, unsigned lcores) {
  const uint32_t share = buffers / std::max(lcores, 1u) / 16;
  return std::min<uint32_t>({share, 256, RTE_MEMPOOL_CACHE_MAX_SIZE});
}

void PoolDeleter::operator()(rte_mempool* pool) const {
  rte_mempool_free(pool);
}

Result<Pool> create_pool(const PoolSettings& settings) {
  const PageKind pages = rte_eal_has_hugepages() ? PageKind::huge : PageKind::ordinary;
  const uint32_t buffers = settings.buffers != 0 ? settings.buffers
                                                 : buffers_for_memory(settings.memory_mb, settings.frame_room,
                                                                      settings.private_size, pages);
  rte_mempool* pool = rte_pktmbuf_pool_create(
      settings.name.c_str(), buffers, cache_size(buffers, settings.lcores), settings.private_size,
      static_cast<uint16_t>(RTE_PKTMBUF_HEADROOM + settings.frame_room), SOCKET_ID_ANY);
  if (pool == nullptr)
    return Error{fmt::format(
        "the pool '{}' of {} buffers ({} MB) cannot be made: {}; raise 'memory_mb'", settings.name, buffers,
        uint64_t{buffers} * bytes_per_buffer(settings.frame_room, settings.private_size) >> 20,
        rte_strerror(rte_errno))};
  return Pool(pool);
}

PoolStatistics pool_statistics(const rte_mempool& pool) {
  PoolStatistics statistics;
  statistics.buffers = pool.size;
  statistics.in_use = rte_mempool_in_use_count(&pool);
  statistics.bytes_per_buffer = pool.header_size + pool.elt_size + pool.trailer_size;
  return statistics;
}

}  // namespace understudy
