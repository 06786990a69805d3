#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>

namespace understudy {

// A heap copy of just these bytes: a sanitizer sees every access beyond them.
class ExactBytes {
 public:
  explicit ExactBytes(std::span<const uint8_t> bytes)
      : bytes_(std::make_unique<uint8_t[]>(bytes.size())), size_(bytes.size()) {
    std::ranges::copy(bytes, bytes_.get());
  }
  std::span<uint8_t> span() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  size_t size_;
};

}  // namespace understudy
