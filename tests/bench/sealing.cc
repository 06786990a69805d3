// What it costs to seal and to open a frame between two nodes.
#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "common/check.h"
#include "dataplane/mirror/frame_opener.h"
#include "dataplane/mirror/frame_sealer.h"
#include "tests/bench/measure.h"

namespace understudy::bench {
namespace {

constexpr NodeId kSender(1), kReceiver(2);
constexpr BootId kBoot(7);

std::vector<uint8_t> plain_frame(size_t payload) {
  mirror::ClusterFrameHeader header{};
  header.magic = mirror::kClusterMagic;
  header.version = mirror::kClusterVersion;
  header.kind = static_cast<uint8_t>(mirror::ClusterFrameKind::mirror_data);
  header.from_node = kSender.value();
  header.boot = kBoot.value();
  header.length = static_cast<uint16_t>(payload);
  std::vector<uint8_t> bytes(sizeof header + payload, 0x5a);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

struct Cost {
  double seal_ns, open_ns;  // per frame
};

// Frames are sealed in batches that stay in the cache, as a worker's bursts do, and opened after that.
Cost run(const Options& options, size_t payload) {
  using Clock = std::chrono::steady_clock;
  constexpr size_t kBatch = 32;
  const int batches = options.smoke ? 10 : options.quick ? 3000 : 20'000;
  const seal::KeyRing keys{seal::cluster_key("0123456789abcdef", "bench"), std::nullopt};
  mirror::FrameSealer sealer(keys, kSender, kBoot, 1);
  mirror::FrameOpener opener({kReceiver, BootId(9), 1, {kSender, kReceiver}}, keys);
  const std::vector<uint8_t> plain = plain_frame(payload);
  const size_t sealed_bytes = plain.size() + sizeof(mirror::SealTrailer);
  std::vector<uint8_t> frames(kBatch * sealed_bytes);
  Clock::duration sealing{}, opening{};
  for (int batch = 0; batch < batches; ++batch) {
    const auto begin = Clock::now();
    for (size_t i = 0; i < kBatch; ++i) sealer.seal(plain, 0, frames.data() + i * sealed_bytes);
    const auto middle = Clock::now();
    bool all = true;
    for (size_t i = 0; i < kBatch; ++i) {
      const auto opened = opener.open({frames.data() + i * sealed_bytes, sealed_bytes});
      all = all && std::holds_alternative<mirror::FrameOpener::Opened>(opened);
    }
    opening += Clock::now() - middle;
    sealing += middle - begin;
    invariant(all, "bench: a frame did not open");
  }
  const double count = static_cast<double>(batches) * kBatch;
  const auto per_frame = [&](Clock::duration all) {
    return std::chrono::duration<double, std::nano>(all).count() / count;
  };
  return {per_frame(sealing), per_frame(opening)};
}

}  // namespace

Metrics bench_sealing(const Options& options) {
  constexpr size_t kSmall = 60, kLarge = 1400;
  Sample seal_small, open_small, seal_byte, open_byte;
  for (int i = 0; i < options.pairs(); ++i) {
    const Cost small = run(options, kSmall);
    const Cost large = run(options, kLarge);
    seal_small.values.push_back(small.seal_ns);
    open_small.values.push_back(small.open_ns);
    seal_byte.values.push_back(large.seal_ns / kLarge);
    open_byte.values.push_back(large.open_ns / kLarge);
  }
  const std::string small = "a cluster frame with a payload of 60 bytes, AES-128-GCM";
  const std::string large =
      "a cluster frame with a payload of 1400 bytes, AES-128-GCM, all costs by its bytes";
  return {{.name = "seal_small_frame", .sample = seal_small, .unit = "ns", .note = small},
          {.name = "open_small_frame", .sample = open_small, .unit = "ns", .note = small},
          {.name = "seal_per_byte", .sample = seal_byte, .unit = "ns/byte", .note = large},
          {.name = "open_per_byte", .sample = open_byte, .unit = "ns/byte", .note = large}};
}

}  // namespace understudy::bench
