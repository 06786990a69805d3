#include "common/slab.h"

#include <gtest/gtest.h>

namespace understudy {
namespace {

TEST(Slab, GivesEverySlotOnceAndThenNone) {
  Slab<int> slab(3);
  const uint32_t a = slab.take();
  const uint32_t b = slab.take();
  const uint32_t c = slab.take();
  EXPECT_NE(a, b);
  EXPECT_NE(b, c);
  EXPECT_EQ(slab.take(), Slab<int>::kNone);
  EXPECT_EQ(slab.taken(), 3U);
  slab[b] = 7;
  slab.release(b);
  EXPECT_FALSE(slab.is_taken(b));
  EXPECT_EQ(slab.take(), b);
  EXPECT_EQ(slab[b], 0) << "a taken slot is fresh";
}

TEST(SlabDeathTest, ReleasingTwiceEndsTheProcess) {
  Slab<int> slab(1);
  const uint32_t a = slab.take();
  slab.release(a);
  EXPECT_DEATH(slab.release(a), "not taken");
}

}  // namespace
}  // namespace understudy
