// failback: new_connections, with whole nodes in virtual time: the first system is back and gets the
// addresses and what is new; what is open stays at the second one until it ends, and no connection notices
// any of it.
#include <cstdlib>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/cluster_in_process.h"

namespace understudy {
namespace {

using Settings = ClusterInProcess::Settings;
constexpr uint32_t kMegabyte = 1'000'000;
// Of the pair: the configured group, which is the current one at first, and its twin.
constexpr size_t kConfigured = 0;
constexpr size_t kSpare = 1;

Settings settings_for(uint64_t seed) {
  return {.seed = seed, .bits_per_second = 8'000'000, .failback = "new_connections"};
}

void begin_transfers(ClusterInProcess& c, int times = 1) {
  for (int i = 0; i < times; ++i) {
    c.transfer(0, kMegabyte);
    c.transfer(kMegabyte, 0);
    c.transfer(kMegabyte / 3, kMegabyte / 3);
  }
}

void expect_done(ClusterInProcess& c, Duration limit = 30s) {
  EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, limit)) << c.describe();
  for (const std::string& fault : c.faults()) ADD_FAILURE() << fault << c.describe();
}

// Connections that the slot speaks for, TIME-WAIT aside.
size_t spoken_for(ClusterInProcess& c, size_t slot) {
  size_t count = 0;
  for (size_t w = 0; w < c.workers(slot); ++w) {
    tcp::Engine& engine = c.worker(slot, w).engine();
    for (uint32_t leg = 0; leg < engine.legs().capacity(); ++leg)
      count += engine.legs().is_live(leg) && !engine.group(engine.legs()[leg].group).always_local &&
               engine.group(engine.legs()[leg].group).voice && !engine.legs()[leg].active_open &&
               engine.legs()[leg].state != tcp::State::time_wait;
  }
  return count;
}

uint64_t passed_on(ClusterInProcess& c, size_t slot) {
  uint64_t count = 0;
  for (size_t w = 0; w < c.workers(slot); ++w)
    count += c.worker(slot, w).status().passed_on.load(std::memory_order_relaxed);
  return count;
}

// n1 dies with connections open and comes back; the return is over, and both groups are protected. New
// connections are in the spare group then, at n1.
void fail_and_return(ClusterInProcess& c) {
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c, 2);
  c.run_for(100ms);
  c.kill(0);
  c.run_for(500ms);
  ASSERT_EQ(c.owner(kConfigured), size_t{1}) << c.describe();
  ASSERT_EQ(c.owner(kSpare), size_t{1}) << c.describe();
  c.start(0);
  ASSERT_TRUE(c.run_until([&] { return c.is_protected(kConfigured) && c.is_protected(kSpare); }, 3s))
      << c.describe();
  c.run_for(900ms);
  ASSERT_EQ(c.owner(kSpare), size_t{1}) << "no preemption before it is proven synced" << c.describe();
  c.forget_voice(0);
  ASSERT_TRUE(c.run_until([&] { return c.owner(kSpare) == size_t{0}; }, 400ms)) << c.describe();
  ASSERT_TRUE(c.run_until([&] { return c.is_protected(kConfigured) && c.is_protected(kSpare); }, 400ms))
      << c.describe();
  ASSERT_EQ(c.owner(kConfigured), size_t{1}) << c.describe();
  ASSERT_FALSE(c.all_done()) << "the transfers were too short to tell";
  c.forget_voice(1);
}

TEST(NewConnections, OldOnesStayUntilTheyEndAndNewOnesGoToTheFirstSystem) {
  struct Case {
    uint64_t seed;
    uint32_t first, second;  // workers
  };
  // 203, 237: a late duplicate acknowledgement of a connection that is over, and a handshake that takes its
  // time.
  for (const auto& [seed, first, second] :
       {Case{200, 1, 1}, {200, 2, 1}, {200, 1, 2}, {203, 1, 1}, {237, 1, 1}}) {
    Settings settings = settings_for(seed);
    settings.workers_of_n1 = first;
    settings.workers_of_n2 = second;
    ClusterInProcess c(settings);
    fail_and_return(c);
    if (HasFatalFailure()) return;
    EXPECT_EQ(spoken_for(c, 0), 0U) << c.describe();
    const size_t old = spoken_for(c, 1);
    EXPECT_GT(old, 0U) << c.describe();
    begin_transfers(c);
    EXPECT_TRUE(c.run_until([&] { return spoken_for(c, 0) == 3; }, 2s)) << c.describe();
    c.run_for(100ms);
    EXPECT_LE(spoken_for(c, 1), old) << c.describe();
    EXPECT_GT(passed_on(c, 0), 0U);
    EXPECT_EQ(c.slot_of_group_mac(ClusterInProcess::front), 0U);
    EXPECT_EQ(c.slot_of_group_mac(ClusterInProcess::back), 0U);
    EXPECT_EQ(c.voice(1).claims, 0U) << "the holder of the addresses alone speaks ARP for them";
    EXPECT_GT(c.voice(1).segments, 0U);
    expect_done(c);
    EXPECT_TRUE(c.run_until([&] { return spoken_for(c, 1) == 0; }, 5s)) << c.describe();
    // TIME-WAIT is over; the group has nothing left and goes where its twin is.
    EXPECT_TRUE(c.run_until([&] { return c.owner(kConfigured) == size_t{0}; }, 70s)) << c.describe();
    c.run_for(3s);
    EXPECT_EQ(c.owner(kSpare), size_t{0}) << c.describe();
    // Resets that meet a live connection are among the faults. What comes late for one that is over is passed
    // on to the twin, which knows it as little and answers as RFC 9293 3.10.7.1 says.
  }
}

TEST(NewConnections, WhicheverNodeDiesItsConnectionsGoOnAtTheOther) {
  for (size_t dies = 0; dies < 2; ++dies) {
    ClusterInProcess c(settings_for(210 + dies));
    fail_and_return(c);
    if (HasFatalFailure()) return;
    begin_transfers(c);
    c.run_for(300ms);
    EXPECT_EQ(spoken_for(c, 0), 3U) << c.describe();
    EXPECT_GT(spoken_for(c, 1), 0U) << c.describe();
    c.kill(dies);
    c.run_for(300ms);
    const size_t lives = 1 - dies;
    EXPECT_EQ(c.owner(kConfigured), lives) << c.describe();
    EXPECT_EQ(c.owner(kSpare), lives) << c.describe();
    EXPECT_EQ(c.slot_of_group_mac(ClusterInProcess::front), lives);
    begin_transfers(c);
    expect_done(c);
  }
}

TEST(NewConnections, WithoutTheLinkBetweenThemWhatStayedMovesToTheHolderOfTheAddresses) {
  ClusterInProcess c(settings_for(220));
  fail_and_return(c);
  if (HasFatalFailure()) return;
  begin_transfers(c);
  c.run_for(300ms);
  c.cut(1, ClusterInProcess::peer, true);
  EXPECT_TRUE(c.run_until([&] { return c.owner(kConfigured) == size_t{0}; }, 300ms)) << c.describe();
  expect_done(c);
  EXPECT_EQ(c.owner(kSpare), size_t{0}) << c.describe();
  c.cut(1, ClusterInProcess::peer, false);
  EXPECT_TRUE(c.run_until([&] { return c.is_protected(kConfigured) && c.is_protected(kSpare); }, 3s))
      << c.describe();
}

// What stayed is still there when n1 returns for the second time: it gets back what it had before that.
TEST(NewConnections, AfterASecondFailureTheFirstSystemGetsItsOwnBack) {
  ClusterInProcess c(settings_for(230));
  fail_and_return(c);
  if (HasFatalFailure()) return;
  begin_transfers(c, 3);
  c.run_for(200ms);
  const size_t old = spoken_for(c, 1);
  c.kill(0);
  c.run_for(500ms);
  ASSERT_EQ(c.owner(kSpare), size_t{1}) << c.describe();
  EXPECT_GT(spoken_for(c, 1), old);
  c.start(0);
  EXPECT_TRUE(c.run_until([&] { return c.owner(kSpare) == size_t{0}; }, 5s)) << c.describe();
  EXPECT_EQ(c.owner(kConfigured), size_t{1}) << c.describe();
  EXPECT_FALSE(c.all_done()) << "the transfers were too short to tell";
  begin_transfers(c);
  expect_done(c, 60s);
}

TEST(NewConnections, ANodeThatLeavesHandsOverWhatStayed) {
  for (size_t leaves = 0; leaves < 2; ++leaves) {
    ClusterInProcess c(settings_for(240 + leaves));
    fail_and_return(c);
    if (HasFatalFailure()) return;
    begin_transfers(c);
    c.run_for(200ms);
    c.retire(leaves);
    EXPECT_TRUE(c.run_until([&] { return !c.runs(leaves); }, 4s)) << c.describe();
    EXPECT_EQ(c.last_words(leaves), "retired");
    EXPECT_EQ(c.owner(kConfigured), 1 - leaves) << c.describe();
    EXPECT_EQ(c.owner(kSpare), 1 - leaves) << c.describe();
    expect_done(c);
  }
}

// n3 mirrors n2 when n1 comes back: n1 has to become the standby first, of both groups, and stays it of what
// stayed.
TEST(NewConnections, WithAThirdNodeTheHolderOfTheAddressesIsTheStandbyOfWhatStayed) {
  Settings settings = settings_for(270);
  settings.nodes = 3;
  ClusterInProcess c(settings);
  ASSERT_TRUE(c.boot()) << c.describe();
  begin_transfers(c, 3);
  c.run_for(100ms);
  c.kill(0);
  c.run_for(500ms);
  ASSERT_EQ(c.owner(kConfigured), size_t{1}) << c.describe();
  c.start(0);
  ASSERT_TRUE(c.run_until([&] { return c.owner(kSpare) == size_t{0}; }, 6s)) << c.describe();
  ASSERT_EQ(c.owner(kConfigured), size_t{1}) << c.describe();
  EXPECT_TRUE(c.run_until([&] { return c.is_protected(kConfigured) && c.is_protected(kSpare); }, 1s))
      << c.describe();
  EXPECT_EQ(c.state(0, kConfigured), cluster::GroupState::standby_synced) << c.describe();
  begin_transfers(c);
  c.run_for(200ms);
  EXPECT_FALSE(c.all_done()) << "the transfers were too short to tell";
  c.kill(1);
  c.run_for(300ms);
  EXPECT_EQ(c.owner(kConfigured), size_t{0}) << c.describe();
  EXPECT_TRUE(c.run_until([&] { return c.is_protected(kConfigured) && c.is_protected(kSpare); }, 3s))
      << c.describe();
  c.kill(0);
  c.run_for(300ms);
  EXPECT_EQ(c.owner(kConfigured), size_t{2}) << c.describe();
  EXPECT_EQ(c.owner(kSpare), size_t{2}) << c.describe();
  expect_done(c);
}

// Either node dies at any moment of the return, or after it.
TEST(NewConnections, ADeathAtAnyMomentOfTheReturnIsATakeoverLikeAnyOther) {
  for (uint64_t seed = 250; seed < 266 && !HasFailure(); ++seed) {
    Random random(seed);
    Settings settings = settings_for(seed);
    settings.workers_of_n1 = 1 + random.below(2);
    settings.workers_of_n2 = 1 + random.below(2);
    ClusterInProcess c(settings);
    ASSERT_TRUE(c.boot()) << c.describe();
    begin_transfers(c, 2);
    c.run_for(100ms);
    c.kill(0);
    c.run_for(400ms);
    c.start(0);
    ASSERT_TRUE(c.run_until([&] { return c.is_protected(kConfigured) && c.is_protected(kSpare); }, 3s))
        << c.describe();
    c.run_for(990ms);
    for (int i = 0; i < 8; ++i) {
      c.transfer(kMegabyte / 10, kMegabyte / 10);
      c.run_for(Duration(random.below(20'000'000)));
    }
    c.kill(seed % 2);
    expect_done(c);
  }
}

// Faults of either node and of the links, one after the other, each once everything is protected again.
void a_walk(uint64_t seed) {
  Random random(seed * 7919);
  Settings settings = settings_for(seed);
  settings.workers_of_n1 = 1 + random.below(2);
  settings.workers_of_n2 = 1 + random.below(2);
  ClusterInProcess c(settings);
  ASSERT_TRUE(c.boot()) << c.describe();
  std::string story;
  for (int step = 0; step < 6; ++step) {
    begin_transfers(c);
    c.run_for(Duration(random.below(300'000'000)));
    const size_t slot = random.below(2);
    const Duration length = 20ms + Duration(random.below(1'200'000'000));
    const uint32_t fault = random.below(4);
    story += fmt::format("\n{} at {:.3f} ms: ", slot + 1,
                         static_cast<double>((c.now() - Instant(10s)).count()) / 1e6);
    if (fault == 0) {
      story += "killed";
      c.kill(slot);
      c.run_for(length);
      c.start(slot);
    } else if (fault == 1) {
      story += "paused";
      c.pause(slot);
      c.run_for(length);
      c.resume(slot);
    } else {
      story += fault == 2 ? "peer link cut" : "all links cut";
      for (const auto network : {ClusterInProcess::peer, ClusterInProcess::front, ClusterInProcess::back})
        if (fault == 3 || network == ClusterInProcess::peer) c.cut(slot, network, true);
      c.run_for(length);
      for (const auto network : {ClusterInProcess::peer, ClusterInProcess::front, ClusterInProcess::back})
        c.cut(slot, network, false);
    }
    story += fmt::format(" for {} ms", to_ms(length));
    ASSERT_TRUE(c.run_until([&] { return c.is_protected(kConfigured) && c.is_protected(kSpare); }, 10s))
        << story << c.describe();
    c.run_for(Duration(random.below(1'500'000'000)));
    ASSERT_TRUE(c.run_until([&] { return c.is_protected(kConfigured) && c.is_protected(kSpare); }, 10s))
        << story << c.describe();
    ASSERT_TRUE(c.faults().empty()) << c.faults().front() << story << c.describe();
  }
  EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, 90s)) << story << c.describe();
  for (const std::string& fault : c.faults()) ADD_FAILURE() << fault << story << c.describe();
}

// NEW_CONNECTIONS_FIRST_SEED and NEW_CONNECTIONS_SEEDS: others, and more of them.
TEST(NewConnections, NoConnectionIsLostInAnyOrderOfFaults) {
  const auto from_environment = [](const char* name, uint64_t otherwise) {
    const char* value = std::getenv(name);
    return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
  };
  const uint64_t first = from_environment("NEW_CONNECTIONS_FIRST_SEED", 1);
  const uint64_t seeds = from_environment("NEW_CONNECTIONS_SEEDS", 8);
  for (uint64_t seed = first; seed < first + seeds && !HasFailure(); ++seed) a_walk(seed);
}

}  // namespace
}  // namespace understudy
