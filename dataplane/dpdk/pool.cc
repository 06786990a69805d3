#include "dataplane/dpdk/pool.h"

#include <algorithm>
#include <bit>
#include <vector>

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

namespace understudy {

uint32_t bytes_per_buffer(uint16_t frame_room, uint16_t private_size) {
  const uint32_t element =
      static_cast<uint32_t>(sizeof(rte_mbuf)) + private_size + RTE_PKTMBUF_HEADROOM + frame_room;
  return rte_mempool_calc_obj_size(element, RTE_MEMPOOL_F_NO_SPREAD, nullptr);
}

uint16_t granted_room(uint16_t frame_room, uint16_t private_size, PageKind pages) {
  constexpr uint32_t kOrdinaryPage = 4096;
  const uint32_t needed = bytes_per_buffer(frame_room, private_size);
  if (pages == PageKind::huge || needed > kOrdinaryPage) return frame_room;
  return static_cast<uint16_t>(frame_room + std::bit_ceil(needed) - needed);
}

uint32_t buffers_for_memory(unsigned memory_mb, uint16_t frame_room, uint16_t private_size, PageKind pages) {
  // Beside the buffer its place in the ring of free ones, which is a power of two in size.
  const uint64_t each =
      bytes_per_buffer(granted_room(frame_room, private_size, pages), private_size) + 2 * sizeof(void*);
  return static_cast<uint32_t>(std::min<uint64_t>((uint64_t{memory_mb} << 20) / each, UINT32_MAX / 2));
}

uint32_t cache_size(uint32_t buffers, unsigned lcores) {
  const uint32_t share = buffers / std::max(lcores, 1u) / 16;
  return std::min<uint32_t>({share, 256, RTE_MEMPOOL_CACHE_MAX_SIZE});
}

namespace {

// The af_xdp driver registers with the kernel as many bytes from the page in which the pool begins as all its
// buffers would take side by side. But no buffer crosses a page, so the last ones lie beyond that, and frames
// in them vanish without a count: one in a thousand with hugepages. They are taken out for good; `pool` is
// new and untouched.
void set_unregistered_buffers_aside(rte_mempool& pool) {
  constexpr uintptr_t kPage = 4096;
  const uint64_t each = pool.header_size + pool.elt_size + pool.trailer_size;
  const auto begin = reinterpret_cast<uintptr_t>(STAILQ_FIRST(&pool.mem_list)->addr);
  const uintptr_t registered_begin = begin & ~(kPage - 1);
  const uintptr_t registered_end = begin + pool.populated_size * each;
  std::vector<void*> all(pool.size);
  if (rte_mempool_ops_dequeue_bulk(&pool, all.data(), pool.size) != 0) return;
  std::erase_if(all, [&](const void* buffer) {
    const auto address = reinterpret_cast<uintptr_t>(buffer);
    return address - pool.header_size < registered_begin ||
           address + pool.elt_size + pool.trailer_size > registered_end;
  });
  rte_mempool_ops_enqueue_bulk(&pool, all.data(), static_cast<unsigned>(all.size()));
}

// rte_pktmbuf_pool_create, but without padding buffers apart over memory channels: it would undo
// granted_room.
rte_mempool* make_pool(const PoolSettings& settings, uint32_t buffers, uint16_t room) {
  const uint32_t element =
      static_cast<uint32_t>(sizeof(rte_mbuf)) + settings.private_size + RTE_PKTMBUF_HEADROOM + room;
  rte_mempool* pool =
      rte_mempool_create_empty(settings.name.c_str(), buffers, element, cache_size(buffers, settings.lcores),
                               sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_SPREAD);
  if (pool == nullptr) return nullptr;
  rte_pktmbuf_pool_private layout{};
  layout.mbuf_data_room_size = static_cast<uint16_t>(RTE_PKTMBUF_HEADROOM + room);
  layout.mbuf_priv_size = settings.private_size;
  const bool made = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr) == 0;
  rte_pktmbuf_pool_init(pool, &layout);
  if (!made || rte_mempool_populate_default(pool) < 0) {
    const int error = rte_errno;
    rte_mempool_free(pool);
    rte_errno = error;
    return nullptr;
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  return pool;
}

}  // namespace

void PoolDeleter::operator()(rte_mempool* pool) const {
  rte_mempool_free(pool);
}

Result<Pool> create_pool(const PoolSettings& settings) {
  const PageKind pages = rte_eal_has_hugepages() ? PageKind::huge : PageKind::ordinary;
  const uint32_t buffers = settings.buffers != 0 ? settings.buffers
                                                 : buffers_for_memory(settings.memory_mb, settings.frame_room,
                                                                      settings.private_size, pages);
  const uint16_t room = granted_room(settings.frame_room, settings.private_size, pages);
  rte_mempool* pool = make_pool(settings, buffers, room);
  if (pool == nullptr)
    return Error{fmt::format(
        "the pool '{}' of {} buffers ({} MB) cannot be made: {}; raise 'memory_mb'", settings.name, buffers,
        uint64_t{buffers} * bytes_per_buffer(room, settings.private_size) >> 20, rte_strerror(rte_errno))};
  set_unregistered_buffers_aside(*pool);
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
