// The wire in memory that tests of other folders use, held to the same contract.

#include "tests/ports/fixture.h"
#include "tests/support/memory_port.h"

namespace understudy::ports {
namespace {

class MemoryWireTest : public testing::Test {
 protected:
  rte_mbuf* frame(uint32_t number) { return mbuf_of(*bench().pool, make_frame(number, 100)); }
  void transmit(unsigned end, rte_mbuf* mbuf) { wire_.end(end).transmit({&mbuf, 1}); }
  MemoryWire wire_{4};
};

TEST_F(MemoryWireTest, TheSameBufferComesOutAtTheOtherEndInOrder) {
  rte_mbuf* sent[] = {frame(1), frame(2)};
  rte_mbuf* const first = sent[0];
  wire_.end(0).transmit(sent);
  rte_mbuf* received[8];
  EXPECT_EQ(wire_.end(0).receive(received), 0);
  ASSERT_EQ(wire_.end(1).receive(received), 2);
  EXPECT_EQ(received[0], first);
  EXPECT_EQ(frame_number(bytes_of(*received[1])), 2u);
  rte_pktmbuf_free_bulk(received, 2);
}

TEST_F(MemoryWireTest, AFrameThatItsSenderKeepsComesOutAsACopy) {
  rte_mbuf* kept = frame(1);
  rte_mbuf_refcnt_update(kept, 1);
  rte_mbuf* sent[] = {kept};
  wire_.end(0).transmit(sent);
  rte_mbuf* received[8];
  ASSERT_EQ(wire_.end(1).receive(received), 1);
  EXPECT_NE(received[0], kept);
  EXPECT_EQ(frame_number(bytes_of(*received[0])), 1u);
  EXPECT_EQ(rte_mbuf_refcnt_read(kept), 1);
  rte_pktmbuf_free(received[0]);
  rte_pktmbuf_free(kept);
}

TEST_F(MemoryWireTest, WhatDoesNotFitIsCountedAndFreed) {
  const uint32_t before = pool_statistics(*bench().pool).in_use;
  for (uint32_t i = 0; i < 6; ++i) transmit(1, frame(i));
  EXPECT_EQ(wire_.end(0).waiting(), 4u);
  EXPECT_EQ(wire_.end(0).statistics().receive_missed, 2u);
  EXPECT_EQ(pool_statistics(*bench().pool).in_use, before + 4);
}

TEST_F(MemoryWireTest, WithoutCarrierNothingArrives) {
  wire_.end(1).set_carrier(false);
  transmit(0, frame(1));
  EXPECT_EQ(wire_.end(1).waiting(), 0u);
  wire_.end(1).set_carrier(true);
  transmit(0, frame(2));
  EXPECT_EQ(wire_.end(1).waiting(), 1u);
}

}  // namespace
}  // namespace understudy::ports
