#pragma once

#include <vector>

#include <rte_mbuf.h>

namespace understudy::worker {

// A few buffers that are kept out of the pool for what must be said even when nothing else can be: a node
// whose pool is empty would be taken for dead while it still speaks. Lent to the pool for the moment in which
// they are needed, and taken back as soon as the pool has some. One thread.
class BufferReserve {
 public:
  BufferReserve(rte_mempool* pool, size_t buffers) : pool_(pool), wanted_(buffers) { held_.reserve(buffers); }
  ~BufferReserve() { lend(); }
  BufferReserve(const BufferReserve&) = delete;
  BufferReserve& operator=(const BufferReserve&) = delete;

  void lend() {
    for (rte_mbuf* buffer : held_) rte_pktmbuf_free(buffer);
    held_.clear();
  }
  void refill() {
    while (held_.size() < wanted_) {
      rte_mbuf* buffer = rte_pktmbuf_alloc(pool_);
      if (buffer == nullptr) return;
      held_.push_back(buffer);
    }
  }
  // False: there is no buffer besides, so that a port which shares the pool receives nothing.
  bool leaves_any() const {
    rte_mbuf* buffer = rte_pktmbuf_alloc(pool_);
    rte_pktmbuf_free(buffer);
    return buffer != nullptr;
  }

 private:
  rte_mempool* pool_;
  size_t wanted_;
  std::vector<rte_mbuf*> held_;
};

}  // namespace understudy::worker
