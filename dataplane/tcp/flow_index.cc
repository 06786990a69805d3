#include "dataplane/tcp/flow_index.h"

#include <type_traits>

#include <rte_jhash.h>

#include "common/check.h"

namespace understudy::tcp {

FlowIndex::FlowIndex(uint32_t capacity, uint32_t seed)
    : size_(capacity + capacity / 2 + 64), seed_(seed), entries_(std::make_unique<Entry[]>(size_)) {}

// Not the flow hash that spreads shards: under its symmetric key all flows of a shard look alike.
uint32_t FlowIndex::hash_of(const FlowKey& key) const {
  static_assert(sizeof(FlowKey) % 4 == 0 && std::has_unique_object_representations_v<FlowKey>);
  return rte_jhash_32b(reinterpret_cast<const uint32_t*>(&key), sizeof(FlowKey) / 4, seed_);
}

void FlowIndex::insert(uint32_t hash, uint32_t leg) {
  uint32_t at = home_of(hash);
  while (entries_[at].leg != kNone) at = next(at);
  entries_[at] = {hash, leg};
}

// Entries behind the hole that had to step over it move up, so that no look-up ever meets a grave.
void FlowIndex::erase(uint32_t hash, uint32_t leg) {
  uint32_t hole = home_of(hash);
  while (entries_[hole].leg != leg) {
    invariant(entries_[hole].leg != kNone, "flow index: a leg is erased that is not in it");
    hole = next(hole);
  }
  for (uint32_t at = next(hole); entries_[at].leg != kNone; at = next(at)) {
    if (distance(home_of(entries_[at].hash), at) < distance(hole, at)) continue;
    entries_[hole] = entries_[at];
    hole = at;
  }
  entries_[hole] = {};
}

}  // namespace understudy::tcp
