// Frames as they are: lengths, segments, addresses, limits.

#include <fmt/format.h>

#include "tests/ports/fixture.h"

namespace understudy::ports {
namespace {

constexpr size_t kHeader = 14;

TEST_F(PortTest, EveryLengthTravelsBothWays) {
  const size_t longest = port().mtu() + kHeader;
  uint32_t number = 0;
  for (size_t length = kHeader; length <= longest; ++length) {
    const Frame out = make_frame(++number, length);
    transmit(out);
    const auto arrived = peer().receive(kPatience);
    ASSERT_TRUE(arrived) << length << " bytes, transmitted";
    ASSERT_EQ(*arrived, out) << length << " bytes, transmitted";
    const Frame in = make_frame(++number, length);
    ASSERT_TRUE(peer().send(in)) << length;
    const auto received = receive_frame(port(), kPatience);
    ASSERT_TRUE(received) << length << " bytes, received";
    ASSERT_EQ(*received, in) << length << " bytes, received";
  }
  report(fmt::format("{} lengths, 14 to {} bytes, whole both ways", longest - kHeader + 1, longest));
}

TEST_F(PortTest, TooLongAndTooShortAreDroppedAndCounted) {
  const uint64_t before = transmit_dropped();
  transmit(make_frame(1, port().mtu() + kHeader + 1));
  transmit(make_frame(2, kHeader - 1));
  EXPECT_EQ(transmit_dropped(), before + 2);
  EXPECT_FALSE(peer().receive(kShort));
  const Frame good = make_frame(3, 100);
  transmit(good);
  EXPECT_EQ(peer().receive(kPatience), good) << "a frame that was refused must not stop the port";
}

TEST_F(PortTest, SegmentsArriveAsOneFrame) {
  const Frame whole = make_frame(7, 1200);
  rte_mbuf* head = mbuf_of(pool(), Frame(whole.begin(), whole.begin() + 54));
  ASSERT_EQ(rte_pktmbuf_chain(head, mbuf_of(pool(), Frame(whole.begin() + 54, whole.begin() + 700))), 0);
  ASSERT_EQ(rte_pktmbuf_chain(head, mbuf_of(pool(), Frame(whole.begin() + 700, whole.end()))), 0);
  port().transmit({&head, 1});
  EXPECT_EQ(peer().receive(kPatience), whole);
}

TEST_F(PortTest, BorrowedBytesArrive) {
  const Frame whole = make_frame(8, 600);
  rte_mbuf* owner = mbuf_of(pool(), whole);
  rte_mbuf* borrower = rte_pktmbuf_clone(owner, &pool());
  ASSERT_NE(borrower, nullptr);
  rte_pktmbuf_free(owner);
  port().transmit({&borrower, 1});
  EXPECT_EQ(peer().receive(kPatience), whole);
}

TEST_F(PortTest, FramesForAnyAddressAreReceived) {
  uint32_t number = 0;
  for (const std::array<uint8_t, 6>& address :
       {std::array<uint8_t, 6>{0x02, 0x55, 0x53, 0, 0, 1}, std::array<uint8_t, 6>{0x01, 0, 0x5e, 0, 0, 18},
        std::array<uint8_t, 6>{0x33, 0x33, 0, 0, 0, 1}, MacAddress::broadcast().bytes(),
        port().mac().bytes()}) {
    Frame frame = make_frame(++number, 80);
    std::ranges::copy(address, frame.begin());
    ASSERT_TRUE(peer().send(frame));
    EXPECT_EQ(receive_frame(port(), kPatience), frame) << MacAddress(address).to_string();
  }
}

TEST_F(PortTest, LongerThanTheMtuIsNeverReceivedCut) {
  const uint64_t before = port().statistics().receive_dropped;
  unsigned sent = 0;
  for (size_t length : {port().mtu() + kHeader + 1, port().mtu() + kHeader + 4, port().mtu() + kHeader + 500})
    sent += peer().send(make_frame(static_cast<uint32_t>(length), length));
  EXPECT_FALSE(receive_frame(port(), kShort));
  report(fmt::format("{} of 3 frames beyond the MTU left the peer; the port dropped {}", sent,
                     port().statistics().receive_dropped - before));
  const Frame good = make_frame(9, 100);
  ASSERT_TRUE(peer().send(good));
  EXPECT_EQ(receive_frame(port(), kPatience), good);
}

TEST_F(PortTest, WhatTheHostSendsOnTheInterfaceIsNotReceived) {
  if (!on_interface()) GTEST_SKIP() << "no interface under this kind of port";
  const auto host = kernel_peer(bench().options.interface_name);
  ASSERT_TRUE(host->send(make_frame(10, 100)));
  EXPECT_FALSE(receive_frame(port(), kShort));
}

TEST_F(PortTest, CountersAgreeWithWhatHappened) {
  const PortStatistics before = port().statistics();
  for (uint32_t i = 0; i < 10; ++i) {
    transmit(make_frame(i, 200));
    ASSERT_TRUE(peer().receive(kPatience));
    ASSERT_TRUE(peer().send(make_frame(i, 300)));
    ASSERT_TRUE(receive_frame(port(), kPatience));
  }
  const PortStatistics after = port().statistics();
  if (!on_interface() && bench().options.peer == "self") return;  // both directions are counted here twice
  EXPECT_EQ(after.transmitted_frames - before.transmitted_frames, 10u);
  EXPECT_EQ(after.transmitted_bytes - before.transmitted_bytes, 2000u);
  EXPECT_GE(after.received_frames - before.received_frames, 10u);
  EXPECT_EQ(after.receive_missed, before.receive_missed);
}

}  // namespace
}  // namespace understudy::ports
