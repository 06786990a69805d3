#include "dataplane/tcp/timer_wheel.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "common/random.h"

namespace understudy::tcp {
namespace {

TEST(TimerWheel, FiresAtTheFirstTickNotBeforeTheDeadline) {
  const Instant start{5s};
  TimerWheel wheel(4, start);
  wheel.arm(0, start + 1500us);
  std::vector<uint32_t> fired;
  const auto fire = [&](uint32_t entry) { fired.push_back(entry); };
  wheel.advance(start + 1999us, 10, fire);
  EXPECT_TRUE(fired.empty());
  wheel.advance(start + 2ms, 10, fire);
  EXPECT_EQ(fired, std::vector<uint32_t>{0});
  EXPECT_FALSE(wheel.is_armed(0));
}

TEST(TimerWheel, AnEntryMayArmItselfInsideFire) {
  const Instant start{0s};
  TimerWheel wheel(1, start);
  wheel.arm(0, start + 1ms);
  int count = 0;
  wheel.advance(start + 3ms, 10, [&](uint32_t entry) {
    ++count;
    wheel.arm(entry, start + 1ms);  // already past: the next tick, not this one again
  });
  EXPECT_EQ(count, 3);
}

// A machine may have stood still for days: the wheel does not count them tick by tick.
TEST(TimerWheel, AfterALongPauseOneTurnFindsWhatIsDue) {
  const Instant start{0s};
  TimerWheel wheel(4, start);
  wheel.arm(0, start + 1s);
  wheel.arm(1, start + 30 * 24h - 1h);
  wheel.arm(2, start + 31 * 24h);
  wheel.arm(3, start + 2s);
  std::vector<uint32_t> fired;
  int again = 0;
  wheel.advance(start + 30 * 24h, 10'000, [&](uint32_t entry) {
    if (entry != 3) return fired.push_back(entry);
    ++again;
    wheel.arm(3, start + 3s);  // past, too: the next tick
  });
  EXPECT_EQ(fired.size(), 2U);
  EXPECT_TRUE(wheel.is_armed(2));
  EXPECT_LE(again, 4096);
  wheel.cancel(3);
  wheel.advance(start + 31 * 24h - 1ms, 10, [&](uint32_t) { ADD_FAILURE() << "early"; });
  wheel.advance(start + 31 * 24h, 10, [&](uint32_t entry) { EXPECT_EQ(entry, 2U); });
  EXPECT_EQ(wheel.armed(), 0U);
}

TEST(TimerWheel, EveryDeadlineFiresOnceAndNeverEarly) {
  const Instant start{0s};
  constexpr uint32_t kEntries = 2000;
  TimerWheel wheel(kEntries, start);
  Random random(42);
  std::vector<Instant> due(kEntries);
  std::vector<int> fired(kEntries, 0);
  for (uint32_t i = 0; i < kEntries; ++i) {
    due[i] = start + Duration(1us) * random.below(20'000'000);  // far beyond the wheel's span of 4 s
    wheel.arm(i, due[i]);
  }
  for (uint32_t i = 0; i < kEntries; i += 7) {
    wheel.cancel(i);
    due[i] = kNever;
  }
  for (Instant now = start; now <= start + 21s; now += 3700us) {
    wheel.advance(now, 100, [&](uint32_t entry) {
      ++fired[entry];
      EXPECT_LE(due[entry], now);
      EXPECT_GE(due[entry] + 10ms, now) << "late";
    });
  }
  for (uint32_t i = 0; i < kEntries; ++i) EXPECT_EQ(fired[i], i % 7 == 0 ? 0 : 1) << i;
  EXPECT_EQ(wheel.next_deadline(), kNever);
}

}  // namespace
}  // namespace understudy::tcp
