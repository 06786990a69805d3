#include "dataplane/mirror/heartbeat.h"

#include <cstring>

#include <gtest/gtest.h>

#include "common/random.h"
#include "dataplane/mirror/cluster_frame.h"

namespace understudy::mirror {
namespace {

Heartbeat sample() {
  Heartbeat beat{.node = NodeId(2),
                 .boot = BootId(0x1122334455667788),
                 .worker = 1,
                 .workers = 2,
                 .number = 77,
                 .progress = 0x99aabbccddeeff00,
                 .reach_front = 100,
                 .reach_back = 50,
                 .groups = {}};
  beat.groups.push_back({.group = GroupId(1),
                         .role = GroupRole::owner,
                         .epoch = {7, NodeId(2)},
                         .clock_us = 123456789012,
                         .standby_synced = true,
                         .legs_stale = false,
                         .legs = 1000,
                         .legs_unprotected = 3,
                         .standby = NodeId(3),
                         .dropped_standby = NodeId(1),
                         .dropped_generation = 9,
                         .era = 4});
  beat.groups.push_back({.group = GroupId(2),
                         .role = GroupRole::releasing,
                         .epoch = {8, NodeId(1)},
                         .clock_us = 0,
                         .standby_synced = false,
                         .legs_stale = true,
                         .legs = 5,
                         .legs_unprotected = 0,
                         .standby = {},
                         .dropped_standby = {}});
  return beat;
}

void expect_same_group(const GroupBeat& a, const GroupBeat& b) {
  EXPECT_EQ(a.group, b.group);
  EXPECT_EQ(a.role, b.role);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.clock_us, b.clock_us);
  EXPECT_EQ(a.standby_synced, b.standby_synced);
  EXPECT_EQ(a.legs_stale, b.legs_stale);
  EXPECT_EQ(a.legs, b.legs);
  EXPECT_EQ(a.legs_unprotected, b.legs_unprotected);
  EXPECT_EQ(a.standby, b.standby);
  EXPECT_EQ(a.dropped_standby, b.dropped_standby);
  EXPECT_EQ(a.dropped_generation, b.dropped_generation);
  EXPECT_EQ(a.era, b.era);
}

void expect_same(const Heartbeat& a, const Heartbeat& b) {
  EXPECT_EQ(a.node, b.node);
  EXPECT_EQ(a.boot, b.boot);
  EXPECT_EQ(a.worker, b.worker);
  EXPECT_EQ(a.workers, b.workers);
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(a.progress, b.progress);
  EXPECT_EQ(a.reach_front, b.reach_front);
  EXPECT_EQ(a.reach_back, b.reach_back);
  ASSERT_EQ(a.groups.size(), b.groups.size());
  for (size_t i = 0; i < a.groups.size(); ++i) expect_same_group(a.groups[i], b.groups[i]);
}

TEST(Heartbeat, ComesBackAsItWent) {
  const auto decoded = decode_heartbeat(encode(sample()));
  ASSERT_TRUE(decoded);
  expect_same(*decoded, sample());
}

TEST(Heartbeat, AFullOneFitsASmallFrame) {
  Heartbeat beat = sample();
  beat.groups.resize(kHeartbeatGroupsMax, beat.groups[0]);
  const auto bytes = encode(beat);
  EXPECT_LE(bytes.size() + sizeof(ClusterFrameHeader), 1400U);
  const auto decoded = decode_heartbeat(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->groups.size(), kHeartbeatGroupsMax);
}

TEST(HeartbeatDeathTest, MoreGroupsThanItCarries) {
  Heartbeat beat = sample();
  beat.groups.resize(kHeartbeatGroupsMax + 1);
  EXPECT_DEATH(encode(beat), "more groups");
}

TEST(Heartbeat, TruncatedAtAnyLengthIsRefused) {
  const auto bytes = encode(sample());
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(decode_heartbeat(std::span(bytes).first(length))) << length;
}

TEST(Heartbeat, FieldsOfANewerVersionAreSkipped) {
  const auto old_bytes = encode(sample());
  const size_t fixed = static_cast<size_t>(old_bytes[0] << 8 | old_bytes[1]);
  const size_t first_entry = 2 + fixed + 1;
  const size_t entry_length = old_bytes[first_entry];
  std::vector<uint8_t> bytes(old_bytes);
  bytes.insert(bytes.end(), {0xde, 0xad});  // behind everything
  bytes.insert(bytes.begin() + static_cast<long>(first_entry + 1 + entry_length), {1, 2, 3});
  bytes[first_entry] = static_cast<uint8_t>(entry_length + 3);  // in the first entry
  bytes.insert(bytes.begin() + static_cast<long>(2 + fixed), {4, 5, 6, 7});
  bytes[1] = static_cast<uint8_t>(fixed + 4);  // in the fixed part
  const auto decoded = decode_heartbeat(bytes);
  ASSERT_TRUE(decoded);
  expect_same(*decoded, sample());
}

TEST(Heartbeat, AnEntryWithARoleOfANewerVersionIsSkipped) {
  auto bytes = encode(sample());
  const size_t fixed = static_cast<size_t>(bytes[0] << 8 | bytes[1]);
  bytes[2 + fixed + 1 + 1 + 2] = 200;
  const auto decoded = decode_heartbeat(bytes);
  ASSERT_TRUE(decoded);
  ASSERT_EQ(decoded->groups.size(), 1U);
  expect_same_group(decoded->groups[0], sample().groups[1]);
}

TEST(Heartbeat, NobodyAndAWorkerBeyondTheLastAreRefused) {
  Heartbeat nobody = sample();
  nobody.node = NodeId(0);
  EXPECT_FALSE(decode_heartbeat(encode(nobody)));
  Heartbeat beyond = sample();
  beyond.worker = 2;
  EXPECT_FALSE(decode_heartbeat(encode(beyond)));
}

TEST(Heartbeat, AnyBytesAreRefusedOrWellFormed) {
  Random random(1);
  const auto original = encode(sample());
  int accepted = 0;
  for (int round = 0; round < 100'000; ++round) {
    auto bytes = original;
    for (uint32_t changes = 1 + random.below(4); changes > 0; --changes)
      bytes[random.below(static_cast<uint32_t>(bytes.size()))] = static_cast<uint8_t>(random.next());
    if (random.chance(1, 4)) bytes.resize(random.below(static_cast<uint32_t>(bytes.size()) + 1));
    // An exact copy on the heap, so that a sanitizer sees a read past its end.
    const auto decoded = decode_heartbeat(std::vector<uint8_t>(bytes));
    if (!decoded) continue;
    ++accepted;
    ASSERT_NE(decoded->node, NodeId());
    ASSERT_LT(decoded->worker, decoded->workers);
    ASSERT_LE(decoded->groups.size(), kHeartbeatGroupsMax);
    for (const GroupBeat& group : decoded->groups) ASSERT_LE(group.role, GroupRole::releasing);
    ASSERT_TRUE(decode_heartbeat(encode(*decoded)));
  }
  EXPECT_GT(accepted, 1000) << "mutations must also reach the accepting path";
}

constexpr uint32_t kCluster = 0xc1c2c3c4;

std::vector<uint8_t> sample_frame(size_t padding) {
  const std::vector<uint8_t> payload = {1, 2, 3};
  const ClusterFrameHeader header = make_cluster_header({.kind = ClusterFrameKind::mirror_ack,
                                                         .from = NodeId(7),
                                                         .from_worker = 3,
                                                         .to_worker = 4,
                                                         .boot = BootId(99),
                                                         .payload = payload},
                                                        kCluster);
  std::vector<uint8_t> frame(sizeof header + payload.size() + padding);
  std::memcpy(frame.data(), &header, sizeof header);
  std::memcpy(frame.data() + sizeof header, payload.data(), payload.size());
  return frame;
}

TEST(ClusterHeader, ComesBackWithoutThePadding) {
  const auto frame = sample_frame(20);
  const auto parsed = parse_cluster_header(frame, kCluster);
  ASSERT_TRUE(std::holds_alternative<ClusterFrameView>(parsed));
  const auto& view = std::get<ClusterFrameView>(parsed);
  EXPECT_EQ(view.kind, ClusterFrameKind::mirror_ack);
  EXPECT_EQ(view.from, NodeId(7));
  EXPECT_EQ(view.from_worker, 3);
  EXPECT_EQ(view.to_worker, 4);
  EXPECT_EQ(view.boot, BootId(99));
  EXPECT_EQ(std::vector<uint8_t>(view.payload.begin(), view.payload.end()), (std::vector<uint8_t>{1, 2, 3}));
}

DropReason reason_of(const std::vector<uint8_t>& frame) {
  const auto parsed = parse_cluster_header(frame, kCluster);
  EXPECT_TRUE(std::holds_alternative<DropReason>(parsed));
  return std::holds_alternative<DropReason>(parsed) ? std::get<DropReason>(parsed) : DropReason{};
}

TEST(ClusterHeader, EachFaultHasItsReason) {
  auto frame = sample_frame(0);
  for (size_t length = 0; length < frame.size(); ++length)
    EXPECT_EQ(reason_of({frame.begin(), frame.begin() + static_cast<long>(length)}),
              DropReason::cluster_malformed)
        << length;
  auto changed = [&frame](size_t at, uint8_t value) {
    auto copy = frame;
    copy[at] = value;
    return copy;
  };
  EXPECT_EQ(reason_of(changed(0, 0)), DropReason::cluster_malformed);
  EXPECT_EQ(reason_of(changed(2, 1)), DropReason::cluster_version);
  EXPECT_EQ(reason_of(changed(3, 0)), DropReason::cluster_version);
  EXPECT_EQ(reason_of(changed(3, 255)), DropReason::cluster_version);
  EXPECT_EQ(reason_of(changed(4, 0)), DropReason::cluster_stranger);
  EXPECT_EQ(reason_of(changed(9, 0)), DropReason::cluster_malformed) << "node 0 is nobody";
  EXPECT_EQ(reason_of(changed(21, 4)), DropReason::cluster_malformed) << "length beyond the frame";
}

TEST(ClusterHeader, AnyBytesAreDroppedOrWithinTheFrame) {
  Random random(2);
  const auto original = sample_frame(8);
  for (int round = 0; round < 100'000; ++round) {
    auto bytes = original;
    bytes[random.below(static_cast<uint32_t>(bytes.size()))] = static_cast<uint8_t>(random.next());
    bytes.resize(random.below(static_cast<uint32_t>(bytes.size()) + 1));
    const auto parsed = parse_cluster_header(bytes, kCluster);
    if (const auto* view = std::get_if<ClusterFrameView>(&parsed)) {
      ASSERT_LE(sizeof(ClusterFrameHeader) + view->payload.size(), bytes.size());
      ASSERT_NE(view->from, NodeId());
    }
  }
}

}  // namespace
}  // namespace understudy::mirror
