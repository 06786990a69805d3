#pragma once

#include <rte_mempool.h>

namespace understudy {

// A pool of buffers for the lifetime of one simulated machine, from a stock: making one takes milliseconds,
// and a simulator starts thousands of machines. Whatever the machine still held when it died comes home with
// the pool. One thread.
class BufferPool {
 public:
  explicit BufferPool(unsigned buffers);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  rte_mempool* get() const { return pool_; }

 private:
  rte_mempool* pool_;
};

}  // namespace understudy
