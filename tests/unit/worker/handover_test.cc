// The rings between the workers of a node.
#include "dataplane/worker/handover.h"

#include <gtest/gtest.h>

#include "tests/support/mbuf_pool.h"
#include "tests/support/memory_port.h"

namespace understudy::worker {
namespace {

class Rings : public testing::Test {
 protected:
  ~Rings() override { leave(); }

  void give(HandoverPort& port, uint8_t mark, size_t count = 1) {
    for (; count > 0; --count) {
      rte_mbuf* frame = mbuf_from(std::vector<uint8_t>(60, mark));
      port.transmit({&frame, 1});
    }
  }
  // What has left the node since the last time, by its mark.
  std::vector<uint8_t> leave() {
    std::array<rte_mbuf*, 32> received;
    for (int turn = 0; turn < 8; ++turn) EXPECT_EQ(distributor_.receive(received), 0U);
    std::vector<uint8_t> marks;
    while (const uint16_t count = wire_.end(1).receive(received)) {
      for (uint16_t i = 0; i < count; ++i) {
        marks.push_back(bytes_of(received[i])[20]);
        rte_pktmbuf_free(received[i]);
      }
    }
    return marks;
  }

  unsigned in_use_ = test_mbufs_in_use();  // starts the environment that rings need
  MemoryWire wire_{1024};
  tcp::ShardMap shards_{64};
  HandoverPort first_{"rings1", wire_.end(0), [] {}};
  HandoverPort second_{"rings2", wire_.end(0), [] {}};
  Distributor distributor_{wire_.end(0), {&first_, &second_}, {[] {}, [] {}}, shards_};
};

TEST_F(Rings, FramesOfAllLeaveInTheOrderInWhichEachGaveThem) {
  give(first_, 1);
  give(second_, 2);
  give(first_, 3);
  EXPECT_EQ(leave(), (std::vector<uint8_t>{1, 3, 2}));
}

// Worker 1 was away: what it gave before does not leave when worker 0 looks next, what it gives afterwards
// does.
TEST_F(Rings, WhoFallsSilentTakesBackWhatHasNotLeft) {
  give(first_, 1, 100);
  give(second_, 2);
  first_.forget_unsent(1);
  give(first_, 3);
  EXPECT_EQ(leave(), (std::vector<uint8_t>{2, 3}));
  EXPECT_EQ(distributor_.drops().of(DropReason::group_muted), 100U);
  EXPECT_EQ(test_mbufs_in_use(), in_use_);
}

// Worker 0 was away: the others may have gone on giving. They are listened to again when they know of it.
TEST_F(Rings, WhoHasNotHeardOfASilenceIsNotListenedTo) {
  give(first_, 1);
  give(second_, 2);
  distributor_.forget_unsent(1);
  EXPECT_TRUE(leave().empty());
  give(first_, 3);
  first_.forget_unsent(1);
  give(first_, 4);
  give(second_, 5);
  EXPECT_EQ(leave(), std::vector<uint8_t>{4});
  second_.forget_unsent(1);
  give(second_, 6);
  EXPECT_EQ(leave(), std::vector<uint8_t>{6});
  EXPECT_EQ(distributor_.drops().of(DropReason::group_muted), 4U);
}

}  // namespace
}  // namespace understudy::worker
