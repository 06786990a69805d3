// Planned hand-overs with whole nodes in virtual time: no connection notices.
#include <gtest/gtest.h>

#include "tests/support/cluster_in_process.h"

namespace understudy {
namespace {

using Settings = ClusterInProcess::Settings;
constexpr uint32_t kMegabyte = 1'000'000;
// Segments that are sent again because later ones reached the new owner first.
constexpr uint64_t kOvertakenMost = 20;

// Nothing waits in switches: a frame that waits for the former owner is overtaken by one that goes to the new
// one, and its sender takes it for lost. Windows and delays alone limit the transfers.
void clear_queues(ClusterInProcess& c) {
  for (const auto network : {ClusterInProcess::front, ClusterInProcess::back}) {
    c.network(network).bits_per_second = 0;
    c.network(network).delay = 500us;
  }
  c.network(ClusterInProcess::peer).bits_per_second = 0;
}

void begin_long_transfers(ClusterInProcess& c) {
  c.transfer(0, 6 * kMegabyte);
  c.transfer(6 * kMegabyte, 0);
  c.transfer(2 * kMegabyte, 2 * kMegabyte);
}

void begin_transfers(ClusterInProcess& c) {
  c.transfer(0, kMegabyte);
  c.transfer(kMegabyte, 0);
  c.transfer(kMegabyte / 3, kMegabyte / 3);
}

void expect_done(ClusterInProcess& c, Duration limit = 30s) {
  EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, limit)) << c.describe();
  for (const std::string& fault : c.faults()) ADD_FAILURE() << fault << c.describe();
}

// Hands the group from its owner to the other node and runs until that one has a synced standby. How long
// nobody spoke for the group.
Duration hand_over(ClusterInProcess& c) {
  const size_t from = *c.owner();
  const size_t to = 1 - from;
  c.forget_voice(to);
  const Instant told = c.now();
  const auto refusal = c.hand_over(from, to);
  EXPECT_EQ(refusal.value_or(""), "") << c.describe();
  EXPECT_TRUE(c.run_until([&] { return c.owner() == to; }, 100ms)) << c.describe();
  const Duration silent = c.voice(to).first_claim - told;
  EXPECT_TRUE(c.run_until([&] { return c.is_protected(); }, 200ms)) << c.describe();
  EXPECT_EQ(c.unprotected_legs(), 0U) << c.describe();
  return silent;
}

uint64_t repeated(ClusterInProcess& c) {
  uint64_t count = c.client().repeated();
  for (size_t b = 0; b < 2; ++b) count += c.backend(b).repeated();
  for (size_t slot = 0; slot < 2; ++slot)
    for (size_t w = 0; c.runs(slot) && w < c.workers(slot); ++w)
      count += c.worker(slot, w).engine().counters().retransmitted +
               c.worker(slot, w).engine().counters().timeouts;
  return count;
}

TEST(HandOver, TransfersGoOnAndHardlyAnythingIsSentTwice) {
  for (const auto& [first, second] : {std::pair{1U, 1U}, {2U, 2U}, {1U, 2U}, {3U, 1U}}) {
    uint64_t without = 0;
    {
      ClusterInProcess c({.seed = 70, .workers_of_n1 = first, .workers_of_n2 = second});
      ASSERT_TRUE(c.boot()) << c.describe();
      clear_queues(c);
      begin_long_transfers(c);
      expect_done(c);
      without = repeated(c);
    }
    ClusterInProcess c({.seed = 70, .workers_of_n1 = first, .workers_of_n2 = second});
    ASSERT_TRUE(c.boot()) << c.describe();
    clear_queues(c);
    begin_long_transfers(c);
    c.run_for(30ms);
    EXPECT_LE(hand_over(c), 2ms) << c.describe();
    EXPECT_EQ(c.owner(), size_t{1});
    EXPECT_FALSE(c.all_done()) << "the transfers were too short to tell";
    EXPECT_EQ(c.slot_of_group_mac(ClusterInProcess::front), 1U);
    EXPECT_EQ(c.slot_of_group_mac(ClusterInProcess::back), 1U);
    expect_done(c);
    EXPECT_LE(repeated(c), without + kOvertakenMost) << first << " and " << second << c.describe();
    for (size_t slot = 0; slot < 2; ++slot) EXPECT_EQ(c.voice(slot).resets, 0U);
  }
}

TEST(HandOver, BackAndForthDuringTransfersAndThenAKill) {
  ClusterInProcess c({.seed = 71, .workers_of_n2 = 2});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  begin_transfers(c);
  for (int i = 0; i < 5; ++i) {
    c.run_for(10ms);
    hand_over(c);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_FALSE(c.all_done()) << "the transfers were too short to tell";
  c.kill(*c.owner());
  expect_done(c);
}

TEST(HandOver, IsRefusedWithASentence) {
  ClusterInProcess c({.seed = 72});
  ASSERT_TRUE(c.boot()) << c.describe();
  EXPECT_EQ(c.hand_over(1, 0).value(),
            "this node does not own group web; give the command on n1, which does");
  EXPECT_EQ(c.hand_over(0, 0).value(), "n1 owns group web already");
  c.cut(1, ClusterInProcess::peer, true);
  begin_transfers(c);
  c.run_for(300ms);
  EXPECT_NE(c.hand_over(0, 1).value().find("n2 is not synced: "), std::string::npos)
      << c.hand_over(0, 1).value();
  c.kill(1);
  c.run_for(300ms);
  EXPECT_EQ(c.hand_over(0, 1).value(), "n2 is not heard; it must run and be the synced standby of group web");
  EXPECT_EQ(c.owner(), size_t{0});
  expect_done(c);
}

// The peer link goes at the moment of the command: the owner waits for the heir, then goes on by itself.
TEST(HandOver, WithoutTheHeirTheOwnerGoesOn) {
  ClusterInProcess c({.seed = 73});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  c.run_for(30ms);
  c.cut(1, ClusterInProcess::peer, true);
  EXPECT_EQ(c.hand_over(0, 1).value_or(""), "");
  EXPECT_TRUE(c.run_until([&] { return c.owner() == size_t{0}; }, 200ms)) << c.describe();
  c.cut(1, ClusterInProcess::peer, false);
  expect_done(c);
  EXPECT_EQ(c.voice(1).segments, 0U) << c.describe();
}

// One of the two dies at any moment of it.
TEST(HandOver, ADeathInTheMiddleIsATakeoverLikeAnyOther) {
  for (uint64_t seed = 80; seed < 104 && !HasFailure(); ++seed) {
    Random random(seed);
    ClusterInProcess c(
        {.seed = seed, .workers_of_n1 = 1 + random.below(2), .workers_of_n2 = 1 + random.below(2)});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(30ms);
    ASSERT_EQ(c.hand_over(0, 1).value_or(""), "");
    c.run_for(Duration(random.below(4'000'000)));
    c.kill(seed % 2);
    expect_done(c);
  }
}

TEST(HandOver, ANodeThatIsToldToLeaveHandsItsConnectionsOver) {
  for (uint64_t seed = 110; seed < 114; ++seed) {
    ClusterInProcess c({.seed = seed, .workers_of_n2 = seed % 2 == 0 ? 2U : 1U});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(10ms + Duration(c.random().below(60'000'000)));
    c.forget_voice(1);
    const Instant told = c.now();
    c.retire(0);
    ASSERT_TRUE(c.run_until([&] { return !c.runs(0); }, 3s)) << c.describe();
    EXPECT_LE(c.voice(1).first_claim - told, 6ms) << "more than three rounds of control" << c.describe();
    EXPECT_EQ(c.last_words(0), "retired");
    EXPECT_EQ(c.owner(), size_t{1});
    expect_done(c);
    const auto takeover = c.control(1).controller().machine(GroupId(1))->last_takeover();
    EXPECT_TRUE(takeover->handed) << c.describe();
    // It is a standby again when it comes back.
    c.start(0);
    EXPECT_TRUE(c.run_until([&] { return c.is_protected(); }, 3s)) << c.describe();
  }
}

// ---- return of the first system

TEST(Failback, TheFirstSystemGetsLiveConnectionsBackOnceItIsSynced) {
  ClusterInProcess c(
      {.seed = 120, .workers_of_n2 = 2, .bits_per_second = 6'000'000, .failback = "when_synced"});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  begin_transfers(c);  // some 4 s
  c.run_for(100ms);
  c.kill(0);
  c.run_for(500ms);
  ASSERT_EQ(c.owner(), size_t{1}) << c.describe();
  c.forget_voice(0);
  c.start(0);
  ASSERT_TRUE(c.run_until([&] { return c.is_protected(); }, 3s)) << c.describe();
  c.run_for(900ms);
  EXPECT_EQ(c.owner(), size_t{1}) << "no preemption before it is proven synced" << c.describe();
  EXPECT_EQ(c.voice(0).claims + c.voice(0).segments, 0U);
  EXPECT_TRUE(c.run_until([&] { return c.owner() == size_t{0}; }, 300ms)) << c.describe();
  EXPECT_TRUE(c.run_until([&] { return c.is_protected(); }, 300ms)) << c.describe();
  EXPECT_FALSE(c.all_done()) << "the transfers were too short to tell";
  expect_done(c);
  c.run_for(3s);
  EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
}

TEST(Failback, NeverAndManualLeaveTheGroupWhereItIs) {
  for (const char* mode : {"never", "manual"}) {
    ClusterInProcess c({.seed = 121, .failback = mode});
    ASSERT_TRUE(c.boot()) << c.describe();
    c.kill(0);
    c.run_for(300ms);
    c.start(0);
    c.run_for(5s);
    EXPECT_EQ(c.owner(), size_t{1}) << mode << c.describe();
    EXPECT_EQ(c.hand_over(1, 0).value_or(""), "");
    EXPECT_TRUE(c.run_until([&] { return c.owner() == size_t{0} && c.is_protected(); }, 300ms))
        << c.describe();
  }
}

TEST(Failback, AReturnThatDoesNotSyncIsToldAndChangesNothing) {
  ClusterInProcess c({.seed = 122, .failback = "when_synced"});
  ASSERT_TRUE(c.boot()) << c.describe();
  c.kill(0);
  c.run_for(300ms);
  c.start(0);
  c.cut(0, ClusterInProcess::peer, true);
  c.run_for(31s);
  EXPECT_EQ(c.owner(), size_t{1}) << c.describe();
  EXPECT_NE(c.describe().find("n1 is back for 30 s and not synced"), std::string::npos) << c.describe();
  c.cut(0, ClusterInProcess::peer, false);
  EXPECT_TRUE(c.run_until([&] { return c.owner() == size_t{0}; }, 3s)) << c.describe();
}

}  // namespace
}  // namespace understudy
