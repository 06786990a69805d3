// Three and five whole nodes in virtual time under `arbiter: members`: a majority decides, an owner speaks on
// a lease, and whatever is cut, stopped or restarted, there is one voice.
#include <gtest/gtest.h>

#include "control/cluster/kept_promises.h"
#include "tests/unit/appliance/arbitrated_cluster.h"

namespace understudy {
namespace {

using cluster::GroupState;

ClusterInProcess::Settings members(uint64_t seed, unsigned nodes = 3) {
  return {.seed = seed, .nodes = nodes, .arbiter = "members"};
}

TEST(Members, BootAndKeepTheirLease) {
  ClusterInProcess c(members(1));
  begin(c, 0ms);
  expect_done(c);
  EXPECT_EQ(c.owner(), size_t{0});
  EXPECT_FALSE(said(c, 0, "silent")) << c.describe();
}

TEST(Members, TheOwnerIsKilledAndThenTheNextOwnerAndTheyComeBack) {
  for (uint64_t seed = 10; seed < 16; ++seed) {
    auto settings = members(seed);
    settings.workers_of_n1 = seed % 2 == 0 ? 2U : 1U;
    settings.workers_of_n2 = seed % 4 < 2 ? 2U : 1U;
    ClusterInProcess c(settings);
    begin(c, 60ms);
    const Instant killed = c.now();
    c.kill(0);
    ASSERT_TRUE(becomes_owner(c, 1, 300ms)) << c.describe();
    EXPECT_LE(c.voice(1).first_claim - killed, 160ms) << c.describe();
    // With two of three left, a majority: the third node mirrors.
    ASSERT_TRUE(becomes_protected(c, 1)) << c.describe();
    ASSERT_TRUE(is_in_sync_set(c, 1, 2)) << c.describe();
    c.start(0);
    c.run_for(300ms);
    c.kill(1);
    ASSERT_TRUE(becomes_owner(c, 2, 400ms)) << c.describe();
    expect_done(c);
  }
}

TEST(Members, AMinorityOwnsNothing) {
  ClusterInProcess c(members(20));
  ASSERT_TRUE(c.boot()) << c.describe();
  c.kill(1);
  c.run_for(300ms);
  EXPECT_EQ(c.owner(), size_t{0});
  c.kill(2);
  c.run_for(1s);
  EXPECT_EQ(c.state(0), GroupState::fenced) << c.describe();
  EXPECT_TRUE(said(c, 0, "no majority has echoed")) << c.describe();
  c.start(2);
  EXPECT_TRUE(becomes_owner(c, 0, 2s)) << c.describe();
  EXPECT_EQ(c.most_voices(), 1U);
}

TEST(Members, AnOwnerThatSleptFindsItselfReplaced) {
  for (uint64_t seed = 30; seed < 34; ++seed) {
    ClusterInProcess c(members(seed));
    begin(c, 30ms);
    c.pause(0);
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    c.run_for(1300ms);
    c.forget_voice(0);
    c.resume(0);
    c.run_for(500ms);
    EXPECT_LE(c.voice(0).segments, 32U) << c.describe();
    EXPECT_EQ(c.voice(0).resets + c.voice(0).fins + c.voice(0).claims, 0U) << c.describe();
    expect_done(c);
  }
}

// It is silent for a moment and nobody takes over; what it was told meanwhile is lost. A backend says its
// reset once, and the client waits for that backend's bytes.
TEST(Members, AnOwnerThatSpeaksAgainLearnsOfAResetThatItMissed) {
  unsigned spoke_again = 0;
  for (Duration away = 80ms; away <= 100ms; away += 2ms) {
    ClusterInProcess c(members(35));
    ASSERT_TRUE(c.boot()) << c.describe();
    c.backend(0).reading = c.backend(1).reading = false;  // so that nobody has anything to say
    const StreamEnd& client = c.transfer(0, kMegabyte);
    c.run_for(30ms);
    c.pause(0);
    c.run_for(away / 2);
    for (size_t b = 0; b < 2; ++b)
      for (const auto& end : c.backend(b).ends())
        if (!end->closed) c.backend(b).engine().abort(end->leg.index, c.now());
    c.run_for(away - away / 2);
    c.resume(0);
    EXPECT_TRUE(c.run_until([&] { return client.closed; }, 1s)) << c.describe();
    EXPECT_EQ(client.reason, tcp::CloseReason::reset_by_peer) << c.describe();
    spoke_again += said(c, 0, "owner again, epoch unchanged");
  }
  EXPECT_GT(spoke_again, 0U);
}

// Another worker's heartbeats would keep the lease alive.
TEST(Members, AnOwnerWithAWorkerThatHangsIsReplaced) {
  uint64_t seed = 36;
  for (const auto& [workers, hanging] : kHangs) {
    auto settings = members(seed++);
    settings.workers_of_n1 = settings.workers_of_n2 = workers;
    ClusterInProcess c(settings);
    begin(c, 30ms);
    expect_replaced_when_hung(c, hanging, 250ms);
    expect_done(c);
  }
}

// Nobody else holds the connections: they wait as long as for a node that is silent, and then somebody
// serves.
TEST(Members, AClaimantWithAWorkerThatHangsIsReplacedInTheEnd) {
  for (const bool in_time : {true, false}) {
    auto settings = members(38);
    settings.workers_of_n2 = 2;
    ClusterInProcess c(settings);
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(20ms);
    c.kill(0);
    ASSERT_TRUE(c.run_until([&] { return c.state(1) == GroupState::requesting; }, 1s)) << c.describe();
    c.pause_worker(1, 1, in_time ? 1s : 8s);
    ASSERT_TRUE(c.run_until([&] { return c.state(1) == GroupState::claiming; }, 1s)) << c.describe();
    if (in_time) {
      c.run_for(2s);
      EXPECT_EQ(c.owner(), size_t{1}) << c.describe();
      expect_done(c);
    } else {
      EXPECT_TRUE(becomes_owner(c, 2, 4s)) << c.describe();
      EXPECT_TRUE(said(c, 1, "worker 1 of this node has made no progress for")) << c.describe();
      c.run_for(6s);
      EXPECT_EQ(c.owner(), size_t{2}) << c.describe();
      EXPECT_EQ(c.most_voices(), 1U) << c.describe();
    }
  }
}

TEST(Members, AnOwnerThatIsCutOffOrHalfCutOffIsReplacedByOne) {
  using C = ClusterInProcess;
  for (const int way : {0, 1, 2}) {  // both directions, what it hears, what it says
    for (uint64_t seed = 40; seed < 43; ++seed) {
      C c(members(seed));
      begin(c, 30ms);
      if (way != 2) c.cut_all(0, C::in, true);
      if (way != 1) c.cut_all(0, C::out, true);
      ASSERT_TRUE(becomes_owner(c, 1, 1500ms)) << "way " << way << c.describe();
      c.run_for(1s);
      // Who still hears the others has heard of its successor.
      EXPECT_EQ(c.state(0) == GroupState::fenced, way != 2) << "way " << way << c.describe();
      c.cut_all(0, false);
      EXPECT_TRUE(c.run_until([&] { return cluster::is_standby(c.state(0)); }, 1s)) << c.describe();
      EXPECT_EQ(c.owner(), size_t{1});
      expect_done(c);
    }
  }
}

// Heartbeats still travel on the other networks, so nobody suspects it; it knows itself that it is of less
// use.
TEST(Members, AnOwnerThatLosesOneOfItsNetworksHandsOverOnce) {
  using C = ClusterInProcess;
  for (const C::Network lost : {C::front, C::back}) {
    for (uint64_t seed = 55; seed < 57; ++seed) {
      C c(members(seed));
      begin(c, 0ms);
      c.cut(0, lost, true);
      ASSERT_TRUE(becomes_owner(c, 1, 1s)) << c.describe();
      EXPECT_TRUE(said(c, 0, "handing over")) << c.describe();
      const auto epoch = c.control(1).controller().machine(GroupId(1))->epoch();
      c.run_for(seed == 55 ? 12s : 1s);  // nor when it might give it away again
      c.cut(0, lost, false);
      c.run_for(2s);
      EXPECT_EQ(c.owner(), size_t{1}) << c.describe();
      EXPECT_EQ(c.control(1).controller().machine(GroupId(1))->epoch(), epoch) << c.describe();
      expect_done(c);
    }
  }
}

TEST(Members, ANetworkThatEverybodyLosesMovesNothing) {
  using C = ClusterInProcess;
  C c(members(58));
  ASSERT_TRUE(c.boot()) << c.describe();
  c.run_for(100ms);
  for (const size_t slot : {size_t{1}, size_t{2}, size_t{0}}) c.cut(slot, C::front, true);
  c.run_for(3s);
  EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
  EXPECT_EQ(c.control(0).controller().machine(GroupId(1))->epoch().counter, 2U);
  for (const size_t slot : {size_t{1}, size_t{2}, size_t{0}}) c.cut(slot, C::front, false);
  c.run_for(1s);
  EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
}

TEST(Members, ADeafSuccessorDisturbsNobody) {
  using C = ClusterInProcess;
  C c(members(50));
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  c.run_for(50ms);
  c.cut_all(1, C::in, true);
  c.run_for(2s);
  EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
  EXPECT_EQ(c.control(0).controller().machine(GroupId(1))->epoch().counter, 2U);
  c.cut_all(1, false);
  expect_done(c);
  EXPECT_EQ(c.owner(), size_t{0});
}

TEST(Members, AStandbyThatIsCutOffThePeerNetworkIsRemovedFirstAndCannotClaim) {
  for (uint64_t seed = 60; seed < 64; ++seed) {
    ClusterInProcess c(members(seed));
    begin(c, 0ms);
    c.cut(1, ClusterInProcess::peer, true);
    ASSERT_TRUE(c.run_until([&] { return is_in_sync_set(c, 0, 2); }, 2s)) << c.describe();
    c.forget_voice(1);
    c.kill(0);
    expect_done(c);
    EXPECT_EQ(c.owner(), size_t{2}) << c.describe();
    EXPECT_EQ(c.voice(1).segments + c.voice(1).claims, 0U) << c.describe();
  }
}

TEST(Members, AMemberThatRestartsBetweenTwoElectionsKeepsItsWord) {
  ClusterInProcess c(members(70));
  begin(c, 0ms);
  c.kill(2);
  c.run_for(20ms);
  c.start(2);
  c.run_for(30ms);
  c.kill(0);
  ASSERT_TRUE(becomes_owner(c, 1, 1s)) << c.describe();
  ASSERT_TRUE(becomes_protected(c, 1)) << c.describe();
  const auto kept = cluster::decode_promises(c.disk(2).bytes);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->at(GroupId(1))->promised.node, NodeId(2));
  c.kill(2);
  c.run_for(20ms);
  c.start(2);
  // Of three, one is dead and one votes for nobody yet: the owner is silent until that is over.
  ASSERT_TRUE(becomes_owner(c, 1, 2s)) << c.describe();
  c.start(0);
  ASSERT_TRUE(c.run_until([&] { return c.is_protected() && c.unprotected_legs() == 0; }, 2s)) << c.describe();
  expect_done(c);
}

// Nobody is owned past: its owner is dead, and the record says that this node holds everything. However often
// it stands still until a majority is back, its copies are what they were.
TEST(Members, ASuccessorThatStandsStillWhileItWaitsForAMajorityKeepsItsCopies) {
  for (const Duration away : {70ms, 90ms, 150ms, 1500ms}) {
    ClusterInProcess c(members(75));
    begin(c, 0ms);
    c.kill(2);
    c.run_for(20ms);
    c.kill(0);
    c.run_for(300ms);
    c.pause(1);
    c.run_for(away);
    c.resume(1);
    c.run_for(100ms);
    c.start(2);
    ASSERT_TRUE(becomes_owner(c, 1, 2s)) << away << c.describe();
    EXPECT_EQ(c.control(1).controller().machine(GroupId(1))->last_takeover()->legs_lost, 0U) << c.describe();
    expect_done(c);
  }
}

TEST(Members, AHandOverAsksThemToo) {
  ClusterInProcess c(members(80));
  begin(c, 0ms);
  for (int round = 0; round < 4; ++round) {
    const size_t from = *c.owner(), to = 1 - from;
    ASSERT_TRUE(c.run_until([&] { return is_in_sync_set(c, from, to); }, 1s)) << c.describe();
    const Instant began = c.now();
    const auto obstacle = c.hand_over(from, to);
    ASSERT_FALSE(obstacle) << *obstacle << c.describe();
    ASSERT_TRUE(becomes_owner(c, to, 400ms)) << c.describe();
    EXPECT_LE(c.now() - began, 40ms) << c.describe();
    ASSERT_TRUE(becomes_protected(c, to)) << c.describe();
  }
  expect_done(c);
}

TEST(Members, NobodyInSyncIsLeftAndTheThirdServesColdAfterAWhile) {
  auto settings = members(90);
  settings.cold_takeover_after = 500ms;
  ClusterInProcess c(settings);
  ASSERT_TRUE(c.boot()) << c.describe();
  c.run_for(100ms);
  c.kill(0);
  c.kill(1);
  c.run_for(300ms);
  c.start(0);  // without it there is no majority; it has forgotten everything
  const Instant began = c.now();
  ASSERT_TRUE(c.run_until([&] { return c.owner().has_value(); }, 5s)) << c.describe();
  EXPECT_GE(c.now() - began, 100ms);
  c.transfer(1000, 1000);
  expect_done(c);
}

TEST(Members, FiveLoseTheirOwnerAndItsStandbyAndEndWithOneOwner) {
  for (uint64_t seed = 100; seed < 106; ++seed) {
    auto settings = members(seed, 5);
    settings.cold_takeover_after = 300ms;
    ClusterInProcess c(settings);
    ASSERT_TRUE(c.boot()) << c.describe();
    c.kill(0);
    c.kill(1);
    ASSERT_TRUE(c.run_until([&] { return c.owner().has_value(); }, 5s)) << c.describe();
    c.run_for(500ms);
    EXPECT_TRUE(c.owner().has_value()) << c.describe();
    EXPECT_EQ(c.most_voices(), 1U) << c.describe();
  }
}

// Four are left, in two halves, for longer than those wait who hold nothing; then all of them ask at once.
TEST(Members, FourOfFiveInHalvesOwnNothingAndThenTheStandbyGoesOn) {
  using C = ClusterInProcess;
  for (uint64_t seed = 115; seed < 121; ++seed) {
    C c(members(seed, 5));
    begin(c, 0ms);
    bool is_split = true;
    for (const C::Network n : {C::front, C::back, C::peer})
      c.network(n).separates = [&, n](const SwitchPort& from, const SwitchPort& to) {
        const auto is = [&](const SwitchPort& port, size_t slot) { return &c.port(slot, n) == &port; };
        const auto half = [&](const SwitchPort& port) {
          return is(port, 1) || is(port, 2) ? 1 : is(port, 3) || is(port, 4) ? 2 : 0;
        };
        return is_split && half(from) != 0 && half(to) != 0 && half(from) != half(to);
      };
    c.kill(0);
    c.run_for(4s);
    EXPECT_FALSE(c.owner()) << c.describe();
    is_split = false;
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    EXPECT_FALSE(c.control(1).controller().machine(GroupId(1))->last_takeover()->cold);
    expect_done(c, 60s);
  }
}

TEST(Members, AGroupOfTwoInFiveIsNoMajority) {
  ClusterInProcess c(members(110, 5));
  begin(c, 0ms);
  // n1 and n3 on one side; on the other the three that are left, n2 among them, which is in sync.
  c.cut_all(0, true);
  ASSERT_TRUE(becomes_owner(c, 1, 1s)) << c.describe();
  c.run_for(300ms);
  c.cut_all(0, false);
  expect_done(c);
}

}  // namespace
}  // namespace understudy
