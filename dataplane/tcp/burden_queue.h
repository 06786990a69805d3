#pragma once

#include <cstdint>

#include "common/slab.h"
#include "dataplane/tcp/soft.h"

namespace understudy::tcp {

// Soft states in the order in which they joined, linked through Soft::burden. One thread; constant time.
class BurdenQueue {
 public:
  explicit BurdenQueue(Slab<Soft>& slab) : slab_(slab) {}
  void push(uint32_t soft) {
    Soft::BurdenLink& link = slab_[soft].burden;
    link.previous = last_;
    link.next = kNone;
    (last_ == kNone ? first_ : slab_[last_].burden.next) = soft;
    last_ = soft;
    ++size_;
  }
  void remove(uint32_t soft) {
    const Soft::BurdenLink link = slab_[soft].burden;
    (link.previous == kNone ? first_ : slab_[link.previous].burden.next) = link.next;
    (link.next == kNone ? last_ : slab_[link.next].burden.previous) = link.previous;
    --size_;
  }
  uint32_t oldest() const { return first_; }  // kNone if empty
  uint32_t size() const { return size_; }

 private:
  Slab<Soft>& slab_;
  uint32_t first_ = kNone;
  uint32_t last_ = kNone;
  uint32_t size_ = 0;
};

}  // namespace understudy::tcp
