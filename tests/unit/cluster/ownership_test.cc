#include "control/cluster/ownership.h"

#include <gtest/gtest.h>

#include "common/random.h"

namespace understudy::cluster {
namespace {

constexpr Instant kNow{9s};

GroupOwnership sample_group(uint16_t id, size_t addresses) {
  GroupOwnership group;
  group.group = GroupId(id);
  group.role = mirror::GroupRole::owner;
  group.epoch = {5, NodeId(1)};
  group.readiness = Readiness::syncing;
  group.failover = config::FailoverPolicy::none;
  group.arp = config::ArpPolicy::gratuitous;
  for (size_t i = 0; i < addresses; ++i)
    group.addresses.push_back({{IpAddress::v4(0x0a0a0000U + id * 256U + static_cast<uint32_t>(i)), 24},
                               MacAddress({2, 0, 0, 0, 1, static_cast<uint8_t>(i)}),
                               i % 2 == 1});
  group.ports = {{PortNumber(80), PortNumber(80), config::ApplicationKind::proxy},
                 {PortNumber(19000), PortNumber(19099), config::ApplicationKind::tally}};
  group.successors = {NodeId(1), NodeId(2), NodeId(3)};
  return group;
}

Ownership sample(uint64_t freshness = 1, uint64_t boot = 77, size_t addresses = 2) {
  return {NodeId(1), BootId(boot), freshness, {sample_group(1, addresses), sample_group(2, addresses)}};
}

TEST(Ownership, ComesBackWithEveryField) {
  OwnershipBook book;
  const auto packets = encode(sample());
  ASSERT_EQ(packets.size(), 1U);
  EXPECT_EQ(book.learn(packets[0], kNow), OwnershipBook::Verdict::news);
  EXPECT_EQ(book.of(NodeId(1))->ownership, sample());
  EXPECT_EQ(book.of(NodeId(1))->heard, kNow);
  EXPECT_EQ(book.of(NodeId(2)), nullptr);
}

TEST(Ownership, LargeOnesTravelInPartsInAnyOrder) {
  const auto packets = encode(sample(1, 77, 200));
  ASSERT_GT(packets.size(), 5U);
  for (const auto& packet : packets) EXPECT_LE(packet.size(), kOwnershipPacketMax);
  OwnershipBook book;
  for (size_t i = packets.size(); i-- > 1;) {
    EXPECT_EQ(book.learn(packets[i], kNow), OwnershipBook::Verdict::part);
    EXPECT_EQ(book.learn(packets[i], kNow), OwnershipBook::Verdict::part) << "twice is no harm";
  }
  EXPECT_EQ(book.of(NodeId(1)), nullptr) << "half a packet teaches nothing";
  EXPECT_EQ(book.learn(packets[0], kNow), OwnershipBook::Verdict::news);
  EXPECT_EQ(book.of(NodeId(1))->ownership, sample(1, 77, 200));
}

TEST(Ownership, PartsOfDifferentMomentsAreNotMixed) {
  const auto older = encode(sample(1, 77, 200));
  const auto newer = encode(sample(2, 77, 200));
  OwnershipBook book;
  for (size_t i = 0; i + 1 < older.size(); ++i) (void)book.learn(older[i], kNow);
  EXPECT_EQ(book.learn(newer[0], kNow), OwnershipBook::Verdict::part);
  EXPECT_EQ(book.learn(older.back(), kNow), OwnershipBook::Verdict::old);
  for (size_t i = 1; i < newer.size(); ++i) (void)book.learn(newer[i], kNow);
  EXPECT_EQ(book.of(NodeId(1))->ownership.freshness, 2U);
}

TEST(Ownership, TooMuchIsNotSent) {
  Ownership huge = sample();
  for (uint16_t i = 3; i < 20; ++i) huge.groups.push_back(sample_group(i, 255));
  EXPECT_TRUE(encode(huge).empty());
}

TEST(OwnershipBook, OlderNewsAndDeadIncarnationsAreIgnored) {
  OwnershipBook book;
  EXPECT_EQ(book.learn(encode(sample(5))[0], kNow), OwnershipBook::Verdict::news);
  EXPECT_EQ(book.learn(encode(sample(5))[0], kNow), OwnershipBook::Verdict::old);
  EXPECT_EQ(book.learn(encode(sample(4))[0], kNow), OwnershipBook::Verdict::old);
  EXPECT_EQ(book.learn(encode(sample(1, 88))[0], kNow), OwnershipBook::Verdict::news) << "restarted";
  EXPECT_EQ(book.learn(encode(sample(900))[0], kNow), OwnershipBook::Verdict::old) << "boot 77 is dead";
  EXPECT_EQ(book.of(NodeId(1))->ownership.boot, BootId(88));
}

TEST(OwnershipBook, SaysWhoOwnsWhat) {
  OwnershipBook book;
  (void)book.learn(encode(sample())[0], kNow);
  Ownership rival = sample();
  rival.node = NodeId(3);
  rival.groups[0].epoch = {6, NodeId(3)};
  rival.groups[1].role = mirror::GroupRole::standby;
  rival.groups[1].epoch = {9, NodeId(3)};
  (void)book.learn(encode(rival)[0], kNow);
  EXPECT_EQ(book.owner_of(GroupId(1))->node, NodeId(3)) << "the higher epoch";
  EXPECT_EQ(book.owner_of(GroupId(2))->node, NodeId(1)) << "a standby owns nothing";
  EXPECT_FALSE(book.owner_of(GroupId(3)));
  EXPECT_EQ(book.owner_of(IpAddress::v4(0x0a0a0201))->node, NodeId(1));
  EXPECT_FALSE(book.owner_of(IpAddress::v4(0x0a0a0909)));
  book.forget(NodeId(3));
  EXPECT_EQ(book.owner_of(GroupId(1))->node, NodeId(1));
}

TEST(Ownership, TruncatedAtAnyLengthTeachesNothing) {
  const auto packet = encode(sample())[0];
  for (size_t length = 0; length < packet.size(); ++length) {
    OwnershipBook book;
    EXPECT_EQ(book.learn(std::span(packet).first(length), kNow), OwnershipBook::Verdict::malformed) << length;
    EXPECT_EQ(book.of(NodeId(1)), nullptr);
  }
}

TEST(Ownership, AnyBytesAreSafe) {
  Random random(3);
  const auto small = encode(sample())[0];
  const auto large = encode(sample(1, 77, 100))[1];
  OwnershipBook book;
  int news = 0;
  for (int round = 0; round < 100'000; ++round) {
    auto bytes = random.chance(3, 4) ? small : large;
    for (uint32_t changes = 1 + random.below(4); changes > 0; --changes)
      bytes[random.below(static_cast<uint32_t>(bytes.size()))] = static_cast<uint8_t>(random.next());
    bytes[0] = 0;
    bytes[1] = static_cast<uint8_t>(random.below(4));  // the controller passes configured nodes only
    news += book.learn(bytes, kNow) == OwnershipBook::Verdict::news ? 1 : 0;
  }
  EXPECT_GT(news, 100);
}

}  // namespace
}  // namespace understudy::cluster
