#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/cluster/virtual_cluster.h"

namespace understudy::cluster::test {
namespace {

// Two nodes that have booted; n1 owns, n2 is its synced standby.
struct SettledPair : VirtualCluster {
  explicit SettledPair(Options options = {}) : VirtualCluster(options) {
    for (uint16_t id = 1; id <= options.nodes; ++id) boot(id);
    EXPECT_TRUE(run_until(
        [this] {
          return is_settled() && state(1) == GroupState::owner_protected &&
                 state(2) == GroupState::standby_synced;
        },
        3s))
        << describe();
  }
};

TEST(Takeover, AtBootTheFirstSuccessorOwnsAndTheOtherFollows) {
  VirtualCluster cluster({});
  cluster.boot(2);
  cluster.run(30ms);
  cluster.boot(1);
  const Instant booted = cluster.now();
  ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(1); }, 1s)) << cluster.describe();
  EXPECT_LE(cluster.now() - booted, 300ms) << "rank 0 claims at the end of learning";
  EXPECT_GE(cluster.now() - booted, 200ms) << "but learns first";
  cluster.run(2s);
  EXPECT_TRUE(cluster.is_settled()) << cluster.describe();
  EXPECT_EQ(cluster.node(2).promotions, 0);
}

TEST(Takeover, AKilledOwnerIsReplacedWithinDeadAfterAndAWitness) {
  Duration longest{0};
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SettledPair cluster({.seed = seed});
    cluster.run(Duration(cluster.random().below(50'000'000)));
    const Instant killed = cluster.now();
    cluster.kill(1);
    ASSERT_TRUE(cluster.run_until([&] { return cluster.node(2).promotions == 1; }, 1s)) << cluster.describe();
    longest = std::max(longest, cluster.now() - killed);
    EXPECT_GE(cluster.now() - killed, 79ms) << "never before dead_after since the last beat";
    const Takeover& takeover = *cluster.node(2).controller->machine(kGroup)->last_takeover();
    EXPECT_EQ(takeover.from, NodeId(1));
    EXPECT_FALSE(takeover.cold);
    EXPECT_EQ(takeover.epoch, (Epoch{3, NodeId(2)}));
    EXPECT_LE(takeover.last_heartbeat, takeover.suspected);
    EXPECT_LE(takeover.suspected, takeover.witnessed.value());
    EXPECT_LE(takeover.witnessed.value(), takeover.decided);
    cluster.run(10ms);
    EXPECT_EQ(takeover.announced.value() - takeover.decided, 1ms);
  }
  // dead_after 100 ms, up to 10 ms by chance, 1 ms for the witness, delay on the link.
  EXPECT_LE(longest, 115ms);
}

TEST(Takeover, WithoutAWitnessItKeepsAskingAndDoesNotClaim) {
  SettledPair cluster;
  cluster.node(2).witness = false;
  cluster.kill(1);
  cluster.run(5s);
  EXPECT_EQ(cluster.state(2), GroupState::suspecting);
  EXPECT_NEAR(cluster.node(2).probes, 5000 / 20, 12);
  EXPECT_TRUE(cluster.said(2, "it may be this node that is cut off"));
  cluster.node(2).witness = true;
  EXPECT_TRUE(cluster.run_until([&] { return cluster.owns(2); }, 150ms)) << cluster.describe();
}

TEST(Takeover, ALoneNodeThatNobodyAnswersServesAfterAWhile) {
  VirtualCluster cluster({});
  cluster.node(1).witness = false;
  cluster.boot(1);
  EXPECT_FALSE(cluster.run_until([&] { return cluster.owns(1); }, 3s));
  EXPECT_TRUE(cluster.run_until([&] { return cluster.owns(1); }, 500ms)) << cluster.describe();
  EXPECT_TRUE(cluster.said(1, "serving alone"));
  EXPECT_EQ(cluster.node(1).speaks->counter, kLoneCounter);
}

TEST(Takeover, ANodeThatServedInTheDarkYieldsToOneThatHadWitnesses) {
  VirtualCluster cluster({});
  cluster.boot(1);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(1); }, 1s));
  cluster.isolate(1, 2);
  cluster.node(2).witness = false;
  cluster.boot(2);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(2); }, 5s));
  cluster.heal();
  cluster.run(500ms);
  EXPECT_TRUE(cluster.is_settled()) << cluster.describe();
  EXPECT_TRUE(cluster.owns(1)) << "it has the connections, though its node id is lower";
  EXPECT_EQ(cluster.node(1).promotions, 1);
}

TEST(Takeover, CutPeerLinkAloneChangesNothing) {
  SettledPair cluster;
  cluster.cut(1, 2, 0);
  cluster.cut(2, 1, 0);
  cluster.run(5s);
  EXPECT_TRUE(cluster.owns(1));
  EXPECT_EQ(cluster.node(2).promotions, 0);
  EXPECT_TRUE(cluster.said(2, "node n1 is no longer heard on link link0"));
  const auto peers = cluster.node(2).controller->peers(cluster.now());
  EXPECT_GT(*peers[0].links[0].age, 4s);
  EXPECT_LT(*peers[0].links[1].age, 40ms);
  cluster.heal();
  cluster.run(100ms);
  EXPECT_TRUE(cluster.said(2, "node n1 is heard on link link0 again"));
}

TEST(Takeover, APausedOwnerThatComesBackStandsBy) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SettledPair cluster({.seed = seed});
    cluster.pause(1);
    cluster.run(1s);
    ASSERT_TRUE(cluster.owns(2)) << cluster.describe();
    cluster.resume(1);
    EXPECT_FALSE(cluster.node(1).speaks && !cluster.node(1).muted) << "silent at once: " << seed;
    cluster.run(1s);
    EXPECT_TRUE(cluster.is_settled()) << cluster.describe();
    EXPECT_TRUE(cluster.owns(2));
    EXPECT_EQ(cluster.node(1).promotions, 1);
    EXPECT_EQ(cluster.node(2).promotions, 1);
  }
}

TEST(Takeover, APausedOwnerWithoutStandbyCarriesOnWithItsEpoch) {
  VirtualCluster cluster({});
  cluster.boot(1);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(1); }, 1s));
  const Epoch epoch = *cluster.node(1).speaks;
  cluster.pause(1);
  cluster.run(1s);
  cluster.resume(1);
  EXPECT_TRUE(cluster.node(1).muted);
  EXPECT_EQ(cluster.state(1), GroupState::fenced);
  cluster.run(150ms);
  EXPECT_TRUE(cluster.owns(1));
  EXPECT_FALSE(cluster.node(1).muted);
  EXPECT_EQ(cluster.node(1).speaks, epoch);
}

TEST(Takeover, APausedOwnerWhoseSuccessorRetiresMeanwhileDoesNotGoOnWithItsOldEpoch) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SettledPair cluster({.seed = seed});
    cluster.pause(1);
    cluster.isolate(1, 2);  // what came in meanwhile is thrown away
    ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(2); }, 1s)) << cluster.describe();
    const Epoch epoch = *cluster.node(2).speaks;
    cluster.act(2, [&](Controller& controller) { return controller.retire(cluster.now()); });
    cluster.run(Duration(cluster.random().below(400'000'000)));
    cluster.heal();
    cluster.resume(1);
    ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(1) && !cluster.node(1).muted; }, 5s))
        << cluster.describe();
    EXPECT_GT(cluster.node(1).speaks, epoch) << seed;
  }
}

TEST(Takeover, APausedStandbyDoesNotSuspectAHealthyOwner) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SettledPair cluster({.seed = seed});
    cluster.pause(2);
    cluster.run(Duration(cluster.random().below(2'000'000'000)));
    cluster.resume(2);
    cluster.run(1s);
    EXPECT_TRUE(cluster.owns(1)) << cluster.describe();
    EXPECT_EQ(cluster.node(2).promotions, 0);
  }
}

TEST(Takeover, AStandbyThatWasAwayTakesOverColdOnly) {
  SettledPair cluster;
  cluster.pause(2);
  cluster.run(500ms);
  cluster.kill(1);
  cluster.resume(2);
  EXPECT_EQ(cluster.state(2), GroupState::standby_stale);
  const Instant resumed = cluster.now();
  ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(2); }, 5s)) << cluster.describe();
  EXPECT_GE(cluster.now() - resumed, 3s);
  EXPECT_TRUE(cluster.said(2, "cold, 10 connections are lost")) << cluster.describe();
  EXPECT_TRUE(cluster.node(2).controller->machine(kGroup)->last_takeover()->cold);
}

TEST(Takeover, AStuckOwnerIsReplaced) {
  SettledPair cluster;
  cluster.node(1).progresses = false;
  EXPECT_TRUE(cluster.run_until([&] { return cluster.owns(2); }, 200ms)) << cluster.describe();
  EXPECT_TRUE(cluster.said(2, "has made no progress"));
  EXPECT_TRUE(cluster.run_until([&] { return is_standby(cluster.state(1)); }, 100ms));
}

TEST(Takeover, AKilledOwnerThatRestartsBeforeItIsMissedIsReplacedAsSoon) {
  SettledPair cluster;
  cluster.kill(1);
  cluster.run(20ms);
  cluster.boot(1);
  EXPECT_TRUE(cluster.run_until([&] { return cluster.owns(2); }, 115ms)) << cluster.describe();
  cluster.run(1s);
  EXPECT_TRUE(cluster.is_settled()) << cluster.describe();
  EXPECT_TRUE(cluster.owns(2));
  EXPECT_TRUE(cluster.said(2, "restarted"));
}

TEST(Takeover, AReturnedNodeStandsByAndTakesOverInItsTurn) {
  SettledPair cluster;
  cluster.kill(1);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(2); }, 500ms));
  cluster.run(500ms);
  cluster.boot(1);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.state(1) == GroupState::standby_synced; }, 1s));
  EXPECT_TRUE(cluster.owns(2)) << "failback: never";
  cluster.kill(2);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(1); }, 150ms)) << cluster.describe();
  EXPECT_EQ(cluster.node(1).speaks, (Epoch{4, NodeId(1)}));
}

TEST(Takeover, AnOrderlyStopHandsOverWithoutWaitingOrWitness) {
  SettledPair cluster;
  cluster.node(2).witness = false;
  const Instant told = cluster.now();
  cluster.act(1, [&](Controller& controller) { return controller.retire(cluster.now()); });
  EXPECT_TRUE(cluster.node(1).muted) << "silent before anybody else speaks";
  ASSERT_TRUE(cluster.run_until([&] { return cluster.owns(2); }, 100ms)) << cluster.describe();
  EXPECT_LE(cluster.now() - told, 30ms);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.node(1).controller->retired(); }, 50ms));
  EXPECT_FALSE(cluster.node(1).speaks);
}

TEST(Takeover, AnOwnerYieldsByHandAndStandsBy) {
  SettledPair cluster;
  cluster.act(1, [&](Controller& controller) { return controller.yield(kGroup, cluster.now()); });
  cluster.run(500ms);
  EXPECT_TRUE(cluster.owns(2)) << cluster.describe();
  EXPECT_TRUE(is_standby(cluster.state(1)));
}

TEST(Takeover, BothLinksCutMakesTwoOwnersAndHealingIsOrderly) {
  SettledPair cluster;
  cluster.isolate(1, 2);
  cluster.run(1s);
  EXPECT_EQ(cluster.owners(), 2) << "arbiter none: available";
  cluster.heal();
  ASSERT_TRUE(cluster.run_until([&] { return cluster.is_settled(); }, 100ms)) << cluster.describe();
  EXPECT_TRUE(cluster.owns(2)) << "the higher epoch";
  EXPECT_EQ(cluster.state(1), GroupState::standby_stale);
}

TEST(Takeover, PolicyNoneNeverTakesOver) {
  SettledPair cluster({.failover = config::FailoverPolicy::none});
  cluster.kill(1);
  cluster.run(10s);
  EXPECT_EQ(cluster.node(2).promotions, 0);
  EXPECT_TRUE(cluster.said(2, "this node does not take over"));
  cluster.boot(1);
  cluster.run(5s);
  EXPECT_TRUE(cluster.owns(1)) << cluster.describe();
  EXPECT_TRUE(cluster.is_settled()) << cluster.describe();
}

TEST(Takeover, TheNextInOrderTakesOverAmongThree) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SettledPair cluster({.nodes = 3, .seed = seed});
    cluster.run(500ms);
    cluster.kill(1);
    cluster.run(1s);
    EXPECT_TRUE(cluster.owns(2)) << cluster.describe();
    EXPECT_TRUE(cluster.is_settled()) << cluster.describe();
    EXPECT_EQ(cluster.node(3).promotions, 0);
  }
}

TEST(Takeover, AnImpostorWithOurIdStopsItselfAndTheOwnerReports) {
  SettledPair cluster;
  cluster.add_impostor(9, 1);
  cluster.boot(9);
  cluster.run(1s);
  EXPECT_NE(cluster.node(9).stopped.find("node id 1 is used by two machines"), std::string::npos);
  EXPECT_NE(cluster.node(9).stopped.find("boot 0000000000000101"), std::string::npos)
      << cluster.node(9).stopped;
  EXPECT_TRUE(cluster.owns(1));
  EXPECT_TRUE(cluster.said(1, "node id 1 is used by two machines"));
  EXPECT_EQ(cluster.node(2).promotions, 0) << "an impostor is no sign that the owner is gone";
  EXPECT_EQ(cluster.node(1).stopped, "");
}

TEST(Takeover, LossOfATenthOnEveryLinkCausesNoTakeover) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SettledPair cluster({.seed = seed});
    cluster.set_loss(100);
    cluster.run(20s);
    EXPECT_EQ(cluster.node(2).promotions, 0) << cluster.describe();
  }
}

TEST(Takeover, SolicitsAreAnsweredAtMostOncePerInterval) {
  SettledPair cluster;
  const int before = cluster.node(1).ownership_frames;
  for (int i = 0; i < 1000; ++i) {
    cluster.act(1, [&](Controller& controller) {
      return controller.on_solicit({NodeId(2), BootId(cluster.node(2).boot), LinkId(0), {}}, cluster.now());
    });
    cluster.run(1ms);
  }
  EXPECT_LE(cluster.node(1).ownership_frames - before, 51);
  EXPECT_GE(cluster.node(1).ownership_frames - before, 40);
}

// ---- anything may happen

enum class Network { reliable, hostile };

void disturb(VirtualCluster& cluster, Network network) {
  Random& random = cluster.random();
  const auto id = static_cast<uint16_t>(1 + random.below(2));
  const auto other = static_cast<uint16_t>(3 - id);
  switch (random.below(network == Network::hostile ? 9 : 5)) {
    case 0:
      cluster.kill(id);
      break;
    case 1:
      if (!cluster.node(id).controller) cluster.boot(id);
      break;
    case 2:
      cluster.pause(id);
      break;
    case 3:
      cluster.resume(id);
      break;
    case 4:
      cluster.node(id).witness = random.chance(3, 4);
      break;
    case 5:
      cluster.cut(id, other, random.below(2));
      break;
    case 6:
      cluster.isolate(id, other);
      break;
    case 7:
      cluster.heal();
      break;
    case 8:
      cluster.set_loss(random.below(300));
      break;
  }
}

struct Tally {
  uint64_t happenings = 0, promotions = 0;
};

std::string play(uint64_t seed, Network network, Tally& tally) {
  VirtualCluster cluster({.seed = seed, .one_voice = network == Network::reliable});
  for (uint16_t id = 1; id <= 2; ++id)
    if (cluster.random().chance(3, 4)) cluster.boot(id);
  for (int step = 0; step < 12; ++step) {
    cluster.run(Duration(cluster.random().below(500'000'000)));
    disturb(cluster, network);
  }
  cluster.heal();
  cluster.set_loss(0);
  for (uint16_t id = 1; id <= 2; ++id) {
    cluster.node(id).witness = true;
    cluster.resume(id);
    if (!cluster.node(id).controller) cluster.boot(id);
  }
  // Long enough for a cold claim with the learning before it.
  const bool settled = cluster.run_until([&] { return cluster.is_settled(); }, 5s);
  if (settled) cluster.run(300ms);
  tally.happenings += cluster.happenings;
  for (uint16_t id = 1; id <= 2; ++id) tally.promotions += static_cast<uint64_t>(cluster.node(id).promotions);
  if (!cluster.violations.empty()) return cluster.violations[0] + "\n" + cluster.describe();
  return settled && cluster.is_settled() ? "" : "not settled\n" + cluster.describe();
}

void play_all(uint64_t seeds, Network network) {
  int failed = 0;
  Tally tally;
  for (uint64_t seed = 1; seed <= seeds && failed < 3; ++seed) {
    const std::string fault = play(seed, network, tally);
    if (fault.empty()) continue;
    ++failed;
    ADD_FAILURE() << "seed " << seed << ": " << fault;
  }
  EXPECT_GT(tally.promotions, seeds) << "the schedules must cause takeovers";
  testing::Test::RecordProperty("happenings", std::to_string(tally.happenings));
  testing::Test::RecordProperty("promotions", std::to_string(tally.promotions));
}

TEST(Takeover, AfterAnyScheduleThereIsExactlyOneOwner) {
  play_all(10'000, Network::hostile);
}

TEST(Takeover, NodesThatHearEachOtherNeverSpeakAtOnce) {
  play_all(5'000, Network::reliable);
}

}  // namespace
}  // namespace understudy::cluster::test
