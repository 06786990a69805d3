#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace understudy {

// 128 bits that attackers must not know: keys initial sequence numbers, timestamp offsets and cookies.
struct Secret {
  std::array<uint8_t, 16> bytes{};
};

// SipHash-2-4 (Aumasson and Bernstein 2012): a keyed hash of `length` bytes.
uint64_t siphash(const Secret& key, const void* data, size_t length);

}  // namespace understudy
