#include "control/health/health_checker.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace understudy::health {
namespace {

constexpr Instant kStart{100s};

PoolSettings two_backends() {
  return {.id = PoolId(3),
          .name = "nginx",
          .interval = 500ms,
          .timeout = 300ms,
          .rise = 2,
          .fall = 3,
          .backends = {{"b1", IpAddress::v4(0x0a14000b), PortNumber(80)},
                       {"b2", IpAddress::v4(0x0a14000c), PortNumber(8080)}}};
}

// Runs a checker against backends of which `answers` says whether they accept.
struct Bench {
  HealthChecker checker{{two_backends()}, Random(7)};
  Instant now = kStart;
  bool answers[2] = {true, true};
  bool silent[2] = {false, false};
  unsigned started[2] = {0, 0};
  std::vector<std::string> said;
  std::vector<BackendChange> changes;

  void note(const HealthOutcome& outcome) {
    for (const auto& event : outcome.events) said.push_back(event.sentence);
    changes.insert(changes.end(), outcome.changes.begin(), outcome.changes.end());
  }
  void run_until(Instant end) {
    while (now < end) {
      const HealthOutcome outcome = checker.tick(now);
      note(outcome);
      for (const CheckToStart& check : outcome.checks) {
        ++started[check.backend.value()];
        if (silent[check.backend.value()]) continue;
        note(checker.on_result(check.id, answers[check.backend.value()], now + 1ms));
      }
      now = std::min(end, std::max(now + 1ms, checker.next_deadline()));
    }
  }
  bool is_up(int backend) const {
    return checker.is_up(PoolId(3), BackendId(static_cast<uint16_t>(backend)));
  }
  bool was_said(const std::string& part) const {
    return std::any_of(said.begin(), said.end(),
                       [&part](const std::string& each) { return each.find(part) != std::string::npos; });
  }
};

TEST(HealthChecker, UnknownIsNotUpAndTheFirstSuccessIsEnough) {
  HealthChecker checker({two_backends()}, Random(1));
  EXPECT_FALSE(checker.is_up(PoolId(3), BackendId(0)));
  const auto outcome = checker.tick(kStart);
  ASSERT_EQ(outcome.checks.size(), 2U);
  EXPECT_EQ(outcome.checks[1].port, PortNumber(8080));
  EXPECT_EQ(outcome.checks[1].give_up, kStart + 300ms);
  const auto answered = checker.on_result(outcome.checks[0].id, true, kStart + 2ms);
  EXPECT_TRUE(checker.is_up(PoolId(3), BackendId(0)));
  ASSERT_EQ(answered.changes.size(), 1U);
  EXPECT_TRUE(answered.changes[0].up);
  ASSERT_EQ(answered.events.size(), 1U);
  EXPECT_EQ(answered.events[0].sentence, "pool nginx: backend b1 (10.20.0.11 port 80) is up: answers");
  EXPECT_FALSE(checker.is_up(PoolId(3), BackendId(1)));
  EXPECT_EQ(checker.up_count(PoolId(3)), 1U);
}

TEST(HealthChecker, FallsAfterThreeFailuresAndRisesAfterTwoSuccesses) {
  HealthChecker checker({two_backends()}, Random(1));
  Instant now = kStart;
  auto round = [&](bool ok) {
    const auto outcome = checker.tick(now);
    for (const auto& check : outcome.checks) (void)checker.on_result(check.id, ok, now + 1ms);
    now += 600ms;
  };
  round(true);
  round(false);
  round(false);
  EXPECT_TRUE(checker.is_up(PoolId(3), BackendId(0)));
  round(true);  // breaks the row
  round(false);
  round(false);
  EXPECT_TRUE(checker.is_up(PoolId(3), BackendId(0)));
  round(false);
  EXPECT_FALSE(checker.is_up(PoolId(3), BackendId(0)));
  round(true);
  EXPECT_FALSE(checker.is_up(PoolId(3), BackendId(0)));
  round(true);
  EXPECT_TRUE(checker.is_up(PoolId(3), BackendId(0)));
}

TEST(HealthChecker, ASilentBackendTimesOut) {
  Bench bench;
  bench.run_until(kStart + 1s);
  EXPECT_TRUE(bench.is_up(1));
  bench.silent[1] = true;
  bench.run_until(kStart + 3500ms);
  EXPECT_FALSE(bench.is_up(1));
  EXPECT_TRUE(bench.is_up(0));
  EXPECT_TRUE(bench.was_said("b2 (10.20.0.12 port 8080) is down: did not answer in time"));
  bench.silent[1] = false;
  bench.run_until(kStart + 6s);
  EXPECT_TRUE(bench.is_up(1));
}

TEST(HealthChecker, AnAllDownPoolIsSaidOnce) {
  Bench bench;
  bench.answers[0] = bench.answers[1] = false;
  bench.run_until(kStart + 10s);
  EXPECT_EQ(bench.checker.up_count(PoolId(3)), 0U);
  EXPECT_EQ(std::count_if(bench.said.begin(), bench.said.end(),
                          [](const std::string& each) {
                            return each.find("none of its 2 backends is up") != std::string::npos;
                          }),
            1);
  EXPECT_TRUE(bench.changes.empty()) << "they never were up";
  bench.answers[0] = true;
  bench.run_until(kStart + 15s);
  EXPECT_EQ(bench.checker.up_count(PoolId(3)), 1U);
}

TEST(HealthChecker, ResultsThatAreLateOrUnknownOrToldTwiceChangeNothing) {
  HealthChecker checker({two_backends()}, Random(1));
  const auto first = checker.tick(kStart);
  EXPECT_TRUE(checker.on_result(CheckId(999), true, kStart).changes.empty());
  EXPECT_TRUE(checker.on_result(first.checks[0].id, true, kStart + 301ms).changes.empty());
  EXPECT_FALSE(checker.is_up(PoolId(3), BackendId(0)));
  EXPECT_EQ(checker.on_result(first.checks[1].id, true, kStart + 10ms).changes.size(), 1U);
  for (int i = 0; i < 5; ++i) (void)checker.on_result(first.checks[1].id, false, kStart + 20ms);
  EXPECT_TRUE(checker.is_up(PoolId(3), BackendId(1)));
}

TEST(HealthChecker, IntervalsKeepTheirMeanAndDoNotMarchInStep) {
  Bench bench;
  bench.run_until(kStart + 500s);
  for (const unsigned started : bench.started) EXPECT_NEAR(started, 1000, 30);
  EXPECT_NE(bench.started[0], 0U);
  const auto snapshot = bench.checker.snapshot();
  ASSERT_EQ(snapshot.size(), 2U);
  EXPECT_EQ(snapshot[0].checks, bench.started[0]);
  EXPECT_EQ(snapshot[0].failures, 0U);
}

TEST(HealthChecker, TakesThePortThatTheConfigurationMeans) {
  config::Config config;
  config::PoolConfig pool;
  pool.name = "any";
  pool.id = PoolId(1);
  pool.backends.push_back({.name = "own", .address = IpAddress::v4(1), .port = PortNumber(81), .mark = {}});
  config.pools.push_back(pool);
  EXPECT_EQ(pools_from(config)[0].backends[0].port, PortNumber(81));
  config.pools[0].check.port = PortNumber(80);
  EXPECT_EQ(pools_from(config)[0].backends[0].port, PortNumber(80));
}

}  // namespace
}  // namespace understudy::health
