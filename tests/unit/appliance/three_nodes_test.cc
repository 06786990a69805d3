// Three whole nodes in virtual time: each group has its own standby, and after a takeover the next one.
#include <gtest/gtest.h>

#include "tests/support/cluster_in_process.h"

namespace understudy {
namespace {

using cluster::GroupState;
constexpr uint32_t kMegabyte = 1'000'000;

void expect_done(ClusterInProcess& c, Duration limit = 30s) {
  EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, limit)) << c.describe();
  for (const std::string& fault : c.faults()) ADD_FAILURE() << fault << c.describe();
}

void begin_transfers(ClusterInProcess& c, size_t group = 0) {
  c.transfer(0, 3 * kMegabyte, group);
  c.transfer(3 * kMegabyte, 0, group);
  c.transfer(kMegabyte, kMegabyte, group);
}

// Until `slot` owns the group and every session of it is protected.
bool becomes_owner(ClusterInProcess& c, size_t slot, size_t group = 0) {
  return c.run_until(
      [&] { return c.owner(group) == slot && c.is_protected(group) && c.unprotected_legs(group) == 0; }, 1s);
}

TEST(ThreeNodes, OnlyTheFirstSuccessorIsMirroredTo) {
  ClusterInProcess c({.seed = 1, .nodes = 3});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  c.run_for(100ms);
  EXPECT_EQ(c.state(0), GroupState::owner_protected) << c.describe();
  EXPECT_EQ(c.state(1), GroupState::standby_synced) << c.describe();
  EXPECT_EQ(c.state(2), GroupState::standby_empty) << c.describe();
  EXPECT_GT(c.worker(1, 0).engine().legs().size(), 0U);
  EXPECT_EQ(c.worker(2, 0).engine().group(0).legs, 0U) << "n3 mirrors what it need not" << c.describe();
  for (size_t slot = 0; slot < 3; ++slot) {
    const auto groups = c.control(slot).controller().groups(c.now());
    EXPECT_EQ(groups[0].owner, "n1");
    EXPECT_EQ(groups[0].standby, "n2") << "as n" << slot + 1 << " sees it";
  }
  expect_done(c);
}

TEST(ThreeNodes, TheOwnerDiesAndThenTheNextOwner) {
  for (uint64_t seed = 10; seed < 20; ++seed) {
    ClusterInProcess c({.seed = seed,
                        .nodes = 3,
                        .workers_of_n1 = seed % 2 == 0 ? 2U : 1U,
                        .workers_of_n2 = seed % 4 < 2 ? 2U : 1U});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(20ms + Duration(c.random().below(60'000'000)));
    ASSERT_EQ(c.unprotected_legs(), 0U) << c.describe();
    c.kill(0);
    ASSERT_TRUE(c.run_until([&] { return c.owner() == size_t{1}; }, 200ms)) << c.describe();
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    EXPECT_EQ(c.standby(), size_t{2});
    EXPECT_FALSE(c.all_done()) << "the transfers were too short to tell";
    c.run_for(Duration(c.random().below(60'000'000)));
    c.forget_voice(2);
    const Instant killed = c.now();
    c.kill(1);
    expect_done(c);
    EXPECT_EQ(c.owner(), size_t{2}) << c.describe();
    EXPECT_LE(c.voice(2).first_claim - killed, 150ms) << "a dead node is not waited for" << c.describe();
    EXPECT_EQ(c.state(2), GroupState::owner_unprotected);
  }
}

TEST(ThreeNodes, ANodeThatReturnsIsTheNextStandbyAndTheWheelTurnsOn) {
  ClusterInProcess c({.seed = 30, .nodes = 3});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  for (size_t round = 0; round < 4; ++round) {
    const size_t victim = *c.owner();
    c.run_for(20ms);
    c.kill(victim);
    ASSERT_TRUE(c.run_until([&] { return c.owner() && c.is_protected() && c.unprotected_legs() == 0; }, 1s))
        << c.describe();
    c.start(victim);
    c.run_for(400ms);
    EXPECT_EQ(c.state(victim), GroupState::standby_empty) << "round " << round << c.describe();
    begin_transfers(c);
  }
  expect_done(c, 60s);
}

TEST(ThreeNodes, AStandbyThatDiesIsReplacedByTheThird) {
  ClusterInProcess c({.seed = 40, .nodes = 3});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  c.run_for(30ms);
  c.kill(1);
  ASSERT_TRUE(c.run_until(
      [&] { return c.standby() == size_t{2} && c.is_protected() && c.unprotected_legs() == 0; }, 1s))
      << c.describe();
  EXPECT_EQ(c.owner(), size_t{0});
  c.kill(0);
  expect_done(c);
  EXPECT_EQ(c.owner(), size_t{2}) << c.describe();
}

TEST(ThreeNodes, AStandbyThatIsCutOffThePeerNetworkIsReplacedAndDoesNotResumeFromWhatItHad) {
  for (uint64_t seed = 50; seed < 54; ++seed) {
    ClusterInProcess c({.seed = seed, .nodes = 3});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(30ms);
    c.cut(1, ClusterInProcess::peer, true);
    ASSERT_TRUE(c.run_until(
        [&] { return c.standby() == size_t{2} && c.is_protected() && c.unprotected_legs() == 0; }, 2s))
        << c.describe();
    EXPECT_EQ(c.worker(1, 0).engine().group(0).legs, 0U) << "it still holds what is stale" << c.describe();
    c.run_for(Duration(c.random().below(20'000'000)));
    c.forget_voice(1);
    c.kill(0);
    expect_done(c);
    EXPECT_EQ(c.owner(), size_t{2}) << c.describe();
    EXPECT_EQ(c.voice(1).segments + c.voice(1).claims, 0U) << c.describe();
  }
}

TEST(ThreeNodes, TwoGroupsWithTwoOwnersAndTwoStandbys) {
  ClusterInProcess c({.seed = 60, .nodes = 3, .groups = 2});
  ASSERT_TRUE(c.boot()) << c.describe();
  EXPECT_EQ(c.owner(0), size_t{0});
  EXPECT_EQ(c.standby(0), size_t{1});
  EXPECT_EQ(c.owner(1), size_t{1});
  EXPECT_EQ(c.standby(1), size_t{2});
  begin_transfers(c, 0);
  begin_transfers(c, 1);
  c.run_for(30ms);
  ASSERT_EQ(c.unprotected_legs(0) + c.unprotected_legs(1), 0U) << c.describe();
  // n2 is the first group's standby and the second group's owner.
  c.kill(1);
  ASSERT_TRUE(becomes_owner(c, 2, 1)) << c.describe();
  ASSERT_TRUE(becomes_owner(c, 0, 0)) << c.describe();
  EXPECT_EQ(c.standby(0), size_t{2});
  EXPECT_EQ(c.standby(1), size_t{0});
  EXPECT_FALSE(c.all_done()) << "the transfers were too short to tell";
  c.kill(2);
  expect_done(c);
  EXPECT_EQ(c.owner(0), size_t{0});
  EXPECT_EQ(c.owner(1), size_t{0}) << c.describe();
}

TEST(ThreeNodes, AnOwnerThatSleptMeetsTheOneThatReplacedItAndHoldsBackNobody) {
  for (uint64_t seed = 70; seed < 74; ++seed) {
    ClusterInProcess c({.seed = seed, .nodes = 3});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(30ms + Duration(c.random().below(30'000'000)));
    c.pause(0);
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    c.run_for(500ms);
    c.forget_voice(0);
    c.resume(0);
    c.run_for(500ms);
    EXPECT_LE(c.voice(0).segments, 32U) << c.describe();
    EXPECT_EQ(c.voice(0).resets + c.voice(0).fins + c.voice(0).claims, 0U) << c.describe();
    EXPECT_EQ(c.standby(), size_t{2}) << "the standby was changed for nothing" << c.describe();
    EXPECT_EQ(c.state(0), GroupState::standby_empty);
    begin_transfers(c);
    c.run_for(30ms);
    c.kill(1);
    expect_done(c);
    EXPECT_EQ(c.owner(), size_t{2}) << c.describe();
  }
}

}  // namespace
}  // namespace understudy
