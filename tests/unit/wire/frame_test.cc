#include "dataplane/wire/frame.h"

#include <numeric>

#include <gtest/gtest.h>

#include "common/random.h"
#include "dataplane/wire/icmp.h"
#include "tests/support/exact_frame.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/sample_frames.h"

namespace understudy::wire {
namespace {

using Bytes = std::vector<uint8_t>;

const Bytes kTimestamps = {1, 1, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4};
const Bytes kPayload = {'h', 'e', 'l', 'l', 'o'};

void expect_sample(const ParsedFrame& parsed, size_t ip_options) {
  const auto* tcp = std::get_if<TcpSegment>(&parsed);
  ASSERT_NE(tcp, nullptr);
  EXPECT_EQ(tcp->source, kSampleIpA);
  EXPECT_EQ(tcp->destination, kSampleIpB);
  EXPECT_EQ(tcp->source_port.value(), 40000);
  EXPECT_EQ(tcp->destination_port.value(), 80);
  EXPECT_EQ(tcp->seq.raw(), 1000U);
  EXPECT_EQ(tcp->ack.raw(), 2000U);
  EXPECT_EQ(tcp->flags, kAck | kPsh);
  EXPECT_EQ(tcp->type_of_service, 2);
  EXPECT_EQ(tcp->window, 500);
  EXPECT_EQ(tcp->urgent_pointer, 7);
  ASSERT_TRUE(tcp->options.timestamps);
  EXPECT_EQ(tcp->options.timestamps->value, 3U);
  EXPECT_EQ(tcp->payload_offset, 14 + 20 + ip_options + 20 + 12);
  EXPECT_EQ(tcp->payload_length, 5);
  EXPECT_EQ(tcp->length(), 5U);
}

TEST(ParseFrame, TcpWithItsPaddingAndIpOptions) {
  for (const size_t ip_options : {0, 4, 40})
    for (const size_t padding : {0, 1, 6, 40}) {
      Bytes bytes = sample_tcp_frame(kTimestamps, kPayload, Bytes(ip_options, 1));
      bytes.resize(bytes.size() + padding, 0xee);
      SCOPED_TRACE(testing::Message() << ip_options << " bytes of options, " << padding << " of padding");
      expect_sample(parse_frame(ExactFrame(bytes).mbuf()), ip_options);
      const auto flow = peek_flow(ExactFrame(bytes).mbuf());
      ASSERT_TRUE(flow);
      EXPECT_EQ(*flow, (FlowKey{kSampleIpB, kSampleIpA, PortNumber(80), PortNumber(40000)}));
    }
}

TEST(ParseFrame, SynAndFinCountInTheLength) {
  Bytes bytes = sample_tcp_frame({}, {});
  bytes[47] = kSyn | kFin;
  mend_checksums(bytes);
  const auto parsed = parse_frame(ExactFrame(bytes).mbuf());
  ASSERT_TRUE(std::holds_alternative<TcpSegment>(parsed));
  EXPECT_EQ(std::get<TcpSegment>(parsed).length(), 2U);
  EXPECT_EQ(std::get<TcpSegment>(parsed).payload_length, 0);
}

TEST(ParseFrame, ArpEchoAndClusterFrames) {
  Bytes arp = sample_arp_frame();
  arp.resize(60);
  const auto parsed_arp = parse_frame(ExactFrame(arp).mbuf());
  ASSERT_TRUE(std::holds_alternative<ArpPacket>(parsed_arp));
  EXPECT_EQ(std::get<ArpPacket>(parsed_arp).target_ip, kSampleIpB);

  Bytes echo = sample_icmp_frame(kIcmpEchoRequest, 0, kPayload);
  echo.resize(60);
  const auto parsed_echo = parse_frame(ExactFrame(echo).mbuf());
  ASSERT_TRUE(std::holds_alternative<IcmpEchoRequest>(parsed_echo));
  const auto& request = std::get<IcmpEchoRequest>(parsed_echo);
  EXPECT_EQ(request.source, kSampleIpA);
  EXPECT_EQ(request.destination, kSampleIpB);
  EXPECT_EQ(request.message_offset, 34);
  EXPECT_EQ(request.message_length, 13);
  EXPECT_FALSE(peek_flow(ExactFrame(echo).mbuf()));

  Bytes cluster(14, 0);
  cluster[12] = 0x88;
  cluster[13] = 0xb5;
  const auto parsed_cluster = parse_frame(ExactFrame(cluster).mbuf());
  ASSERT_TRUE(std::holds_alternative<ClusterFrame>(parsed_cluster));
  EXPECT_EQ(std::get<ClusterFrame>(parsed_cluster).payload_offset, 14);
}

// Sequence of lengths, so that odd ones and every alignment of the payload's end are met.
TEST(BuildTcpFrame, IsReadBackAsItWasSent) {
  Random random(3);
  const unsigned before = test_mbufs_in_use();
  for (size_t length = 0; length < 1460; length += 1 + length / 7) {
    Bytes payload(length);
    for (uint8_t& byte : payload) byte = static_cast<uint8_t>(random.next());
    TcpSegmentToSend out;
    out.key = {kSampleIpB, kSampleIpA, PortNumber(443), PortNumber(50000)};
    out.seq = Seq(static_cast<uint32_t>(random.next()));
    out.ack = Seq(static_cast<uint32_t>(random.next()));
    out.flags = static_cast<uint8_t>(random.next());
    out.window = static_cast<uint16_t>(random.next());
    out.urgent_pointer = static_cast<uint16_t>(random.next());
    out.type_of_service = 0x29;
    if (random.chance(1, 2)) out.options.timestamps = TcpOptions::Timestamps{7, 8};
    if (random.chance(1, 2)) out.options.mss = 1400;
    rte_mbuf* mbuf = mbuf_from(payload);
    build_tcp_frame(mbuf, out);
    ASSERT_EQ(mbuf->pkt_len, mbuf->data_len);
    const Bytes bytes = bytes_of(mbuf);
    rte_pktmbuf_free(mbuf);
    Bytes mended = bytes;
    mended[12] = 8;
    mended[13] = 0;
    mend_checksums(mended);
    // The type is for the neighbour layer to set; everything behind it must already be right.
    EXPECT_TRUE(std::equal(bytes.begin() + 14, bytes.end(), mended.begin() + 14));
    const auto again = parse_frame(ExactFrame(mended).mbuf());
    ASSERT_TRUE(std::holds_alternative<TcpSegment>(again)) << length;
    const auto& in = std::get<TcpSegment>(again);
    EXPECT_EQ(in.source, out.key.local);
    EXPECT_EQ(in.destination, out.key.remote);
    EXPECT_EQ(in.source_port, out.key.local_port);
    EXPECT_EQ(in.destination_port, out.key.remote_port);
    EXPECT_EQ(in.seq, out.seq);
    EXPECT_EQ(in.ack, out.ack);
    EXPECT_EQ(in.flags, out.flags);
    EXPECT_EQ(in.window, out.window);
    EXPECT_EQ(in.urgent_pointer, out.urgent_pointer);
    EXPECT_EQ(in.type_of_service, out.type_of_service);
    EXPECT_EQ(in.options.mss, out.options.mss);
    EXPECT_EQ(in.options.timestamps.has_value(), out.options.timestamps.has_value());
    EXPECT_EQ(Bytes(mended.begin() + in.payload_offset, mended.end()), payload);
    EXPECT_EQ(in.payload_length, payload.size());
  }
  EXPECT_EQ(test_mbufs_in_use(), before);
}

TEST(BuildTcpFrame, DoesNotFragmentAndUsesAllOptionRoom) {
  TcpSegmentToSend out;
  out.key = {kSampleIpB, kSampleIpA, PortNumber(443), PortNumber(50000)};
  out.options.timestamps = TcpOptions::Timestamps{7, 8};
  out.options.sack_count = 3;
  rte_mbuf* mbuf = mbuf_from({});
  build_tcp_frame(mbuf, out);
  const Bytes bytes = bytes_of(mbuf);
  rte_pktmbuf_free(mbuf);
  EXPECT_EQ(bytes.size(), kTcpHeadroom - 20U) << "the room is for IPv6";
  EXPECT_EQ(bytes[20], 0x40);
  EXPECT_EQ(bytes[22], 64);
}

}  // namespace
}  // namespace understudy::wire
