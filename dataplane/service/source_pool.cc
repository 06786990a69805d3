#include "dataplane/service/source_pool.h"

namespace understudy::service {

SourcePool::SourcePool(const std::vector<IpAddress>& addresses, uint64_t salt) : cursor_(salt) {
  for (const IpAddress& address : addresses) (address.is_v4() ? v4_ : v6_).push_back(address);
}

void SourcePool::salt(Epoch epoch, uint64_t secret_hash) {
  cursor_ =
      (secret_hash ^ (uint64_t{epoch.counter} << 16 | epoch.node.value())) * 0x9e3779b97f4a7c15ULL >> 16;
}

std::optional<FlowKey> SourcePool::pick(const tcp::Engine& engine, tcp::GroupIndex group,
                                        const IpAddress& remote, PortNumber port, uint8_t shard) {
  constexpr int kTries = 256;
  const std::vector<IpAddress>& addresses = remote.is_v4() ? v4_ : v6_;
  for (int i = 0; i < kTries && !addresses.empty(); ++i) {
    const uint64_t nth = cursor_++;
    FlowKey key{addresses[nth % addresses.size()], remote, PortNumber(), port};
    const auto turn = static_cast<uint32_t>(nth / addresses.size());
    key.local_port = engine.group(group).twin
                         ? engine.shards().source_port(key, shard, turn, engine.group(group).is_spare ? 1 : 0)
                         : engine.shards().source_port(key, shard, turn);
    if (engine.legs().find(key) == tcp::kNone) return key;
  }
  return std::nullopt;
}

}  // namespace understudy::service
