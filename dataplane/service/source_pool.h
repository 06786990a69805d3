#pragma once

#include <optional>
#include <vector>

#include "dataplane/tcp/engine.h"

namespace understudy::service {

// The group's source addresses for legs to backends. Source ports are chosen so that the backend leg lies in
// the shard of its client leg. The cursor is salted with the epoch: a successor starts elsewhere, because its
// predecessor may have opened legs whose records never arrived. Two groups of a pair may be at different
// nodes with the same addresses: each takes one half of the ports.
class SourcePool {
 public:
  SourcePool(const std::vector<IpAddress>& addresses, uint64_t salt);
  void salt(Epoch epoch, uint64_t secret_hash);
  // A free (address, port) for a leg of `group` towards remote:port in `shard`, of the family of `remote`;
  // nothing when a bounded search finds none.
  std::optional<FlowKey> pick(const tcp::Engine& engine, tcp::GroupIndex group, const IpAddress& remote,
                              PortNumber port, uint8_t shard);

 private:
  std::vector<IpAddress> v4_;
  std::vector<IpAddress> v6_;
  uint64_t cursor_;
};

}  // namespace understudy::service
