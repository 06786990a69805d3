#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/check.h"

namespace understudy {

// A fixed number of T, taken and given back by index. All memory is allocated in the constructor; an index
// stays valid until release. Freed slots are reused last-in first-out, so hot slots stay in cache.
// One thread.
template <class T>
class Slab {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  explicit Slab(uint32_t capacity) : slots_(std::make_unique<T[]>(capacity)), used_(capacity, false) {
    free_.reserve(capacity);
    for (uint32_t i = capacity; i-- > 0;) free_.push_back(i);
  }
  // kNone when all are taken. The slot holds a fresh T.
  uint32_t take() {
    if (free_.empty()) return kNone;
    const uint32_t index = free_.back();
    free_.pop_back();
    used_[index] = true;
    slots_[index] = T();
    return index;
  }
  void release(uint32_t index) {
    invariant(index < used_.size() && used_[index], "slab: a slot is released that is not taken");
    used_[index] = false;
    free_.push_back(index);
  }
  T& operator[](uint32_t index) { return slots_[index]; }
  const T& operator[](uint32_t index) const { return slots_[index]; }
  bool is_taken(uint32_t index) const { return index < used_.size() && used_[index]; }
  uint32_t capacity() const { return static_cast<uint32_t>(used_.size()); }
  uint32_t taken() const { return static_cast<uint32_t>(used_.size() - free_.size()); }

 private:
  std::unique_ptr<T[]> slots_;
  std::vector<bool> used_;
  std::vector<uint32_t> free_;
};

}  // namespace understudy
