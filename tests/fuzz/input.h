#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

namespace understudy {

// A fuzzer's bytes as a series of decisions. Past the end everything is zero.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : rest_(data, size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t byte() { return number<uint8_t>(); }
  uint16_t word() { return number<uint16_t>(); }
  uint32_t number32() { return number<uint32_t>(); }
  uint32_t below(uint32_t bound) { return bound <= 256 ? byte() % bound : word() % bound; }
  std::span<const uint8_t> bytes(size_t most) {
    const auto taken = rest_.first(std::min(most, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

 private:
  template <class Rep>
  Rep number() {
    Rep value = 0;
    const auto taken = bytes(sizeof value);
    std::memcpy(&value, taken.data(), taken.size());
    return value;
  }
  std::span<const uint8_t> rest_;
};

// The bytes again, in a heap block of exactly their size: a sanitizer sees the first byte read past them.
class ExactCopy {
 public:
  explicit ExactCopy(std::span<const uint8_t> bytes)
      : size_(bytes.size()), bytes_(new uint8_t[bytes.size()]) {
    if (size_ > 0) std::memcpy(bytes_.get(), bytes.data(), size_);
  }
  ExactCopy(const uint8_t* data, size_t size) : ExactCopy(std::span<const uint8_t>(data, size)) {}
  std::span<const uint8_t> span() const { return {bytes_.get(), size_}; }

 private:
  size_t size_;
  std::unique_ptr<uint8_t[]> bytes_;
};

}  // namespace understudy
