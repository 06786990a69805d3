#include "dataplane/tcp/shard.h"

#include <bit>

#include "common/check.h"

namespace understudy::tcp {
namespace {

constexpr uint32_t kFirstSourcePort = 1024;

// Toeplitz of a 16-bit word with one bit set, under the repeating key: the key's window there. That of any
// word is the exclusive or over its bits.
uint32_t toeplitz_of_bit(uint32_t bit) {
  constexpr uint32_t kKey = 0x6d5a6d5a;
  return std::rotl(kKey, 15 - std::countr_zero(bit));
}

}  // namespace

ShardMap::ShardMap(uint32_t shards) : shards_(shards), share_(65536), ports_by_share_(shards) {
  invariant(std::has_single_bit(shards) && shards <= 256, "shards must be a power of two, at most 256");
  for (uint32_t word = 1; word < 65536; ++word) {
    const uint32_t rest = word & (word - 1);  // without its lowest bit
    share_[word] = static_cast<uint8_t>(share_[rest] ^ (toeplitz_of_bit(word ^ rest) & (shards - 1)));
  }
  for (auto& ports : ports_by_share_) ports.reserve(65536 / shards);
  for (uint32_t port = kFirstSourcePort; port < 65536; ++port)
    ports_by_share_[share_[port]].push_back(static_cast<uint16_t>(port));
}

const std::vector<uint16_t>& ShardMap::source_ports(const FlowKey& key, uint8_t shard) const {
  // The hash is linear: share(a ^ b) = share(a) ^ share(b).
  const uint16_t without_port = fold(key.local) ^ fold(key.remote) ^ key.remote_port.value();
  return ports_by_share_[shard ^ share_[without_port]];
}

PortNumber ShardMap::source_port(const FlowKey& key, uint8_t shard, uint32_t nth) const {
  const auto& ports = source_ports(key, shard);
  return PortNumber(ports[nth % ports.size()]);
}

PortNumber ShardMap::source_port(const FlowKey& key, uint8_t shard, uint32_t nth, unsigned half) const {
  const auto& ports = source_ports(key, shard);
  return PortNumber(ports[nth % (ports.size() / 2) * 2 + half]);
}

}  // namespace understudy::tcp
