#pragma once

#include "common/slab.h"
#include "dataplane/tcp/connection.h"
#include "dataplane/tcp/flow_index.h"

namespace understudy::tcp {

// All legs of a worker, in a slab, found by flow. One thread.
class ConnectionTable {
 public:
  // `hash_seed` must not be known to strangers.
  ConnectionTable(uint32_t capacity, uint32_t hash_seed) : index_(capacity, hash_seed), legs_(capacity) {}

  uint32_t find(const FlowKey& key) const;  // kNone if there is none
  // A fresh leg under `key`, which must not be in the table. kNone when the table is full.
  uint32_t insert(const FlowKey& key);
  void erase(uint32_t index);

  Connection& operator[](uint32_t index) { return legs_[index]; }
  const Connection& operator[](uint32_t index) const { return legs_[index]; }
  bool is_live(uint32_t index) const { return legs_.is_taken(index); }
  bool is_live(LegId id) const {
    return legs_.is_taken(id.index) && legs_[id.index].generation == id.generation;
  }
  LegId id_of(uint32_t index) const { return {index, legs_[index].generation}; }
  uint32_t size() const { return legs_.taken(); }
  uint32_t capacity() const { return legs_.capacity(); }

 private:
  FlowIndex index_;
  Slab<Connection> legs_;
  uint32_t next_generation_ = 1;
};

}  // namespace understudy::tcp
