#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "common/address.h"
#include "common/strong.h"

namespace understudy::mirror {

// Appends big-endian integers and addresses: the one way in which control messages between nodes are written.
class ByteWriter {
 public:
  void u8(uint8_t value) { bytes_.push_back(value); }
  void u16(uint16_t value) { integer(value, 2); }
  void u32(uint32_t value) { integer(value, 4); }
  void u64(uint64_t value) { integer(value, 8); }
  void boolean(bool value) { u8(value ? 1 : 0); }
  void epoch(const Epoch& value) {
    u32(value.counter);
    u16(value.node.value());
  }
  void raw(std::span<const uint8_t> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  size_t size() const { return bytes_.size(); }
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  std::vector<uint8_t> take() { return std::move(bytes_); }

 private:
  void integer(uint64_t value, int width) {
    for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) u8(static_cast<uint8_t>(value >> shift));
  }
  std::vector<uint8_t> bytes_;
};

// Reads what ByteWriter wrote from bytes that may be anything. Once a read goes past the end, ok() is false
// for good and every further read yields zeros: the caller checks once, at the end.
class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : rest_(bytes) {}
  uint8_t u8() { return static_cast<uint8_t>(integer(1)); }
  uint16_t u16() { return static_cast<uint16_t>(integer(2)); }
  uint32_t u32() { return static_cast<uint32_t>(integer(4)); }
  uint64_t u64() { return integer(8); }
  bool boolean() { return u8() != 0; }
  Epoch epoch() {
    const uint32_t counter = u32();
    return Epoch{counter, NodeId(u16())};
  }
  template <size_t N>
  std::array<uint8_t, N> array() {
    std::array<uint8_t, N> value{};
    const auto bytes = block(N);
    if (ok_) std::copy(bytes.begin(), bytes.end(), value.begin());
    return value;
  }
  // The next `length` bytes; empty and not ok() when there are fewer.
  std::span<const uint8_t> block(size_t length) {
    if (length > rest_.size()) {
      ok_ = false;
      rest_ = {};
    }
    if (!ok_) return {};
    const auto taken = rest_.first(length);
    rest_ = rest_.subspan(length);
    return taken;
  }
  bool ok() const { return ok_; }
  size_t remaining() const { return rest_.size(); }

 private:
  uint64_t integer(size_t width) {
    uint64_t value = 0;
    for (const uint8_t byte : block(width)) value = value << 8 | byte;
    return value;
  }
  std::span<const uint8_t> rest_;
  bool ok_ = true;
};

}  // namespace understudy::mirror
