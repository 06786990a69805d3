#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/address.h"

namespace understudy::tcp {

// The cluster-wide slice of connections that a flow belongs to: the low bits of the Toeplitz hash under the
// symmetric key 6d5a 6d5a ... (Woo and Park 2012). That key repeats every 16 bits, so the hash depends only
// on the exclusive or of all 16-bit words of the tuple: it is the same for both directions, and one table of
// the ports' shares tells which source ports put a second leg into the shard of the first.
class ShardMap {
 public:
  explicit ShardMap(uint32_t shards);  // a power of two, at most 256

  uint32_t shards() const { return shards_; }
  uint8_t shard_of(const FlowKey& key) const {
    return share_[fold(key.local) ^ fold(key.remote) ^ key.local_port.value() ^ key.remote_port.value()];
  }
  // The `nth` source port (from 1024 on, taken modulo their number) with which the flow key.local:port ->
  // key.remote:remote_port lies in `shard`. key.local_port is ignored.
  PortNumber source_port(const FlowKey& key, uint8_t shard, uint32_t nth) const;
  // The same from one half of these ports, `half` being 0 or 1: what is taken from one is never in the other.
  PortNumber source_port(const FlowKey& key, uint8_t shard, uint32_t nth, unsigned half) const;
  uint32_t source_ports_per_shard() const { return static_cast<uint32_t>(ports_by_share_[0].size()); }

 private:
  const std::vector<uint16_t>& source_ports(const FlowKey& key, uint8_t shard) const;
  static uint16_t fold(const IpAddress& address) {
    uint16_t folded = 0;
    const auto& b = address.bytes();
    for (size_t i = address.is_v4() ? 12 : 0; i < 16; i += 2)
      folded = static_cast<uint16_t>(folded ^ (b[i] << 8 | b[i + 1]));
    return folded;
  }
  uint32_t shards_;
  std::vector<uint8_t> share_;                         // of each folded tuple
  std::vector<std::vector<uint16_t>> ports_by_share_;  // source ports with that share
};

}  // namespace understudy::tcp
