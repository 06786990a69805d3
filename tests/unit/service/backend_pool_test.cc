#include "dataplane/service/backend_pool.h"

#include <gtest/gtest.h>

namespace understudy::service {
namespace {

BackendPool three_backends() {
  const auto address = *IpAddress::parse("10.20.0.11");
  return BackendPool(
      {{.address = address, .up = true}, {.address = address, .up = true}, {.address = address, .up = true}});
}

// Several clients retry at once, and between two turns of one of them the others' may be as many as there are
// backends: so turns alone could bring it back to the same backend each time (seeds 19723 and 34467 of the
// simulator).
TEST(BackendPool, WhoWasRefusedIsNotSentThereAgainWhileAnotherIsUp) {
  BackendPool pool = three_backends();
  for (int turn = 0; turn < 30; ++turn) {
    const auto refused = pool.pick();
    ASSERT_TRUE(refused);
    for (int others = turn % 4; others > 0; --others) pool.pick();
    const auto next = pool.pick(refused);
    ASSERT_TRUE(next);
    EXPECT_NE(*next, *refused);
  }
}

TEST(BackendPool, TheOnlyOneThatIsUpIsTriedAgain) {
  BackendPool pool = three_backends();
  pool.set_up(BackendId(0), false);
  pool.set_up(BackendId(2), false);
  EXPECT_EQ(pool.pick(BackendId(1)), BackendId(1));
  pool.set_up(BackendId(1), false);
  EXPECT_FALSE(pool.pick(BackendId(1)));
}

}  // namespace
}  // namespace understudy::service
