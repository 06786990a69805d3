#include "common/sequence.h"

#include <gtest/gtest.h>

namespace understudy {
namespace {

TEST(Seq, DistanceIsSignedAcrossTheWrap) {
  const Seq high(0xfffffff0);
  const Seq low(0x10);
  EXPECT_EQ(low - high, 0x20);
  EXPECT_EQ(high - low, -0x20);
  EXPECT_EQ(high + 0x20, low);
  EXPECT_TRUE(before(high, low));
  EXPECT_TRUE(after(low, high));
}

TEST(Seq, WithinIsHalfOpen) {
  const Seq first(0xffffffff);
  EXPECT_TRUE(within(first, first, 2));
  EXPECT_TRUE(within(Seq(0), first, 2));
  EXPECT_FALSE(within(Seq(1), first, 2));
  EXPECT_FALSE(within(first - 1, first, 2));
  EXPECT_FALSE(within(first, first, 0));
}

TEST(Seq, OrderIsNotTransitive) {
  // The reason why there is no operator<: each is before the next, and the last is before the first.
  const Seq a(0);
  const Seq b(0x60000000);
  const Seq c(0xc0000000);
  EXPECT_TRUE(before(a, b));
  EXPECT_TRUE(before(b, c));
  EXPECT_TRUE(before(c, a));
}

}  // namespace
}  // namespace understudy
