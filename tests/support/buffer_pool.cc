#include "tests/support/buffer_pool.h"

#include <map>
#include <string>
#include <vector>

#include <rte_mbuf.h>

#include "common/check.h"
#include "tests/support/mbuf_pool.h"

namespace understudy {
namespace {

std::map<unsigned, std::vector<rte_mempool*>>& stock() {
  static std::map<unsigned, std::vector<rte_mempool*>> pools;
  return pools;
}

rte_mempool* create(unsigned buffers) {
  static int unique = 0;
  test_mbuf_pool();  // starts the EAL
  // The buffer that was freed last is the next one: a machine with little traffic stays in the cache.
  rte_mempool* pool = rte_pktmbuf_pool_create_by_ops(("stock" + std::to_string(unique++)).c_str(), buffers, 0,
                                                     0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY, "stack");
  invariant(pool != nullptr, "tests: no memory for a machine's buffers");
  return pool;
}

// Everything is in the pool again, as new.
void bring_home(rte_mempool* pool) {
  void* buffer = nullptr;
  while (rte_mempool_get(pool, &buffer) == 0) {
  }
  const auto give_back = [](rte_mempool* to, void*, void* object, unsigned) {
    auto* mbuf = static_cast<rte_mbuf*>(object);
    rte_mbuf_refcnt_set(mbuf, 1);
    mbuf->next = nullptr;
    mbuf->nb_segs = 1;
    mbuf->ol_flags = 0;
    rte_mempool_put(to, object);
  };
  rte_mempool_obj_iter(pool, give_back, nullptr);
}

}  // namespace

BufferPool::BufferPool(unsigned buffers) {
  std::vector<rte_mempool*>& pools = stock()[buffers];
  if (pools.empty()) pools.push_back(create(buffers));
  pool_ = pools.back();
  pools.pop_back();
}

BufferPool::~BufferPool() {
  if (rte_mempool_in_use_count(pool_) > 0) bring_home(pool_);
  stock()[pool_->size].push_back(pool_);
}

}  // namespace understudy
