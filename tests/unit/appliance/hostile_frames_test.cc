// What strangers send between two running nodes: forged, replayed, truncated and damaged cluster frames, and
// recordings of a former life. HOSTILE_FRAMES sets how many.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/mirror/frame_sealer.h"
#include "tests/support/cluster_in_process.h"

namespace understudy {
namespace {

constexpr size_t kEthernet = 14;
constexpr unsigned kNetworks = ClusterInProcess::networks;

struct Recorded {
  Instant at;
  size_t network;
  size_t to;  // slot
  std::vector<uint8_t> frame;
};

// The cluster frames that the two nodes have sent, the latest kRoom of them.
class Recorder {
 public:
  explicit Recorder(ClusterInProcess& cluster) {
    for (size_t n = 0; n < kNetworks; ++n) {
      SwitchedNetwork& network = cluster.network(static_cast<ClusterInProcess::Network>(n));
      network.observer = [this, &cluster, n, watch = network.observer](const SwitchPort& from,
                                                                       std::span<const uint8_t> frame) {
        if (watch) watch(from, frame);
        record(cluster, n, from, frame);
      };
    }
  }
  const std::vector<Recorded>& frames() const { return frames_; }
  // One that its receiver has had by now.
  const Recorded& any(Random& random, Instant before) const {
    for (;;) {
      const Recorded& one = frames_[random.below(static_cast<uint32_t>(frames_.size()))];
      if (one.at < before) return one;
    }
  }

 private:
  static constexpr size_t kRoom = 4096;
  void record(ClusterInProcess& cluster, size_t network, const SwitchPort& from,
              std::span<const uint8_t> frame) {
    if (frame.size() < kEthernet || frame[12] != 0x88 || frame[13] != 0xb5) return;
    for (size_t slot = 0; slot < 2; ++slot) {
      if (!cluster.runs(slot)) continue;
      if (&cluster.port(slot, static_cast<ClusterInProcess::Network>(network)) != &from) continue;
      Recorded one{cluster.now(), network, 1 - slot, {frame.begin(), frame.end()}};
      if (frames_.size() < kRoom)
        frames_.push_back(std::move(one));
      else
        frames_[next_++ % kRoom] = std::move(one);
    }
  }
  std::vector<Recorded> frames_;
  size_t next_ = 0;
};

enum class Malice : size_t { forged, resealed, replayed, former_life, truncated, bit_flipped, kinds };
constexpr size_t kMalices = static_cast<size_t>(Malice::kinds);

Recorded spoil(Recorded one, Malice malice, Random& random) {
  std::vector<uint8_t>& frame = one.frame;
  const auto behind_ethernet = [&] {
    return kEthernet + random.below(static_cast<uint32_t>(frame.size() - kEthernet));
  };
  switch (malice) {
    case Malice::forged:  // a true header, and whatever behind it
      for (size_t i = kEthernet + sizeof(mirror::ClusterFrameHeader); i < frame.size(); ++i)
        frame[i] = static_cast<uint8_t>(random.next());
      break;
    case Malice::resealed: {  // well made in the same node's name, with a key that is not the cluster's
      mirror::ClusterFrameHeader header;
      std::memcpy(&header, frame.data() + kEthernet, sizeof header);
      const uint32_t id = header.cluster.get();
      mirror::FrameSealer sealer({seal::cluster_key("a guess", "in-process"), std::nullopt},
                                 NodeId(header.from_node.get()), BootId(random.next()), 1);
      header.boot = random.next();
      const std::vector<uint8_t> plain_bytes(header.length.get(), 0x41);
      std::vector<uint8_t> plain(sizeof header + plain_bytes.size());
      std::memcpy(plain.data(), &header, sizeof header);
      std::ranges::copy(plain_bytes, plain.begin() + sizeof header);
      frame.resize(kEthernet + plain.size() + sizeof(mirror::SealTrailer));
      sealer.seal(plain, 0, frame.data() + kEthernet);
      const be32_t named(id);  // who listens knows the key's name
      std::memcpy(frame.data() + kEthernet + offsetof(mirror::ClusterFrameHeader, cluster), &named,
                  sizeof named);
      break;
    }
    case Malice::truncated:
      frame.resize(behind_ethernet());
      break;
    case Malice::bit_flipped:
      frame[behind_ethernet()] ^= static_cast<uint8_t>(1U << random.below(8));
      break;
    default:
      break;
  }
  return one;
}

constexpr std::array kNamed = {DropReason::cluster_malformed, DropReason::cluster_version,
                               DropReason::cluster_stranger,  DropReason::cluster_forged,
                               DropReason::cluster_replayed,  DropReason::cluster_unproven};

std::array<uint64_t, kNamed.size()> named_drops(ClusterInProcess& cluster) {
  std::array<uint64_t, kNamed.size()> counts{};
  for (size_t i = 0; i < kNamed.size(); ++i)
    for (size_t slot = 0; slot < 2; ++slot) counts[i] += cluster.worker(slot, 0).drops_of(kNamed[i]);
  return counts;
}

std::vector<Recorded> record_a_former_life() {
  ClusterInProcess cluster({.seed = 100});
  Recorder recorder(cluster);
  EXPECT_TRUE(cluster.boot()) << cluster.describe();
  cluster.transfer(100'000, 100'000);
  cluster.run_for(300ms);
  return recorder.frames();
}

bool is_greeting(const Recorded& one) {
  return one.frame[kEthernet + offsetof(mirror::ClusterFrameHeader, kind)] ==
         static_cast<uint8_t>(mirror::ClusterFrameKind::greeting);
}

uint64_t frames_to_send() {
  const char* count = std::getenv("HOSTILE_FRAMES");
  return count == nullptr ? 20'000 : std::strtoull(count, nullptr, 10);
}

TEST(HostileFrames, ChangeNoRoleAndLoseNoConnection) {
  const std::vector<Recorded> former = record_a_former_life();
  ASSERT_FALSE(former.empty());
  ClusterInProcess cluster({.seed = 101});
  Recorder recorder(cluster);
  ASSERT_TRUE(cluster.boot()) << cluster.describe();
  cluster.run_for(200ms);
  const auto* machine = cluster.control(0).controller().machine(GroupId(1));
  const auto epoch = machine->epoch();
  const auto before = named_drops(cluster);
  std::array<uint64_t, kMalices> sent{};
  uint64_t transfers = 0, total = 0;
  uint64_t greetings = 0;  // from a former life: they are read, and prove nothing
  while (total < frames_to_send()) {
    if (cluster.all_done()) {
      cluster.transfer(200'000, 200'000);
      ++transfers;
    }
    for (int i = 0; i < 100; ++i, ++total) {
      const auto malice = static_cast<Malice>(cluster.random().below(kMalices));
      const Recorded& original = malice == Malice::former_life
                                     ? former[cluster.random().below(static_cast<uint32_t>(former.size()))]
                                     : recorder.any(cluster.random(), cluster.now() - 50ms);
      Recorded one = spoil(original, malice, cluster.random());
      const auto network = static_cast<ClusterInProcess::Network>(one.network);
      cluster.network(network).inject(cluster.port(one.to, network), std::move(one.frame));
      ++sent[static_cast<size_t>(malice)];
      if (malice == Malice::former_life && is_greeting(original)) ++greetings;
    }
    cluster.run_for(1ms);
    ASSERT_EQ(cluster.owner(), size_t{0}) << cluster.describe();
    ASSERT_TRUE(cluster.is_protected()) << cluster.describe();
  }
  EXPECT_TRUE(cluster.run_until([&] { return cluster.all_done(); }, 20s)) << cluster.describe();
  for (const std::string& fault : cluster.faults()) ADD_FAILURE() << fault << cluster.describe();
  EXPECT_EQ(machine->epoch(), epoch);

  const auto after = named_drops(cluster);
  uint64_t named = 0;
  std::string text;
  for (size_t i = 0; i < kNamed.size(); ++i) {
    named += after[i] - before[i];
    text += " " + std::to_string(after[i] - before[i]) + " " + std::string(name_of(kNamed[i]));
  }
  std::printf(
      "%lu hostile frames (forged %lu, resealed %lu, replayed %lu, former life %lu, truncated %lu, bit "
      "flipped %lu), %lu transfers; counted:%s\n",
      total, sent[0], sent[1], sent[2], sent[3], sent[4], sent[5], transfers, text.c_str());
  EXPECT_LE(named, total) << text;
  EXPECT_GE(named + greetings, total) << text;
  EXPECT_GE(transfers, 1U);
  for (const DropReason reason : {DropReason::cluster_malformed, DropReason::cluster_forged,
                                  DropReason::cluster_replayed, DropReason::cluster_unproven})
    EXPECT_GT(after[static_cast<size_t>(std::ranges::find(kNamed, reason) - kNamed.begin())], 0U)
        << name_of(reason);
}

}  // namespace
}  // namespace understudy
