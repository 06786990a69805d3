// IEEE 802.1Q tags on a port.
#include "dataplane/worker/tagged_port.h"

#include <gtest/gtest.h>

#include "tests/support/mbuf_pool.h"
#include "tests/support/memory_port.h"

namespace understudy::worker {
namespace {

class Tags : public testing::Test {
 protected:
  // A frame with these bytes behind its two addresses.
  static std::vector<uint8_t> frame(std::initializer_list<uint8_t> rest) {
    std::vector<uint8_t> bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    bytes.insert(bytes.end(), rest);
    bytes.resize(64, 0x55);
    return bytes;
  }
  std::vector<std::vector<uint8_t>> taken(Port& port) {
    std::array<rte_mbuf*, 8> frames;
    std::vector<std::vector<uint8_t>> bytes;
    const uint16_t count = port.receive(frames);
    for (uint16_t i = 0; i < count; ++i) {
      bytes.push_back(bytes_of(frames[i]));
      rte_pktmbuf_free(frames[i]);
    }
    return bytes;
  }
  void arrives(const std::vector<uint8_t>& bytes) {
    rte_mbuf* mbuf = mbuf_from(bytes);
    wire_.end(1).transmit({&mbuf, 1});
  }

  unsigned in_use_ = test_mbufs_in_use();
  MemoryWire wire_{64};
  TaggedPort port_{wire_.end(0), 7};
};

TEST_F(Tags, ArePutOnAndTakenOff) {
  rte_mbuf* mbuf = mbuf_from(frame({0x08, 0x00, 0x45}));
  port_.transmit({&mbuf, 1});
  const auto sent = taken(wire_.end(1));
  ASSERT_EQ(sent.size(), 1U);
  std::vector<uint8_t> tagged = frame({0x81, 0x00, 0x00, 0x07, 0x08, 0x00, 0x45});
  tagged.resize(68, 0x55);
  EXPECT_EQ(sent[0], tagged);
  arrives(sent[0]);
  const auto received = taken(port_);
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0], frame({0x08, 0x00, 0x45}));
  EXPECT_EQ(test_mbufs_in_use(), in_use_);
}

TEST_F(Tags, TakeTheirBytesFromTheMtu) {
  EXPECT_EQ(port_.mtu(), 1496);
}

TEST_F(Tags, WithPriorityBitsAreTheSame) {
  arrives(frame({0x81, 0x00, 0xe0, 0x07, 0x86, 0xdd}));
  const auto received = taken(port_);
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0][12], 0x86);
  EXPECT_EQ(received[0].size(), 60U);
}

TEST_F(Tags, OfOthersAreDroppedAndCounted) {
  arrives(frame({0x08, 0x00, 0x45}));                                      // none
  arrives(frame({0x81, 0x00, 0x00, 0x08, 0x08, 0x00}));                    // another VLAN
  arrives(frame({0x81, 0x00, 0x00, 0x07, 0x81, 0x00, 0x00, 0x07, 0x08}));  // two
  arrives(frame({0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x00, 0x07, 0x08}));
  std::vector<uint8_t> cut = frame({0x81, 0x00, 0x00, 0x07});
  cut.resize(16);  // ends within the tag
  arrives(cut);
  EXPECT_TRUE(taken(port_).empty());
  EXPECT_EQ(port_.statistics().receive_dropped, 5U);
  EXPECT_EQ(test_mbufs_in_use(), in_use_);
}

TEST_F(Tags, ThatTheDeviceTookOffCount) {
  rte_mbuf* right = mbuf_from(frame({0x08, 0x00}));
  right->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
  right->vlan_tci = 0x2007;
  rte_mbuf* wrong = mbuf_from(frame({0x08, 0x00}));
  wrong->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
  wrong->vlan_tci = 8;
  rte_mbuf* both[] = {right, wrong};
  wire_.end(1).transmit(both);
  EXPECT_EQ(taken(port_).size(), 1U);
  EXPECT_EQ(port_.statistics().receive_dropped, 1U);
}

TEST_F(Tags, LeaveWhatSomebodyElseKeepsAsItIs) {
  rte_mbuf* mbuf = mbuf_from(frame({0x88, 0xb5}));
  rte_mbuf_refcnt_update(mbuf, 1);
  rte_mbuf* burst[] = {mbuf};  // the port may put others in their places
  port_.transmit(burst);
  EXPECT_EQ(taken(wire_.end(1))[0].size(), 68U);
  EXPECT_EQ(bytes_of(mbuf), frame({0x88, 0xb5}));
  rte_pktmbuf_free(mbuf);
  EXPECT_EQ(test_mbufs_in_use(), in_use_);
}

}  // namespace
}  // namespace understudy::worker
