#pragma once

#include <cstdint>
#include <cstring>

#include "common/address.h"

namespace understudy::neighbour {

// For tables of addresses that we or our configuration chose: spreads, but keeps no secret from an attacker.
inline uint32_t address_hash(const IpAddress& address, uint16_t salt = 0) {
  uint64_t halves[2];
  std::memcpy(halves, address.bytes().data(), sizeof halves);
  uint64_t hash = (halves[0] ^ salt) * 0x9e3779b97f4a7c15ULL;
  hash = (hash ^ (hash >> 32) ^ halves[1]) * 0xbf58476d1ce4e5b9ULL;
  return static_cast<uint32_t>(hash >> 32);
}

}  // namespace understudy::neighbour
