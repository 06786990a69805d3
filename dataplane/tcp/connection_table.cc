#include "dataplane/tcp/connection_table.h"

#include <rte_jhash.h>

namespace understudy::tcp {

ConnectionTable::ConnectionTable(const std::string& name, uint32_t capacity) : legs_(capacity) {
  rte_hash_parameters parameters{};
  parameters.name = name.c_str();
  // Room to spare keeps the cuckoo displacement short; the extendable table takes the rest.
  parameters.entries = capacity + capacity / 4 + 64;
  parameters.key_len = sizeof(FlowKey);
  parameters.hash_func = rte_jhash;
  // Not the flow hash that spreads shards: under its symmetric key all flows of a shard look alike.
  parameters.hash_func_init_val = 0x55731234;
  parameters.socket_id = -1;
  parameters.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
  hash_.reset(rte_hash_create(&parameters));
  invariant(hash_ != nullptr, "connection table: no memory for the hash; give the node more memory");
}

uint32_t ConnectionTable::find(const FlowKey& key) const {
  void* data = nullptr;
  if (rte_hash_lookup_data(hash_.get(), &key, &data) < 0) return kNone;
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(data));
}

uint32_t ConnectionTable::insert(const FlowKey& key) {
  const uint32_t index = legs_.take();
  if (index == kNone) return kNone;
  if (rte_hash_add_key_data(hash_.get(), &key, reinterpret_cast<void*>(static_cast<uintptr_t>(index))) != 0) {
    legs_.release(index);
    return kNone;
  }
  legs_[index].key = key;
  legs_[index].generation = next_generation_++;
  return index;
}

void ConnectionTable::erase(uint32_t index) {
  rte_hash_del_key(hash_.get(), &legs_[index].key);
  legs_.release(index);
}

}  // namespace understudy::tcp
