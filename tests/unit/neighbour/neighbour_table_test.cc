#include "dataplane/neighbour/neighbour_table.h"

#include <gtest/gtest.h>

#include "tests/support/mbuf_pool.h"

namespace understudy::neighbour {
namespace {

constexpr MacAddress kMacA({2, 0, 0, 0, 0, 0xa});
constexpr MacAddress kMacB({2, 0, 0, 0, 0, 0xb});
constexpr Instant kStart{1h};

IpAddress host(uint32_t number) {
  return IpAddress::v4(0x0a0a0000 + number);
}

// Writes down what the table wants; frees the frames.
class Recorder : public NeighbourEvents {
 public:
  void ask(uint16_t, const IpAddress& ip, const MacAddress& to, const IpAddress&) override {
    asked.emplace_back(ip, to);
  }
  void forward(uint16_t, const MacAddress& mac, rte_mbuf* frame) override {
    forwarded.emplace_back(mac, bytes_of(frame).at(0));
    rte_pktmbuf_free(frame);
  }
  void drop(DropReason reason, rte_mbuf* frame) override {
    drops.count(reason);
    rte_pktmbuf_free(frame);
  }
  std::vector<std::pair<IpAddress, MacAddress>> asked;
  std::vector<std::pair<MacAddress, uint8_t>> forwarded;
  DropCounters drops;
};

class NeighbourTableTest : public testing::Test {
 protected:
  ~NeighbourTableTest() override {
    table_.reset();
    EXPECT_EQ(test_mbufs_in_use(), in_use_);
  }
  void with_limits(const NeighbourLimits& limits) {
    table_ = std::make_unique<NeighbourTable>(limits, events_);
  }
  void send(const IpAddress& ip, Instant now, uint8_t mark = 0) {
    const std::array<uint8_t, 1> bytes = {mark};
    table_->send(0, ip, host(250), mbuf_from(bytes), now);
  }
  std::optional<NeighbourState> state(const IpAddress& ip) const { return table_->state_of(0, ip); }
  // Lets time pass from deadline to deadline, as the worker does.
  void run_to(Instant end) {
    while (table_->next_deadline() <= end) table_->tick(table_->next_deadline());
    table_->tick(end);
  }

  unsigned in_use_ = test_mbufs_in_use();
  Recorder events_;
  std::unique_ptr<NeighbourTable> table_ = std::make_unique<NeighbourTable>(NeighbourLimits(), events_);
};

TEST_F(NeighbourTableTest, AnAnswerReleasesWhatWaitsInOrder) {
  for (uint8_t i = 0; i < 3; ++i) send(host(1), kStart, i);
  ASSERT_EQ(events_.asked.size(), 1U);
  EXPECT_EQ(events_.asked[0], std::make_pair(host(1), MacAddress::broadcast()));
  EXPECT_EQ(state(host(1)), NeighbourState::incomplete);
  EXPECT_EQ(table_->queued_frames(), 3U);
  EXPECT_FALSE(table_->mac_of(0, host(1)));
  table_->heard(0, host(1), kMacA, Heard::answer, kStart + 1ms);
  ASSERT_EQ(events_.forwarded.size(), 3U);
  for (uint8_t i = 0; i < 3; ++i) EXPECT_EQ(events_.forwarded[i], std::make_pair(kMacA, i));
  EXPECT_EQ(state(host(1)), NeighbourState::reachable);
  EXPECT_EQ(table_->queued_frames(), 0U);
  send(host(1), kStart + 2ms, 9);
  EXPECT_EQ(events_.forwarded.back(), std::make_pair(kMacA, uint8_t{9}));
  EXPECT_EQ(events_.asked.size(), 1U);
}

TEST_F(NeighbourTableTest, RetriesQuicklyThenSlowlyThenFails) {
  send(host(1), kStart);
  send(host(1), kStart);
  EXPECT_EQ(table_->next_deadline(), kStart + 50ms);
  table_->tick(kStart + 49ms);
  EXPECT_EQ(events_.asked.size(), 1U);
  table_->tick(kStart + 50ms);
  EXPECT_EQ(events_.asked.size(), 2U);
  EXPECT_EQ(table_->next_deadline(), kStart + 300ms);
  table_->tick(kStart + 300ms);
  EXPECT_EQ(events_.asked.size(), 3U);
  EXPECT_EQ(table_->next_deadline(), kStart + 800ms);
  EXPECT_EQ(events_.drops.of(DropReason::neighbour_unresolved), 0U);
  table_->tick(kStart + 800ms);
  EXPECT_EQ(events_.asked.size(), 3U);
  EXPECT_EQ(events_.drops.of(DropReason::neighbour_unresolved), 2U);
  EXPECT_EQ(table_->size(), 0U);
  EXPECT_EQ(table_->next_deadline(), kNever);
  send(host(1), kStart + 900ms);
  EXPECT_EQ(events_.asked.size(), 4U);
}

TEST_F(NeighbourTableTest, TheQueueIsBoundedAndDropsTheOldest) {
  for (uint8_t i = 0; i < 40; ++i) send(host(1), kStart, i);
  EXPECT_EQ(events_.drops.of(DropReason::neighbour_queue_full), 8U);
  table_->heard(0, host(1), kMacA, Heard::answer, kStart + 1ms);
  ASSERT_EQ(events_.forwarded.size(), 32U);
  EXPECT_EQ(events_.forwarded.front().second, 8);
  EXPECT_EQ(events_.forwarded.back().second, 39);
}

TEST_F(NeighbourTableTest, AllQueuesTogetherAreBounded) {
  NeighbourLimits limits;
  limits.queued_frames = 10;
  with_limits(limits);
  for (uint32_t i = 0; i < 15; ++i) send(host(i), kStart);
  EXPECT_EQ(table_->queued_frames(), 10U);
  EXPECT_EQ(events_.drops.of(DropReason::neighbour_queue_full), 5U);
  EXPECT_EQ(events_.asked.size(), 15U);  // the answer will serve the next frame
}

TEST_F(NeighbourTableTest, OneInUseIsRefreshedByUnicastBeforeItGoes) {
  send(host(1), kStart);
  table_->heard(0, host(1), kMacA, Heard::answer, kStart);
  send(host(1), kStart + 30s);
  run_to(kStart + 60s);
  EXPECT_EQ(state(host(1)), NeighbourState::probe);
  ASSERT_EQ(events_.asked.size(), 2U);
  EXPECT_EQ(events_.asked[1], std::make_pair(host(1), kMacA));
  send(host(1), kStart + 60s + 1ms);  // still forwarded while it is asked
  EXPECT_EQ(events_.forwarded.size(), 3U);
  table_->heard(0, host(1), kMacA, Heard::answer, kStart + 60s + 2ms);
  EXPECT_EQ(state(host(1)), NeighbourState::reachable);
  EXPECT_EQ(table_->next_deadline(), kStart + 120s + 2ms);
}

TEST_F(NeighbourTableTest, OneThatAnswersNoProbeGoesAfterABroadcast) {
  send(host(1), kStart);
  table_->heard(0, host(1), kMacA, Heard::answer, kStart);
  send(host(1), kStart + 1s);
  run_to(kStart + 60s + 799ms);
  ASSERT_EQ(events_.asked.size(), 4U);
  EXPECT_EQ(events_.asked[1].second, kMacA);
  EXPECT_EQ(events_.asked[2].second, kMacA);
  EXPECT_EQ(events_.asked[3].second, MacAddress::broadcast());
  EXPECT_EQ(state(host(1)), NeighbourState::probe);
  run_to(kStart + 60s + 800ms);
  EXPECT_FALSE(state(host(1)));
}

TEST_F(NeighbourTableTest, OneOutOfUseGrowsStaleIsProbedOnUseAndExpires) {
  table_->heard(0, host(1), kMacA, Heard::request_to_us, kStart);
  EXPECT_EQ(state(host(1)), NeighbourState::stale);
  table_->heard(0, host(1), kMacA, Heard::answer, kStart);
  run_to(kStart + 60s);
  EXPECT_EQ(state(host(1)), NeighbourState::stale);
  EXPECT_TRUE(events_.asked.empty());
  send(host(1), kStart + 100s);
  EXPECT_EQ(events_.forwarded.size(), 1U);
  ASSERT_EQ(events_.asked.size(), 1U);
  EXPECT_EQ(events_.asked[0].second, kMacA);
  EXPECT_EQ(state(host(1)), NeighbourState::probe);
  table_->heard(0, host(1), kMacA, Heard::answer, kStart + 101s);
  run_to(kStart + 161s);
  EXPECT_EQ(state(host(1)), NeighbourState::stale);
  run_to(kStart + 761s - 1ns);
  EXPECT_EQ(table_->size(), 1U);
  run_to(kStart + 761s);
  EXPECT_EQ(table_->size(), 0U);
}

TEST_F(NeighbourTableTest, StrangersChangeEntriesButCreateNone) {
  table_->heard(0, host(1), kMacA, Heard::in_passing, kStart);
  table_->heard(0, host(1), kMacA, Heard::answer, kStart);
  EXPECT_EQ(table_->size(), 0U);
  send(host(1), kStart);
  table_->heard(0, host(1), kMacA, Heard::answer, kStart);
  table_->heard(0, host(1), kMacA, Heard::in_passing, kStart + 1s);  // no news
  EXPECT_EQ(state(host(1)), NeighbourState::reachable);
  table_->heard(1, host(1), kMacB, Heard::in_passing, kStart + 1s);  // another port
  EXPECT_EQ(table_->mac_of(0, host(1)), kMacA);
  table_->heard(0, host(1), kMacB, Heard::in_passing, kStart + 1s);  // moved
  EXPECT_EQ(state(host(1)), NeighbourState::stale);
  send(host(1), kStart + 2s, 7);
  EXPECT_EQ(events_.forwarded.back(), std::make_pair(kMacB, uint8_t{7}));
  EXPECT_EQ(state(host(1)), NeighbourState::probe);
}

TEST_F(NeighbourTableTest, AnnouncementsServeThoseWhoWait) {
  send(host(1), kStart);
  table_->heard(0, host(1), kMacA, Heard::in_passing, kStart + 1ms);
  EXPECT_EQ(events_.forwarded.size(), 1U);
  EXPECT_EQ(state(host(1)), NeighbourState::stale);
}

TEST_F(NeighbourTableTest, AFullTableGivesUpTheIncompleteThenTheStaleNeverTheReachable) {
  NeighbourLimits limits;
  limits.entries = 4;
  with_limits(limits);
  for (uint32_t i = 1; i <= 2; ++i) {
    send(host(i), kStart);
    table_->heard(0, host(i), kMacA, Heard::answer, kStart);
  }
  table_->heard(0, host(3), kMacA, Heard::request_to_us, kStart);
  send(host(4), kStart);
  send(host(5), kStart);  // takes the place of 4, which never answered
  EXPECT_FALSE(state(host(4)));
  EXPECT_EQ(events_.drops.of(DropReason::neighbour_unresolved), 1U);
  EXPECT_EQ(state(host(3)), NeighbourState::stale);
  table_->heard(0, host(5), kMacA, Heard::answer, kStart);
  send(host(6), kStart);  // now the stale one
  EXPECT_FALSE(state(host(3)));
  table_->heard(0, host(6), kMacA, Heard::answer, kStart);
  send(host(7), kStart);
  EXPECT_FALSE(state(host(7)));
  EXPECT_EQ(events_.drops.of(DropReason::neighbour_unresolved), 2U);
  table_->heard(0, host(8), kMacA, Heard::request_to_us, kStart);
  EXPECT_FALSE(state(host(8)));
  for (const uint32_t i : {1U, 2U, 5U, 6U}) EXPECT_EQ(state(host(i)), NeighbourState::reachable);
}

TEST_F(NeighbourTableTest, FloodsOfAddressesStayWithinTheTable) {
  NeighbourLimits limits;
  limits.entries = 64;
  with_limits(limits);
  send(host(60000), kStart);
  table_->heard(0, host(60000), kMacA, Heard::answer, kStart);
  for (uint32_t i = 0; i < 10000; ++i) {
    const Instant now = kStart + i * 100us;
    send(host(i), now);
    if (i % 3 == 0) table_->heard(0, host(i), kMacB, Heard::in_passing, now);
    if (i % 10 == 0) table_->tick(now);
    ASSERT_LE(table_->size(), 64U);
  }
  EXPECT_EQ(state(host(60000)), NeighbourState::reachable);
  size_t known = 0;
  table_->for_each_known(0, [&](const IpAddress&, const MacAddress&) { ++known; });
  EXPECT_GE(known, 1U);
  table_->for_each_known(1, [&](const IpAddress&, const MacAddress&) { ADD_FAILURE(); });
  run_to(kStart + 1h);
  EXPECT_EQ(table_->size(), 0U);
  EXPECT_EQ(table_->queued_frames(), 0U);
}

}  // namespace
}  // namespace understudy::neighbour
