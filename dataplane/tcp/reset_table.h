#pragma once

#include <cstdint>
#include <vector>

#include "common/address.h"
#include "common/siphash.h"

namespace understudy::tcp {

// Connections that this node itself has reset since it took over. For a while after that, unknown connections
// get no RST, for they may be ones that the former owner could not tell of; these are known to be over, and
// a peer that challenges their reset (RFC 5961 section 3.2) or sends on is owed the answer. A bounded table
// in which a later entry takes the place of an earlier one: the peer of that one waits for the end of the
// hold. One thread; no allocation after construction.
class ResetTable {
 public:
  explicit ResetTable(const Secret& secret) : secret_(secret), keys_(kSlots) {}
  void note(const FlowKey& key) { keys_[slot_of(key)] = key; }
  bool contains(const FlowKey& key) const { return keys_[slot_of(key)] == key; }
  void clear() { keys_.assign(kSlots, FlowKey()); }

 private:
  static constexpr size_t kSlots = 1024;
  size_t slot_of(const FlowKey& key) const { return siphash(secret_, &key, sizeof key) % kSlots; }

  Secret secret_;
  std::vector<FlowKey> keys_;
};

}  // namespace understudy::tcp
