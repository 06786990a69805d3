// Takeovers with whole nodes: control, workers, ARP, heartbeats, health checks, in virtual time.
#include <cstdlib>

#include <gtest/gtest.h>

#include "tests/support/cluster_in_process.h"

namespace understudy {
namespace {

using Settings = ClusterInProcess::Settings;
constexpr Duration kDeadAfter = 100ms;
constexpr uint32_t kMegabyte = 1'000'000;

void expect_no_faults(ClusterInProcess& c) {
  for (const std::string& fault : c.faults()) ADD_FAILURE() << fault << c.describe();
}

void expect_done(ClusterInProcess& c, Duration limit = 20s) {
  EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, limit)) << c.describe();
  expect_no_faults(c);
}

void expect_protected(ClusterInProcess& c) {
  EXPECT_TRUE(c.run_until([&] { return c.is_protected() && c.unprotected_legs() == 0; }, 10s))
      << c.describe();
}

// Three transfers at once: down, up, both ways.
void begin_transfers(ClusterInProcess& c) {
  c.transfer(0, kMegabyte);
  c.transfer(kMegabyte, 0);
  c.transfer(kMegabyte / 3, kMegabyte / 3);
}

// Kills the owner `after` the transfers began, and expects them to end as if nothing had been.
void kill_during_transfers(ClusterInProcess& c, Duration after) {
  const size_t victim = *c.owner();
  const size_t heir = 1 - victim;
  begin_transfers(c);
  c.run_for(after);
  const bool was_whole = c.unprotected_legs() == 0;
  EXPECT_TRUE(was_whole) << "legs are unprotected although a standby is there" << c.describe();
  c.forget_voice(heir);
  const Instant killed = c.now();
  c.kill(victim);
  expect_done(c);
  EXPECT_LE(c.voice(heir).first_claim - killed, kDeadAfter + 50ms) << c.describe();
  EXPECT_LE(c.voice(heir).first_segment - killed, kDeadAfter + 60ms) << c.describe();
  EXPECT_EQ(c.slot_of_group_mac(ClusterInProcess::front), heir);
  EXPECT_EQ(c.slot_of_group_mac(ClusterInProcess::back), heir);
}

TEST(WholeNodes, BootOneOwnerOneSyncedStandbyBackendsUp) {
  ClusterInProcess c({.seed = 1});
  ASSERT_TRUE(c.boot()) << c.describe();
  EXPECT_EQ(c.owner(), size_t{0});
  EXPECT_EQ(c.slot_of_group_mac(ClusterInProcess::front), 0U);
  EXPECT_EQ(c.voice(1).claims + c.voice(1).segments, 0U)
      << "the standby spoke in the group's name" << c.describe();
  c.run_for(2s);
  EXPECT_EQ(c.owner(), size_t{0});
  EXPECT_TRUE(c.is_protected()) << c.describe();
  EXPECT_EQ(c.voice(1).claims + c.voice(1).segments, 0U);
  EXPECT_EQ(c.control(0).health().up_count(PoolId(0)), 2U);
}

TEST(WholeNodes, ABackendThatFallsSilentIsTakenOutAndComesBack) {
  ClusterInProcess c({.seed = 2});
  ASSERT_TRUE(c.boot()) << c.describe();
  c.backend(0).answers = false;
  ASSERT_TRUE(c.run_until([&] { return c.control(0).health().up_count(PoolId(0)) == 1; }, 3s))
      << c.describe();
  for (int i = 0; i < 4; ++i) c.transfer(1000, 1000);
  expect_done(c);
  c.backend(0).answers = true;
  EXPECT_TRUE(c.run_until([&] { return c.control(0).health().up_count(PoolId(0)) == 2; }, 3s))
      << c.describe();
}

TEST(WholeNodes, TransfersGoOnWhenTheOwnerDies) {
  ClusterInProcess c({.seed = 3});
  ASSERT_TRUE(c.boot()) << c.describe();
  kill_during_transfers(c, 60ms);
}

TEST(WholeNodes, TwoWorkersEach) {
  for (const Duration after : {3ms, 20ms, 60ms}) {
    ClusterInProcess c({.seed = 4, .workers_of_n1 = 2, .workers_of_n2 = 2});
    ASSERT_TRUE(c.boot()) << c.describe();
    kill_during_transfers(c, after);
  }
}

TEST(WholeNodes, DifferentWorkerCounts) {
  const std::pair<unsigned, unsigned> counts[] = {{1, 2}, {2, 1}, {3, 2}, {1, 4}};
  for (const auto& [first, second] : counts) {
    ClusterInProcess c({.seed = 5, .workers_of_n1 = first, .workers_of_n2 = second});
    ASSERT_TRUE(c.boot()) << first << " and " << second << c.describe();
    kill_during_transfers(c, 50ms);
  }
}

TEST(WholeNodes, TheDeadNodeReturnsAsStandbyAndIsGoodForASecondKill) {
  ClusterInProcess c({.seed = 6, .workers_of_n1 = 2});
  ASSERT_TRUE(c.boot()) << c.describe();
  kill_during_transfers(c, 40ms);
  begin_transfers(c);
  c.run_for(20ms);
  c.start(0);
  expect_protected(c);
  EXPECT_EQ(c.owner(), size_t{1}) << "the returned node took the group" << c.describe();
  expect_done(c);
  c.run_until([&] { return c.control(0).health().up_count(PoolId(0)) == 2; }, 3s);
  kill_during_transfers(c, 40ms);
  EXPECT_EQ(c.owner(), size_t{0});
}

// The heartbeats of its new life come before the standby has taken over from the former one.
TEST(WholeNodes, AnOwnerThatRestartsAtOnceLosesNothing) {
  for (Duration away = 1ms; away < 45ms; away += 2ms) {
    ClusterInProcess c({.seed = 31});
    ASSERT_TRUE(c.boot()) << c.describe();
    for (const auto network : {ClusterInProcess::front, ClusterInProcess::back})
      c.network(network).delay = 3ms;  // witnesses take a while to answer
    c.transfer(kMegabyte / 10, kMegabyte / 10);
    c.run_for(15ms);
    c.kill(0);
    c.run_for(away);
    c.start(0);
    expect_done(c);
    EXPECT_EQ(c.owner(), size_t{1}) << c.describe();
  }
}

TEST(WholeNodes, ANodeThatWakesUpSaysNothingMore) {
  for (uint64_t seed = 7; seed < 12; ++seed) {
    ClusterInProcess c({.seed = seed, .workers_of_n1 = seed % 2 == 0 ? 2U : 1U});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(30ms + Duration(c.random().below(30'000'000)));
    c.pause(0);
    c.run_for(1500ms);
    ASSERT_EQ(c.owner(), size_t{1}) << c.describe();
    begin_transfers(c);
    c.forget_voice(0);
    c.resume(0);
    c.run_for(500ms);
    EXPECT_LE(c.voice(0).segments, 32U) << c.describe();
    EXPECT_EQ(c.voice(0).resets + c.voice(0).fins + c.voice(0).claims, 0U) << c.describe();
    EXPECT_EQ(c.slot_of_group_mac(ClusterInProcess::front), 1U);
    expect_done(c);
    expect_protected(c);
    EXPECT_EQ(c.owner(), size_t{1});
  }
}

TEST(WholeNodes, WithoutThePeerLinkServiceGoesOnUnprotectedAndIsProtectedAgain) {
  for (uint64_t seed = 20; seed < 24; ++seed) {
    ClusterInProcess c({.seed = seed, .bits_per_second = 20'000'000});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(30ms);
    c.cut(1, ClusterInProcess::peer, true);
    c.run_for(200ms);
    EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
    EXPECT_GT(c.unprotected_legs(), 0U) << c.describe();
    EXPECT_GT(c.control(0).unprotected(0), 0U) << c.describe();
    for (int i = 0; i < 8; ++i) {
      const uint64_t before = c.client().ends()[0]->heard;
      c.run_for(40ms);
      EXPECT_GT(c.client().ends()[0]->heard, before) << "service does not go on" << c.describe();
    }
    c.cut(1, ClusterInProcess::peer, false);
    expect_protected(c);
    EXPECT_FALSE(c.all_done()) << "the transfers were too short to tell";
    const Instant killed = c.now();
    c.forget_voice(1);
    c.kill(0);
    expect_done(c);
    EXPECT_LE(c.voice(1).first_claim - killed, kDeadAfter + 50ms) << c.describe();
  }
}

TEST(WholeNodes, AStandbyThatSleptThroughItsLeaseDoesNotSpeakForOldConnections) {
  ClusterInProcess c({.seed = 30, .bits_per_second = 20'000'000});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  c.run_for(30ms);
  c.pause(1);
  c.run_for(250ms);
  EXPECT_GT(c.unprotected_legs(), 0U) << c.describe();
  c.forget_voice(1);
  c.resume(1);
  c.run_for(5ms);
  EXPECT_EQ(c.worker(1, 0).status().groups[0].replica_status().state, mirror::Replica::State::stale)
      << c.describe();
  EXPECT_EQ(c.worker(1, 0).engine().group(0).legs, 0U);
  c.kill(0);
  c.run_for(2s);
  EXPECT_EQ(c.voice(1).segments - c.voice(1).resets, 0U)
      << "it spoke for legs that were stale" << c.describe();
}

// It finds a whole stream in its port, and opens its ports again before it has read on to where its owner
// drops it.
TEST(WholeNodes, AStreamThatOpenedWhileTheStandbySleptIsNotResumed) {
  for (Duration awake = 1ms; awake <= 61ms; awake += 4ms) {
    ClusterInProcess c({.seed = 35, .bits_per_second = 20'000'000});
    ASSERT_TRUE(c.boot()) << c.describe();
    c.kill(1);
    c.run_for(200ms);
    c.start(1);
    c.run_for(awake);
    c.pause(1);
    begin_transfers(c);
    c.run_for(250ms);
    EXPECT_GT(c.unprotected_legs(), 0U) << c.describe();
    c.kill(0);
    c.run_for(200ms);
    c.forget_voice(1);
    c.resume(1);
    c.run_for(2s);
    EXPECT_EQ(c.voice(1).segments - c.voice(1).resets, 0U)
        << "it was awake for " << awake.count() << c.describe();
  }
}

TEST(WholeNodes, AStandbyThatHadNoBuffersDoesNotSpeakForOldConnections) {
  ClusterInProcess c({.seed = 32, .bits_per_second = 20'000'000});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  c.run_for(30ms);
  std::vector<rte_mbuf*> held;
  while (rte_mbuf* mbuf = rte_pktmbuf_alloc(c.pool(1))) held.push_back(mbuf);
  c.run_for(250ms);
  EXPECT_GT(c.unprotected_legs(), 0U) << "the owner did not go on alone" << c.describe();
  c.forget_voice(1);
  c.kill(0);
  c.run_for(50ms);
  for (rte_mbuf* mbuf : held) rte_pktmbuf_free(mbuf);
  c.run_for(2s);
  EXPECT_EQ(c.voice(1).segments - c.voice(1).resets, 0U)
      << "it did not hear that it had been dropped, and spoke for its legs" << c.describe();
}

TEST(WholeNodes, AStandbyThatSleptIsProtectedAgain) {
  ClusterInProcess c({.seed = 31, .bits_per_second = 20'000'000});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  c.run_for(30ms);
  c.pause(1);
  c.run_for(400ms);
  c.resume(1);
  expect_protected(c);
  EXPECT_FALSE(c.all_done());
  c.kill(0);
  expect_done(c);
}

// A worker takes its own voice away a little earlier than others may claim; whoever was away for just that
// long gets it back.
TEST(WholeNodes, AnOwnerThatIsNearlyAwayForTooLongSpeaksAgain) {
  for (Duration away = 70ms; away <= 105ms; away += 5ms) {
    ClusterInProcess c({.seed = 33, .workers_of_n1 = 2, .bits_per_second = 20'000'000});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(30ms);
    c.pause(0);
    c.run_for(away);
    c.resume(0);
    expect_protected(c);
    expect_done(c);
  }
}

// Worker 0 has the ports: while it stands still the other one hears nobody, and drops a standby that has done
// nothing wrong. That it has leaves with worker 0's next round, when the standby is about to claim.
TEST(WholeNodes, AWorkerWithThePortsThatStandsStillForNearlyTooLongLosesNothing) {
  for (const Duration far : {Duration(100us), Duration(1ms), Duration(3ms)}) {
    for (Duration away = 95ms; away <= 125ms; away += 2ms) {
      ClusterInProcess c({.seed = 34, .workers_of_n1 = 2, .workers_of_n2 = 2, .bits_per_second = 20'000'000});
      ASSERT_TRUE(c.boot()) << c.describe();
      for (const auto network : {ClusterInProcess::front, ClusterInProcess::back})
        c.network(network).delay = far;
      for (int i = 0; i < 4; ++i) c.transfer(kMegabyte / 10, kMegabyte / 10);
      c.run_for(30ms);
      c.pause_worker(0, 0, away);
      c.run_for(away);
      expect_protected(c);
      expect_done(c);
    }
  }
}

// Closing packet sockets takes the kernel a third of a second when the machine is busy, three times
// dead_after.
TEST(WholeNodes, PortsThatTakeLongToReopenAreReopenedOnce) {
  for (const size_t sleeper : {size_t{0}, size_t{1}}) {
    ClusterInProcess c({.seed = 32, .bits_per_second = 20'000'000, .reopening = 330ms});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(30ms);
    c.pause(sleeper);
    c.run_for(150ms);
    c.resume(sleeper);
    expect_protected(c);
    EXPECT_EQ(c.times_reopened(sleeper), 1U) << c.describe();
    expect_done(c);
  }
}

// The last frame with data that the client sends meanwhile.
std::vector<uint8_t> frame_of_the_client(ClusterInProcess& c, Duration meanwhile) {
  std::vector<uint8_t> last;
  constexpr size_t kHeaders = 14 + 20 + 20 + 12;
  c.network(ClusterInProcess::front).swallows = [&](const SwitchPort& from, std::span<const uint8_t> frame) {
    if (&from == &c.client().port() && frame.size() > kHeaders) last.assign(frame.begin(), frame.end());
    return false;
  };
  c.run_for(meanwhile);
  c.network(ClusterInProcess::front).swallows = nullptr;
  return last;
}

// What it says once more when its networks are back makes the switch send it what is meant for its successor,
// of whom it has not heard yet.
TEST(WholeNodes, AnOwnerThatWasCutOffResetsNothingOfItsSuccessor) {
  for (const unsigned workers : {1U, 2U}) {
    ClusterInProcess c({.seed = 36, .workers_of_n1 = workers});
    ASSERT_TRUE(c.boot()) << c.describe();
    c.run_for(c.config().cluster.reset_hold);  // of its own takeover
    c.cut_all(0, true);
    c.run_for(300ms);
    ASSERT_TRUE(cluster::is_owner(c.state(1))) << c.describe();
    c.transfer(kMegabyte / 10, 0);
    const std::vector<uint8_t> frame = frame_of_the_client(c, 10ms);
    ASSERT_FALSE(frame.empty() || c.all_done());
    c.forget_voice(0);
    c.cut_all(0, false);
    c.network(ClusterInProcess::front).inject(c.port(0, ClusterInProcess::front), frame);
    expect_done(c);
    EXPECT_EQ(c.voice(0).resets, 0U) << c.describe();
    uint64_t withheld = 0;
    for (unsigned i = 0; i < workers; ++i)
      withheld += c.worker(0, i).drops_of(DropReason::tcp_reset_suppressed);
    EXPECT_EQ(withheld, 1U) << c.describe();
  }
}

// Whose peers are dead hears little on a quiet network, and resets unknown connections all the same.
TEST(WholeNodes, AnOwnerThatIsAloneOnAQuietNetworkResetsUnknownConnections) {
  std::vector<uint8_t> frame;
  {
    ClusterInProcess elsewhere({.seed = 37});
    ASSERT_TRUE(elsewhere.boot()) << elsewhere.describe();
    elsewhere.transfer(kMegabyte / 10, 0);
    frame = frame_of_the_client(elsewhere, 10ms);
    ASSERT_FALSE(frame.empty());
  }
  ClusterInProcess c({.seed = 37});
  ASSERT_TRUE(c.boot()) << c.describe();
  for (const size_t backend : {0, 1}) c.backend(backend).answers = false;
  c.kill(1);
  c.run_for(c.config().cluster.reset_hold + 1s);
  for (int i = 0; i < 3; ++i) {
    c.network(ClusterInProcess::front).inject(c.port(0, ClusterInProcess::front), frame);
    c.run_for(2 * kDeadAfter);
  }
  EXPECT_GE(c.voice(0).resets, 2U) << c.describe();
}

TEST(WholeNodes, LossOnAllNetworksWithAKill) {
  for (uint64_t seed = 40; seed < 48; ++seed) {
    ClusterInProcess c(
        {.seed = seed, .workers_of_n1 = seed % 2 == 0 ? 2U : 1U, .workers_of_n2 = seed % 4 < 2 ? 2U : 1U});
    ASSERT_TRUE(c.boot()) << c.describe();
    for (size_t n = 0; n < ClusterInProcess::networks; ++n)
      c.network(static_cast<ClusterInProcess::Network>(n)).loss_per_mille = 10;
    begin_transfers(c);
    c.run_for(Duration(c.random().below(120'000'000)));
    c.kill(0);
    expect_done(c, 60s);
  }
}

TEST(WholeNodes, AnOwnerThatIsToldToLeaveHandsOverAtOnce) {
  for (uint64_t seed = 50; seed < 54; ++seed) {
    ClusterInProcess c({.seed = seed, .workers_of_n2 = seed % 2 == 0 ? 2U : 1U});
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c);
    c.run_for(10ms + Duration(c.random().below(60'000'000)));
    c.forget_voice(1);
    const Instant told = c.now();
    c.retire(0);
    c.run_for(100ms);
    EXPECT_LE(c.voice(1).first_claim - told, 40ms) << c.describe();
    expect_done(c);
    EXPECT_EQ(c.last_words(0), "retired") << c.describe();
    EXPECT_EQ(c.owner(), size_t{1});
  }
}

TEST(WholeNodes, ASecondNodeWithTheSameIdStops) {
  ClusterInProcess c({.seed = 60});
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c);
  c.start(2, "n2");
  c.run_until([&] { return !c.runs(2); }, 5s);
  EXPECT_FALSE(c.runs(2)) << c.describe();
  EXPECT_NE(c.last_words(2).find("node id 2"), std::string::npos) << c.last_words(2);
  expect_done(c);
  EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
  expect_protected(c);
  c.start(2, "n1");
  c.run_until([&] { return !c.runs(2); }, 5s);
  EXPECT_FALSE(c.runs(2)) << c.describe();
  EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
  expect_protected(c);
}

// UNDERSTUDY_RUNS: how many; UNDERSTUDY_SEED: the first one.
uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(WholeNodes, ARandomMomentToDie) {
  const uint64_t first = number_from("UNDERSTUDY_SEED", 1000);
  const uint64_t runs = number_from("UNDERSTUDY_RUNS", 50);
  for (uint64_t seed = first; seed < first + runs && !::testing::Test::HasFailure(); ++seed) {
    Random random(seed);
    ClusterInProcess c(
        {.seed = seed, .workers_of_n1 = 1 + random.below(2), .workers_of_n2 = 1 + random.below(2)});
    ASSERT_TRUE(c.boot()) << c.describe();
    for (uint32_t i = 0, count = 1 + random.below(12); i < count; ++i) {
      c.transfer(random.chance(1, 4) ? 0 : random.below(200'000),
                 random.chance(1, 4) ? 0 : random.below(200'000));
      if (random.chance(1, 2)) c.run_for(Duration(random.below(3'000'000)));
    }
    c.run_for(Duration(random.below(random.chance(1, 2) ? 8'000'000 : 200'000'000)));
    const Instant killed = c.now();
    c.forget_voice(1);
    c.kill(0);
    if (random.chance(1, 2)) c.transfer(1000, 1000);  // knocks while nobody is there
    expect_done(c);
    EXPECT_TRUE(c.run_until([&] { return c.owner() == size_t{1}; }, 1s)) << c.describe();
    EXPECT_LE(c.voice(1).first_claim - killed, kDeadAfter + 50ms) << c.describe();
  }
}

}  // namespace
}  // namespace understudy
