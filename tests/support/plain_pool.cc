#include "tests/support/plain_pool.h"

#include <cerrno>
#include <cstdio>
#include <new>
#include <vector>

#include <sys/mman.h>

#include "common/check.h"
#include "tests/support/mbuf_pool.h"

namespace understudy {
namespace {

constexpr unsigned kMbufs = 4095;

// Objects are made when they are first taken, the memory of the others is never touched: a program that needs
// a few starts in a millisecond and not in ten.
struct Stack {
  std::vector<void*> free;
  uint8_t* objects = nullptr;  // with their headers, one after the other
  unsigned made = 0;
};

Stack& stack_of(const rte_mempool* pool) {
  return *static_cast<Stack*>(pool->pool_data);
}

void* make_object(rte_mempool* pool) {
  Stack& stack = stack_of(pool);
  const size_t size = size_t{pool->header_size} + pool->elt_size + pool->trailer_size;
  uint8_t* object = stack.objects + size * stack.made + pool->header_size;
  rte_mempool_get_header(object)->mp = pool;
  rte_pktmbuf_init(pool, nullptr, object, stack.made++);
  return object;
}

int put(rte_mempool* pool, void* const* objects, unsigned count) {
  auto& free = stack_of(pool).free;
  free.insert(free.end(), objects, objects + count);
  return 0;
}

unsigned available(const rte_mempool* pool) {
  const Stack& stack = stack_of(pool);
  return static_cast<unsigned>(stack.free.size()) + pool->size - stack.made;
}

int take(rte_mempool* pool, void** objects, unsigned count) {
  if (available(pool) < count) return -ENOBUFS;
  auto& free = stack_of(pool).free;
  for (unsigned i = 0; i < count; ++i) {
    if (free.empty()) {
      objects[i] = make_object(pool);
      continue;
    }
    objects[i] = free.back();
    free.pop_back();
  }
  return 0;
}

// Never called: the pool is put together by hand. They must be there to be registered.
int allocate(rte_mempool*) {
  return 0;
}
void release(rte_mempool*) {}

int register_stack() {
  rte_mempool_ops ops{};
  std::snprintf(ops.name, sizeof ops.name, "%s", "plain stack");
  ops.alloc = allocate;
  ops.free = release;
  ops.enqueue = put;
  ops.dequeue = take;
  ops.get_count = available;
  const int index = rte_mempool_register_ops(&ops);
  invariant(index >= 0, "tests: no place for the pool's operations");
  return index;
}

uint8_t* map(size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  invariant(at != MAP_FAILED, "tests: no memory for the mbuf pool");
  return static_cast<uint8_t*>(at);
}

// What rte_pktmbuf_pool_create() does, less the memory zones and lists that processes share.
rte_mempool* create(uint16_t bytes) {
  static const int operations = register_stack();
  const auto data_room = static_cast<uint16_t>(RTE_PKTMBUF_HEADROOM + bytes);
  rte_mempool_objsz sizes{};
  rte_mempool_calc_obj_size(sizeof(rte_mbuf) + data_room, 0, &sizes);
  auto* pool = new (map(sizeof(rte_mempool) + sizeof(rte_pktmbuf_pool_private))) rte_mempool{};
  std::snprintf(pool->name, sizeof pool->name, "%s", "plain");
  pool->pool_data = new Stack;
  pool->ops_index = operations;
  pool->size = pool->populated_size = kMbufs;
  pool->elt_size = sizes.elt_size;
  pool->header_size = sizes.header_size;
  pool->trailer_size = sizes.trailer_size;
  pool->private_data_size = sizeof(rte_pktmbuf_pool_private);
  STAILQ_INIT(&pool->elt_list);
  STAILQ_INIT(&pool->mem_list);
  rte_pktmbuf_pool_private room{};
  room.mbuf_data_room_size = data_room;
  rte_pktmbuf_pool_init(pool, &room);
  stack_of(pool).free.reserve(kMbufs);
  stack_of(pool).objects = map(size_t{sizes.total_size} * kMbufs);
  return pool;
}

}  // namespace

rte_mempool* plain_mbuf_pool() {
  static rte_mempool* const pool = create(kTestMbufRoom);
  return pool;
}

rte_mempool* plain_mbuf_pool_for_any_packet() {
  static rte_mempool* const pool = create(UINT16_MAX - RTE_PKTMBUF_HEADROOM);
  return pool;
}

}  // namespace understudy
