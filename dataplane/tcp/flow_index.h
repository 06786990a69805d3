#pragma once

#include <cstdint>
#include <memory>

#include "common/address.h"

namespace understudy::tcp {

// From the hash of a flow to the slots of the legs that may have it: a table of 8-byte entries with linear
// probing, at most two thirds full, so that a look-up reads one cache line, sometimes two. Keys are not
// stored: whoever asks compares with the leg's own. rte_hash was here before; with its copy of each key it
// took 180 bytes per leg, as much as the leg. All memory is allocated in the constructor. One thread.
class FlowIndex {
 public:
  // `seed` keys the hash: strangers who choose addresses and ports must not know which flows collide.
  FlowIndex(uint32_t capacity, uint32_t seed);

  uint32_t hash_of(const FlowKey& key) const;
  // The first entry with this hash for which `matches(leg)` holds; kNone if there is none.
  template <class Matches>
  uint32_t find(uint32_t hash, Matches&& matches) const {
    for (uint32_t at = home_of(hash); entries_[at].leg != kNone; at = next(at))
      if (entries_[at].hash == hash && matches(entries_[at].leg)) return entries_[at].leg;
    return kNone;
  }
  // At most `capacity` entries at once; a pair (hash, leg) only once.
  void insert(uint32_t hash, uint32_t leg);
  void erase(uint32_t hash, uint32_t leg);

  static constexpr uint32_t kNone = UINT32_MAX;

 private:
  struct Entry {
    uint32_t hash = 0;
    uint32_t leg = kNone;
  };
  // The hash's share of the table: any size will do, not only powers of two.
  uint32_t home_of(uint32_t hash) const { return static_cast<uint32_t>((uint64_t{hash} * size_) >> 32); }
  uint32_t next(uint32_t at) const { return at + 1 == size_ ? 0 : at + 1; }
  uint32_t distance(uint32_t from, uint32_t to) const { return to >= from ? to - from : to + size_ - from; }

  uint32_t size_;
  uint32_t seed_;
  std::unique_ptr<Entry[]> entries_;
};

}  // namespace understudy::tcp
