#include "control/cluster/kept_promises.h"

#include "common/siphash.h"
#include "dataplane/mirror/cluster_bytes.h"

namespace understudy::cluster {
namespace {

constexpr uint32_t kMagic = 0x55730001;  // the last byte is the version

uint64_t checksum(std::span<const uint8_t> bytes) {
  return siphash(Secret{}, bytes.data(), bytes.size());
}

}  // namespace

std::vector<uint8_t> encode_promises(const Promises& promises) {
  mirror::ByteWriter out;
  out.u32(kMagic);
  out.u16(static_cast<uint16_t>(promises.size()));
  for (const auto& [group, promise] : promises) {
    const KeptPromise kept = promise.value_or(KeptPromise());
    out.u16(group.value());
    out.boolean(promise.has_value());
    out.epoch(kept.promised);
    out.epoch(kept.record.epoch);
    out.u32(kept.record.version);
    out.u16(kept.record.standby.value());
  }
  out.u64(checksum(out.bytes()));
  return out.take();
}

std::optional<Promises> decode_promises(std::span<const uint8_t> bytes) {
  mirror::ByteReader in(bytes);
  if (in.u32() != kMagic) return std::nullopt;
  Promises promises;
  const uint16_t count = in.u16();
  for (unsigned i = 0; i < count && in.ok(); ++i) {
    const GroupId group(in.u16());
    const bool is_known = in.boolean();
    KeptPromise kept;
    kept.promised = in.epoch();
    kept.record.epoch = in.epoch();
    kept.record.version = in.u32();
    kept.record.standby = NodeId(in.u16());
    promises[group] = is_known ? std::optional(kept) : std::nullopt;
  }
  if (!in.ok() || in.remaining() != sizeof(uint64_t)) return std::nullopt;
  if (in.u64() != checksum(bytes.first(bytes.size() - sizeof(uint64_t)))) return std::nullopt;
  return promises;
}

}  // namespace understudy::cluster
