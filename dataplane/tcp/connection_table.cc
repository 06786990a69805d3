#include "dataplane/tcp/connection_table.h"

namespace understudy::tcp {

uint32_t ConnectionTable::find(const FlowKey& key) const {
  return index_.find(index_.hash_of(key), [&](uint32_t leg) { return legs_[leg].key == key; });
}

uint32_t ConnectionTable::insert(const FlowKey& key) {
  const uint32_t leg = legs_.take();
  if (leg == kNone) return kNone;
  index_.insert(index_.hash_of(key), leg);
  legs_[leg].key = key;
  legs_[leg].generation = next_generation_++;
  return leg;
}

void ConnectionTable::erase(uint32_t leg) {
  index_.erase(index_.hash_of(legs_[leg].key), leg);
  legs_.release(leg);
}

}  // namespace understudy::tcp
