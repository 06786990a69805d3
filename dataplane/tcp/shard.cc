#include "dataplane/tcp/shard.h"

#include <bit>

#include "common/check.h"

namespace understudy::tcp {
namespace {

constexpr uint32_t kFirstSourcePort = 1024;

// Toeplitz of one 16-bit word under the repeating key: the exclusive or of the key windows at its set bits.
uint32_t toeplitz(uint16_t word) {
  constexpr uint32_t kKey = 0x6d5a6d5a;
  uint32_t hash = 0;
  for (int bit = 0; bit < 16; ++bit)
    if (word & (0x8000U >> bit)) hash ^= std::rotl(kKey, bit);
  return hash;
}

}  // namespace

ShardMap::ShardMap(uint32_t shards) : shards_(shards), share_(65536), ports_by_share_(shards) {
  invariant(std::has_single_bit(shards) && shards <= 256, "shards must be a power of two, at most 256");
  for (uint32_t word = 0; word < 65536; ++word)
    share_[word] = static_cast<uint8_t>(toeplitz(static_cast<uint16_t>(word)) & (shards - 1));
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
