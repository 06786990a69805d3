#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace understudy {

// Storage-only big-endian integers for wire formats: alignment 1, no arithmetic, explicit get().
template <class Rep>
class BigEndian {
 public:
  constexpr BigEndian() = default;
  constexpr BigEndian(Rep host) { set(host); }  // NOLINT(google-explicit-constructor): stores, loses nothing
  constexpr Rep get() const {
    Rep host = 0;
    for (unsigned char byte : bytes_) host = static_cast<Rep>(static_cast<Rep>(host << 8) | byte);
    return host;
  }
  constexpr void set(Rep host) {
    for (size_t i = sizeof(Rep); i-- > 0;) {
      bytes_[i] = static_cast<unsigned char>(host & 0xff);
      if constexpr (sizeof(Rep) > 1) host = static_cast<Rep>(host >> 8);
    }
  }
  friend constexpr bool operator==(const BigEndian&, const BigEndian&) = default;

 private:
  unsigned char bytes_[sizeof(Rep)] = {};
};

using be16_t = BigEndian<uint16_t>;
using be32_t = BigEndian<uint32_t>;
using be64_t = BigEndian<uint64_t>;
static_assert(sizeof(be16_t) == 2 && alignof(be16_t) == 1);
static_assert(sizeof(be32_t) == 4 && alignof(be32_t) == 1);
static_assert(sizeof(be64_t) == 8 && alignof(be64_t) == 1);

}  // namespace understudy
