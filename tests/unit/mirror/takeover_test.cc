// The owner dies at every event of many scenarios; the standby carries every protected connection on.
#include <cstdlib>

#include <gtest/gtest.h>

#include "tests/support/mbuf_pool.h"
#include "tests/support/mirrored_pair.h"

namespace understudy {
namespace {

using Service = SessionPlan::Service;

struct Scenario {
  std::string name;
  MirroredPair::Settings settings;
  bool joins_late = false;   // the standby's stream opens while transfers run
  bool dies_twice = false;   // the first node comes back, is synced, and takes over from the second
  uint32_t runs_most = 300;  // beyond this many events a dense sample is taken
};

std::vector<std::string> run_with_crash(const Scenario& scenario, uint64_t crash_at,
                                        MirroredPair::InFlight fate) {
  MirroredPair pair(scenario.settings);
  while (pair.events() < crash_at) {
    if (scenario.joins_late && pair.events() == 40) pair.open_log();
    pair.step();
  }
  pair.crash_owner(fate);
  if (scenario.dies_twice) {
    pair.run_until([&] { return pair.taken_over(); }, 1s);
    pair.run_until([&] { return pair.events() > crash_at + crash_at % 13; }, 1s);
    pair.restart_dead();
    if (!pair.run_until([&] { return pair.is_synced(); }, 10s)) return {"the returned node is not synced"};
    for (uint64_t i = 0; i < crash_at % 29; ++i) pair.step();
    pair.crash_owner(fate);
  }
  const bool done = pair.run_until([&] { return pair.all_done(); }, 120s);
  auto faults = pair.faults();
  if (!done) faults.push_back("the sessions do not end:" + pair.describe());
  if (done && !pair.run_until([&] { return pair.all_quiet(); }, 60s) && pair.sessions_lost() == 0)
    faults.push_back("legs stay behind:" + pair.describe());
  if (done && faults.empty()) faults = pair.faults();
  return faults;
}

uint64_t events_without_crash(const Scenario& scenario) {
  MirroredPair pair(scenario.settings);
  const bool done = pair.run_until(
      [&] {
        if (scenario.joins_late && pair.events() == 40) pair.open_log();
        return pair.all_done();
      },
      120s);
  const uint64_t events = pair.events();
  EXPECT_TRUE(done) << scenario.name << " does not end even without a crash" << pair.describe();
  EXPECT_TRUE(pair.run_until([&] { return pair.all_quiet(); }, 60s)) << scenario.name << pair.describe();
  for (const auto& sentence : pair.faults())
    ADD_FAILURE() << scenario.name << " without a crash: " << sentence;
  EXPECT_GT(pair.checked(), 0U) << scenario.name << ": no promise was compared";
  return events;
}

std::vector<Scenario> scenarios() {
  using S = MirroredPair::Settings;
  const SessionPlan::Service proxy = Service::proxy;
  return {
      {"handshake", S{.plans = {{.request = 1, .response = 1}}}},
      {"request_response", S{.plans = {{.request = 3000, .response = 9000, .rounds = 3}}}},
      {"syn_cookies", S{.plans = {{.request = 3000, .response = 9000, .rounds = 3},
                                  {.service = Service::echo, .request = 20'000},
                                  {.request = 3000, .response = 3000, .start = 3ms}},
                        .client_path = {.delay = 300us, .loss_per_mille = 20},
                        .syn_cookies = tcp::SynCookies::always,
                        .reset_hold = 3s}},
      {"bulk_down", S{.plans = {{.request = 10, .response = 150'000}}}},
      {"bulk_up", S{.plans = {{.request = 150'000, .response = 10}}}},
      {"both_ways_at_once", S{.plans = {{.request = 90'000, .response = 90'000, .rounds = 0}}}},
      {"client_half_close", S{.plans = {{.request = 5000, .response = 60'000, .client_closes_early = true}}}},
      {"backend_half_close",
       S{.plans = {{.request = 60'000, .response = 5000, .rounds = 0, .backend_closes_early = true}}}},
      {"simultaneous_close", S{.plans = {{.request = 4000, .response = 4000, .rounds = 0}}}},
      {"closed_windows",
       S{.plans = {{.request = 10, .response = 250'000, .client_deaf_for = 400ms},
                   {.request = 250'000, .response = 10, .backend_deaf_for = 400ms}},
         .receive_buffer = 30'000},
       false, false, 200},
      {"client_reset", S{.plans = {{.request = 2000, .response = 50'000, .client_resets_at = 20'000}}}},
      {"backend_reset",
       S{.plans = {{.request = 50'000, .response = 2000, .rounds = 0, .backend_resets_at = 20'000}}}},
      {"first_backend_refuses",
       S{.plans = {{.request = 3000, .response = 3000}, {.request = 3000, .response = 3000, .start = 3ms}},
         .first_backend_refuses = true}},
      {"loss_at_client", S{.plans = {{.request = 40'000, .response = 40'000, .rounds = 0}},
                           .client_path = {.delay = 300us, .loss_per_mille = 30}}},
      {"loss_between_nodes", S{.plans = {{.request = 40'000, .response = 40'000, .rounds = 4}},
                               .peer_path = {.delay = 100us,
                                             .loss_per_mille = 100,
                                             .duplicate_per_mille = 50,
                                             .reorder_per_mille = 100}}},
      {"slow_standby", S{.plans = {{.request = 90'000, .response = 90'000, .rounds = 0},
                                   {.service = Service::tally, .request = 60'000}},
                         .peer_path = {.delay = 5ms},
                         .channel_window = 16}},
      {"ipv6", S{.plans = {{.request = 9000, .response = 60'000, .rounds = 3}},
                 .ipv6_client = true,
                 .ipv6_backend = true}},
      {"ipv6_client_ipv4_backend", S{.plans = {{.request = 30'000, .response = 30'000, .rounds = 0},
                                               {.request = 3000, .response = 9000, .rounds = 3}},
                                     .ipv6_client = true}},
      {"ipv4_client_ipv6_backend", S{.plans = {{.request = 30'000, .response = 30'000, .rounds = 0},
                                               {.request = 3000, .response = 9000, .rounds = 3}},
                                     .ipv6_backend = true}},
      {"narrow_paths",
       S{.plans = {{.request = 40'000, .response = 40'000, .rounds = 0}},
         .client_path = {.mtu = 900},
         .backend_path = {.mtu = 700}},
       false, false, 150},
      {"narrow_path_ipv6",
       S{.plans = {{.request = 9000, .response = 40'000, .rounds = 2}},
         .client_path = {.mtu = 1280},
         .ipv6_client = true},
       false, false, 100},
      {"echo", S{.plans = {{.service = Service::echo, .request = 60'000}}}},
      {"tally", S{.plans = {{.service = Service::tally, .request = 60'000}}}},
      {"discard", S{.plans = {{.service = Service::discard, .request = 60'000}}}},
      {"standby_joins",
       S{.plans = {{.request = 90'000, .response = 90'000, .rounds = 0},
                   {.service = Service::tally, .request = 60'000},
                   {.service = Service::echo, .request = 60'000},
                   {.request = 9000, .response = 9000, .rounds = 3, .start = 5ms}},
         .mirrored_from_the_start = false},
       true},
      // What the application has written and nobody reads is more than the window takes at once.
      {"standby_joins_through_a_small_window",
       S{.plans = {{.service = Service::echo, .request = 90'000, .client_deaf_for = 60ms},
                   {.request = 20'000, .response = 90'000, .rounds = 0, .client_deaf_for = 60ms},
                   {.service = Service::echo, .request = 60'000, .client_deaf_for = 90ms},
                   {.request = 9000, .response = 9000, .rounds = 3, .start = 5ms}},
         .mirrored_from_the_start = false,
         .channel_window = 16},
       true, false, 200},
      {"standby_has_few_buffers",
       S{.plans =
             {{.request = 90'000, .response = 90'000, .rounds = 0, .client_deaf_for = 50ms},
              {.request = 90'000, .response = 90'000, .rounds = 0, .start = 1ms, .backend_deaf_for = 50ms},
              {.service = Service::tally, .request = 30'000, .start = 1ms}},
         .second_node_chunks = 48},
       false, false, 200},
      {"second_takeover",
       S{.plans = {{.service = proxy, .request = 150'000, .response = 150'000, .rounds = 0},
                   {.service = Service::tally, .request = 60'000},
                   {.request = 9000, .response = 9000, .rounds = 9, .start = 300ms}}},
       false, true, 200},
      {"many_sessions", S{.plans = {{.request = 900, .response = 900},
                                    {.request = 2000, .response = 100},
                                    {.service = Service::echo, .request = 3000},
                                    {.service = Service::tally, .request = 3000},
                                    {.request = 100, .response = 2000, .start = 2ms},
                                    {.request = 900, .response = 900, .start = 1s}}}},
  };
}

class CrashAtEveryEvent : public testing::TestWithParam<Scenario> {};

TEST_P(CrashAtEveryEvent, EverySessionGoesOn) {
  const unsigned mbufs = test_mbufs_in_use();
  const Scenario& scenario = GetParam();
  const uint64_t events = events_without_crash(scenario);
  if (HasFailure()) return;
  const uint64_t stride = events / scenario.runs_most + 1;
  uint64_t runs = 0;
  int failures = 0;
  for (uint64_t at = 1; at <= events && failures < 3; at += stride) {
    const auto fate = static_cast<MirroredPair::InFlight>(at % 3);
    const auto faults = run_with_crash(scenario, at, fate);
    ++runs;
    failures += !faults.empty();
    for (const auto& sentence : faults)
      ADD_FAILURE() << scenario.name << ", owner dies at event " << at << " (frames " << at % 3
                    << "): " << sentence;
  }
  RecordProperty("runs", static_cast<int>(runs));
  std::printf("%s: %lu events, %lu crashes\n", scenario.name.c_str(), events, runs);
  EXPECT_EQ(test_mbufs_in_use(), mbufs) << scenario.name;
}

INSTANTIATE_TEST_SUITE_P(Takeover, CrashAtEveryEvent, testing::ValuesIn(scenarios()),
                         [](const auto& given) { return given.param.name; });

// What a router told the owner is known to its successor: nothing that is too large leaves it.
TEST(PathMtu, IsKnownToASuccessor) {
  const auto refused_after_crash = [](uint64_t crash_at) {
    MirroredPair::Settings settings;
    settings.plans = {{.request = 200'000, .response = 200'000, .rounds = 20}};
    settings.client_path.mtu = 900;
    settings.backend_path.mtu = 700;
    MirroredPair pair(settings);
    while (pair.events() < crash_at) pair.step();
    const uint64_t before = pair.refused();
    pair.crash_owner(MirroredPair::InFlight::is_lost);
    EXPECT_TRUE(pair.run_until([&] { return pair.all_done(); }, 60s)) << pair.describe();
    EXPECT_EQ(pair.faults(), std::vector<std::string>());
    EXPECT_GT(before, 0U) << "the paths were not narrow";
    return pair.refused() - before;
  };
  for (const uint64_t crash_at : {400U, 500U, 600U}) EXPECT_EQ(refused_after_crash(crash_at), 0U) << crash_at;
}

// Legs that were quiet for long are not woken by the sweep; their next word must wake both ends of the
// session.
TEST(QuietSessions, SpeakAgainAfterATakeover) {
  MirroredPair::Settings settings;
  settings.plans = {{.request = 2000, .response = 2000, .rounds = 2, .second_turn_at = 10s},
                    {.request = 4000, .response = 400, .rounds = 4, .second_turn_at = 11s}};
  MirroredPair pair(settings);
  pair.run_until([&] { return pair.now() >= Instant(8s); }, 8s);
  pair.crash_owner(MirroredPair::InFlight::arrives);
  EXPECT_TRUE(pair.run_until([&] { return pair.all_done(); }, 30s)) << pair.describe();
  EXPECT_EQ(pair.faults(), std::vector<std::string>());
}

TEST(QuietSessions, SleepThroughASnapshotAndASecondTakeover) {
  for (const Duration second_turn : {8s, 9s, 10s, 14s}) {
    MirroredPair::Settings settings;
    settings.plans = {{.request = 2000, .response = 2000, .rounds = 2, .second_turn_at = second_turn}};
    MirroredPair pair(settings);
    pair.run_until([&] { return pair.now() >= Instant(8s); }, 8s);
    pair.crash_owner(MirroredPair::InFlight::arrives);
    EXPECT_TRUE(pair.run_until([&] { return pair.taken_over(); }, 1s));
    pair.restart_dead();
    EXPECT_TRUE(pair.run_until([&] { return pair.is_synced(); }, 1s)) << pair.describe();
    pair.run_until([&] { return pair.now() >= Instant(9s) + 1ms; }, 8s);
    if (!pair.all_done()) pair.crash_owner(MirroredPair::InFlight::arrives);
    EXPECT_TRUE(pair.run_until([&] { return pair.all_done(); }, 30s)) << pair.describe();
    EXPECT_EQ(pair.faults(), std::vector<std::string>());
    EXPECT_EQ(pair.sessions_lost(), 0U);
  }
}

// A minute's worth of ended connections would otherwise greet their peers in front of those that are alive.
TEST(EndedSessions, SayNothingAtATakeover) {
  MirroredPair::Settings settings;
  for (int i = 0; i < 40; ++i) settings.plans.push_back({.request = 200, .response = 200});
  MirroredPair pair(settings);
  pair.run_until([] { return false; }, 8s);  // the peers' TIME-WAIT is over by then, ours is not
  const uint64_t before = pair.said();
  pair.crash_owner(MirroredPair::InFlight::arrives);
  EXPECT_TRUE(pair.run_until([&] { return pair.taken_over(); }, 1s));
  pair.run_until([] { return false; }, 1s);
  EXPECT_EQ(pair.said(), before) << pair.describe();
  EXPECT_EQ(pair.faults(), std::vector<std::string>());
}

// The backend's leg of a session that has ended, in TIME-WAIT: a new standby cannot have it, and need not.
TEST(EndedSessions, AreNotShownAsUnprotected) {
  MirroredPair::Settings settings;
  settings.mirrored_from_the_start = false;
  settings.plans = {{.request = 200, .response = 200, .client_closes_early = true},
                    {.request = 200, .response = 200, .client_closes_early = true, .start = 2s}};
  MirroredPair pair(settings);
  pair.run_until([] { return false; }, 1s);
  EXPECT_EQ(pair.legs_of_owner(), 1U) << pair.describe();
  pair.open_log();
  EXPECT_TRUE(pair.run_until([&] { return pair.is_synced(); }, 100ms)) << pair.describe();
  EXPECT_EQ(pair.legs_of_owner(), 0U) << pair.describe();
  pair.run_until([] { return false; }, 2s);
  EXPECT_EQ(pair.legs_of_owner(), pair.legs_mirrored()) << pair.describe();
  EXPECT_EQ(pair.faults(), std::vector<std::string>());
}

// What is shown as protected is protected: the owner hears of legs that found no room at its standby, and
// offers them again when there may be some.
TEST(FullStandby, IsToldAndMended) {
  MirroredPair::Settings settings;
  for (int i = 0; i < 3; ++i)
    settings.plans.push_back({.request = 2000, .response = 2000, .rounds = 2, .second_turn_at = 3s});
  for (int i = 0; i < 3; ++i)
    settings.plans.push_back(
        {.request = 2000, .response = 2000, .rounds = 2, .start = 50ms, .second_turn_at = 20s});
  settings.second_node_legs = 7;
  MirroredPair pair(settings);
  pair.run_until([] { return false; }, 1s);
  EXPECT_EQ(pair.legs_of_owner(), 12U);
  EXPECT_EQ(pair.legs_mirrored(), 6U);
  EXPECT_EQ(pair.legs_held_by_standby(), 6U);
  // The first three end, and time passes their TIME-WAIT: there is room for the others, which say nothing.
  pair.run_until([] { return false; }, 17s);
  EXPECT_EQ(pair.legs_of_owner(), 6U);
  EXPECT_EQ(pair.legs_mirrored(), 6U);
  EXPECT_EQ(pair.legs_held_by_standby(), 6U);
  pair.crash_owner(MirroredPair::InFlight::arrives);
  EXPECT_TRUE(pair.run_until([&] { return pair.all_done(); }, 30s)) << pair.describe();
  EXPECT_EQ(pair.faults(), std::vector<std::string>());
  EXPECT_EQ(pair.sessions_lost(), 0U);
}

// Whatever of this has happened when the owner dies, what counts as protected survives.
TEST(FullStandby, KeepsWhatItHas) {
  for (uint64_t crash_at = 120; crash_at < 320; crash_at += 5) {
    MirroredPair::Settings settings;
    settings.plans = {{.request = 20'000, .response = 20'000, .rounds = 3},
                      {.service = Service::echo, .request = 30'000},
                      {.request = 20'000, .response = 20'000, .rounds = 3, .start = 1ms},
                      {.service = Service::tally, .request = 30'000, .start = 1ms},
                      {.request = 9000, .response = 9000, .rounds = 3, .start = 2ms},
                      {.request = 9000, .response = 9000, .rounds = 3, .start = 3ms}};
    settings.second_node_legs = 5;
    MirroredPair pair(settings);
    while (pair.events() < crash_at) pair.step();
    EXPECT_LE(pair.legs_mirrored(), 5U);
    pair.crash_owner(static_cast<MirroredPair::InFlight>(crash_at % 3));
    EXPECT_TRUE(pair.run_until([&] { return pair.all_done(); }, 30s)) << crash_at << pair.describe();
    EXPECT_EQ(pair.faults(), std::vector<std::string>()) << crash_at;
    EXPECT_LT(pair.sessions_lost(), settings.plans.size()) << crash_at;
  }
}

// A fault of the mirror does not stay unnoticed until it is too late.
TEST(Digest, FindsALegThatTheStandbyHasLost) {
  MirroredPair::Settings settings;
  for (int i = 0; i < 3; ++i)
    settings.plans.push_back({.request = 2000, .response = 2000, .rounds = 2, .second_turn_at = 10s});
  MirroredPair pair(settings);
  pair.run_until([] { return false; }, 3s);
  EXPECT_TRUE(pair.is_synced());
  EXPECT_EQ(pair.legs_held_by_standby(), 6U);
  pair.lose_a_leg_at_standby();
  EXPECT_EQ(pair.legs_held_by_standby(), 5U);
  EXPECT_TRUE(pair.run_until([&] { return pair.drops_of_standby() == 1; }, 1200ms));
  EXPECT_EQ(pair.legs_held_by_standby(), 0U);
  pair.open_log();
  EXPECT_TRUE(pair.run_until([&] { return pair.is_synced(); }, 1s));
  EXPECT_EQ(pair.legs_held_by_standby(), 6U);
  pair.crash_owner(MirroredPair::InFlight::arrives);
  EXPECT_TRUE(pair.run_until([&] { return pair.all_done(); }, 30s)) << pair.describe();
  EXPECT_EQ(pair.faults(), std::vector<std::string>());
}

// CLOSE waits for room like every other record: the standby keeps nothing that has ended.
TEST(SmallWindow, LosesNoClose) {
  MirroredPair::Settings settings;
  settings.plans.push_back({.request = 300'000, .response = 300'000, .rounds = 0});
  for (int i = 0; i < 20; ++i)
    settings.plans.push_back({.request = 500, .response = 10, .start = i * 1ms, .client_resets_at = 5});
  settings.peer_path.delay = 3ms;
  settings.channel_window = 8;
  MirroredPair pair(settings);
  EXPECT_TRUE(pair.run_until([&] { return pair.all_done(); }, 60s)) << pair.describe();
  EXPECT_TRUE(pair.run_until([&] { return pair.all_quiet(); }, 60s)) << pair.describe();
  EXPECT_EQ(pair.legs_held_by_standby(), 0U);
}

MirroredPair::Path random_path(Random& random) {
  return {.delay = Duration(1us) * (20 + random.below(2000)),
          .loss_per_mille = random.chance(1, 2) ? random.below(60) : 0,
          .duplicate_per_mille = random.chance(1, 3) ? random.below(60) : 0,
          .reorder_per_mille = random.chance(1, 3) ? random.below(150) : 0};
}

SessionPlan random_plan(Random& random) {
  SessionPlan plan;
  plan.service = random.chance(2, 3) ? Service::proxy : static_cast<Service>(random.below(4));
  plan.request = 1 + random.below(random.chance(1, 2) ? 3000 : 80'000);
  plan.response = random.below(random.chance(1, 2) ? 3000 : 80'000);
  plan.rounds = random.below(6);
  plan.client_closes_early = random.chance(1, 4);
  plan.backend_closes_early = random.chance(1, 4) && plan.rounds == 0;
  plan.start = Duration(1us) * random.below(300'000) * random.below(3);
  if (random.chance(1, 6)) plan.client_deaf_for = Duration(1ms) * random.below(700);
  if (random.chance(1, 6)) plan.backend_deaf_for = Duration(1ms) * random.below(700);
  return plan;
}

MirroredPair::Settings random_settings(uint64_t seed) {
  Random random(seed * 77 + 5);
  MirroredPair::Settings s;
  s.seed = seed;
  for (uint32_t n = 1 + random.below(6); n > 0; --n) s.plans.push_back(random_plan(random));
  std::ranges::sort(s.plans, {}, &SessionPlan::start);
  s.client_path = random_path(random);
  s.backend_path = random_path(random);
  s.peer_path = random_path(random);
  s.first_backend_refuses = random.chance(1, 5);
  s.channel_window = random.chance(1, 4) ? 32 : 1024;
  s.receive_buffer = random.chance(1, 3) ? 20'000 : 100'000;
  if (random.chance(1, 8)) s.second_node_chunks = 40 + random.below(80);
  return s;
}

uint64_t seeds() {
  const char* given = std::getenv("TAKEOVER_SEEDS");
  return given == nullptr ? 300 : std::strtoull(given, nullptr, 10);
}
uint64_t first_seed() {
  const char* given = std::getenv("TAKEOVER_FIRST_SEED");
  return given == nullptr ? 1 : std::strtoull(given, nullptr, 10);
}

// Ends the sessions, and says what was wrong on the way.
void expect_good_end(MirroredPair& pair, uint64_t seed) {
  if (std::getenv("TAKEOVER_TRACE") != nullptr) {  // what the sessions look like on the way
    for (int second = 0; second < 20 && !pair.all_done(); second += 2) {
      pair.run_until([&] { return pair.all_done(); }, 2s);
      std::printf("%s\n", pair.describe().c_str());
    }
  }
  EXPECT_TRUE(pair.run_until([&] { return pair.all_done(); }, 600s)) << "seed " << seed << pair.describe();
  for (const auto& sentence : pair.faults()) ADD_FAILURE() << "seed " << seed << ": " << sentence;
}

void crash_at_random(uint64_t seed) {
  MirroredPair pair(random_settings(seed));
  Random random(seed);
  const uint64_t at = 1 + random.below(random.chance(1, 2) ? 100 : 1500);
  while (pair.events() < at) pair.step();
  pair.crash_owner(static_cast<MirroredPair::InFlight>(random.below(3)));
  if (random.chance(1, 2)) {  // and again, once the first is back and synced
    pair.run_until([&] { return pair.taken_over(); }, 1s);
    pair.restart_dead();
    EXPECT_TRUE(pair.run_until([&] { return pair.is_synced(); }, 60s)) << "seed " << seed << " is not synced";
    for (uint32_t i = random.below(200); i > 0; --i) pair.step();
    if (pair.is_synced()) pair.crash_owner(static_cast<MirroredPair::InFlight>(random.below(3)));
  }
  expect_good_end(pair, seed);
}

TEST(RandomCrashes, EverySessionGoesOn) {
  const unsigned mbufs = test_mbufs_in_use();
  for (uint64_t seed = first_seed(); seed < first_seed() + seeds() && !HasFailure(); ++seed)
    crash_at_random(seed);
  EXPECT_EQ(test_mbufs_in_use(), mbufs);
}

// Seeds that once found a fault.
TEST(RandomCrashes, FoundBefore) {
  for (const uint64_t seed : {28555, 30370, 45748, 64342}) crash_at_random(seed);
}

// The link between the nodes fails: service goes on without protection; a new stream protects again.
TEST(RandomCrashes, APeerLinkThatFailsAndReturnsLosesNothing) {
  const unsigned mbufs = test_mbufs_in_use();
  for (uint64_t seed = first_seed(); seed < first_seed() + seeds() / 2 && !HasFailure(); ++seed) {
    MirroredPair::Settings settings = random_settings(seed);
    settings.second_node_chunks = MirroredPair::Settings().second_node_chunks;  // room for everybody
    MirroredPair pair(settings);
    Random random(seed);
    const uint64_t cut_at = 1 + random.below(300);
    while (pair.events() < cut_at) pair.step();
    pair.cut_peer_link(true);
    EXPECT_TRUE(pair.run_until([&] { return pair.drops_of_standby() == 1; }, 1s)) << "seed " << seed;
    for (uint32_t i = random.below(100); i > 0; --i) pair.step();
    pair.cut_peer_link(false);
    pair.open_log();
    EXPECT_TRUE(pair.run_until([&] { return pair.is_synced(); }, 60s)) << "seed " << seed << " is not synced";
    for (uint32_t i = random.below(100); i > 0; --i) pair.step();
    if (pair.is_synced()) {
      pair.crash_owner(static_cast<MirroredPair::InFlight>(random.below(3)));
      pair.run_until([&] { return pair.taken_over(); }, 1s);
      EXPECT_EQ(pair.sessions_lost(), 0U) << "seed " << seed;
    }
    expect_good_end(pair, seed);
  }
  EXPECT_EQ(test_mbufs_in_use(), mbufs);
}

}  // namespace
}  // namespace understudy
