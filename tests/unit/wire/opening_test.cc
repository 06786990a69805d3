#include "dataplane/wire/opening.h"

#include <gtest/gtest.h>

#include "dataplane/wire/frame.h"
#include "tests/support/mbuf_pool.h"

namespace understudy {
namespace {

rte_mbuf* frame_of(const FlowKey& key, uint8_t flags) {
  rte_mbuf* frame = rte_pktmbuf_alloc(test_mbuf_pool());
  wire::build_tcp_frame(frame, {.key = key, .seq = Seq(4711), .flags = flags, .window = 1000});
  rte_pktmbuf_mtod(frame, wire::EthernetHeader*)->type = wire::ether_type_of_packet(frame);
  return frame;
}

const FlowKey kFour{IpAddress::v4(0x0a0a0064), IpAddress::v4(0x0a0a000a), PortNumber(4000), PortNumber(80)};
const FlowKey kSix{*IpAddress::parse("fd00::64"), *IpAddress::parse("fd00::a"), PortNumber(4000),
                   PortNumber(80)};

TEST(PeekOpening, SaysWhatASynSaysInBothFamilies) {
  for (const FlowKey& key : {kFour, kSix}) {
    rte_mbuf* frame = frame_of(key, wire::kSyn | wire::kEce | wire::kCwr);
    const auto opening = wire::peek_opening(frame);
    ASSERT_TRUE(opening.has_value());
    EXPECT_EQ(opening->key, (FlowKey{key.remote, key.local, key.remote_port, key.local_port}));
    EXPECT_EQ(opening->seq, Seq(4711));
    rte_pktmbuf_free(frame);
  }
}

TEST(PeekOpening, SaysNothingOfOtherSegments) {
  for (const int flags : {wire::kSyn | wire::kAck, wire::kSyn | wire::kRst, wire::kAck | 0, 0}) {
    rte_mbuf* frame = frame_of(kFour, static_cast<uint8_t>(flags));
    EXPECT_FALSE(wire::peek_opening(frame).has_value()) << flags;
    rte_pktmbuf_free(frame);
  }
}

TEST(PeekOpening, SaysNothingOfFramesThatEndTooEarly) {
  for (const FlowKey& key : {kFour, kSix}) {
    rte_mbuf* frame = frame_of(key, wire::kSyn);
    while (frame->data_len > 0) {
      rte_pktmbuf_trim(frame, 1);
      EXPECT_FALSE(wire::peek_opening(frame).has_value()) << frame->data_len;
    }
    rte_pktmbuf_free(frame);
  }
}

}  // namespace
}  // namespace understudy
