#include "dataplane/service/source_pool.h"

namespace understudy::service {

void SourcePool::salt(Epoch epoch, uint64_t secret_hash) {
  cursor_ =
      (secret_hash ^ (uint64_t{epoch.counter} << 16 | epoch.node.value())) * 0x9e3779b97f4a7c15ULL >> 16;
}

std::optional<FlowKey> SourcePool::pick(const tcp::Engine& engine, const IpAddress& remote, PortNumber port,
                                        uint8_t shard) {
  constexpr int kTries = 256;
  for (int i = 0; i < kTries && !addresses_.empty(); ++i) {
    const uint64_t nth = cursor_++;
    FlowKey key{addresses_[nth % addresses_.size()], remote, PortNumber(), port};
    key.local_port = engine.shards().source_port(key, shard, static_cast<uint32_t>(nth / addresses_.size()));
    if (engine.legs().find(key) == tcp::kNone) return key;
  }
  return std::nullopt;
}

}  // namespace understudy::service
