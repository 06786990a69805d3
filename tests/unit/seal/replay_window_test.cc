#include "dataplane/seal/replay_window.h"

#include <set>

#include <gtest/gtest.h>

#include "common/random.h"

namespace understudy::seal {
namespace {

TEST(ReplayWindow, TakesEachNumberOnce) {
  ReplayWindow window;
  EXPECT_FALSE(window.accept(0)) << "numbers begin at 1";
  EXPECT_TRUE(window.accept(5));
  EXPECT_FALSE(window.accept(5));
  EXPECT_TRUE(window.accept(3));
  EXPECT_FALSE(window.accept(3));
  EXPECT_TRUE(window.accept(ReplayWindow::kWidth + 4));
  EXPECT_FALSE(window.is_new(4)) << "too far behind to know";
  EXPECT_FALSE(window.is_new(5));
  EXPECT_TRUE(window.accept(6));
}

TEST(ReplayWindow, JumpsFarAhead) {
  ReplayWindow window;
  for (uint64_t number = 1; number < 3000; ++number) EXPECT_TRUE(window.accept(number));
  EXPECT_TRUE(window.accept(1'000'000'000'000));
  EXPECT_TRUE(window.accept(999'999'999'999));
  EXPECT_FALSE(window.accept(2999));
  EXPECT_TRUE(window.accept(UINT64_MAX));
  EXPECT_FALSE(window.accept(UINT64_MAX));
}

TEST(ReplayWindow, AgreesWithASetOfAllNumbers) {
  Random random(3);
  ReplayWindow window;
  std::set<uint64_t> seen;
  uint64_t highest = 0;
  for (int i = 0; i < 300'000; ++i) {
    const uint64_t ahead = random.chance(1, 200) ? random.below(3000) : random.below(8);
    const uint64_t centre = highest + ahead;
    const uint64_t back = random.chance(1, 4) ? random.below(1500) : 0;
    const uint64_t number = centre > back ? centre - back : 1;
    if (number == 0) continue;
    const bool expected =
        !seen.contains(number) && (number > highest || highest - number < ReplayWindow::kWidth);
    ASSERT_EQ(window.is_new(number), expected) << number << " after " << highest;
    ASSERT_EQ(window.accept(number), expected);
    seen.insert(number);
    highest = std::max(highest, number);
    while (*seen.begin() + 4000 < highest) seen.erase(seen.begin());
  }
}

}  // namespace
}  // namespace understudy::seal
