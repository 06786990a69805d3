#include "dataplane/wire/ipv6.h"

#include <gtest/gtest.h>

#include "common/random.h"
#include "dataplane/wire/frame.h"
#include "dataplane/wire/icmp.h"
#include "tests/support/exact_frame.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/sample_frames.h"

namespace understudy::wire {
namespace {

using Bytes = std::vector<uint8_t>;

const Bytes kTimestamps = {1, 1, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4};
const Bytes kPayload = {'h', 'e', 'l', 'l', 'o'};
constexpr uint8_t kTcp = 6;

std::string outcome(const Bytes& bytes) {
  const auto parsed = parse_frame(ExactFrame(bytes).mbuf());
  const auto* reason = std::get_if<DropReason>(&parsed);
  return reason == nullptr ? "accepted" : std::string(name_of(*reason));
}

std::string outcome_behind(const Bytes& extensions, uint8_t next_header) {
  return outcome(sample_tcp6_frame(kTimestamps, kPayload, extensions, next_header));
}

// An extension header of eight bytes: PadN over the rest.
Bytes options_header(uint8_t next) {
  return {next, 0, 1, 4, 0, 0, 0, 0};
}

Bytes operator+(Bytes a, const Bytes& b) {
  for (const uint8_t byte : b) a.push_back(byte);
  return a;
}

TEST(ParseIpv6, TcpWithPaddingAndExtensionHeaders) {
  const Bytes routing = {kTcp, 0, 0, 0, 0, 0, 0, 0};         // no segments left
  const Bytes whole_fragment = {kTcp, 0, 0, 0, 1, 2, 3, 4};  // RFC 6946
  const Bytes long_options = {kTcp, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  for (const auto& [first, extensions] :
       {std::pair{kTcp, Bytes()},
        {kHopByHopOptions, options_header(kTcp)},
        {kDestinationOptions, long_options},
        {kRoutingHeader, routing},
        {kFragmentHeader, whole_fragment},
        {kHopByHopOptions, options_header(kDestinationOptions) + options_header(kRoutingHeader) + routing}})
    for (const size_t padding : {0, 6}) {
      Bytes bytes = sample_tcp6_frame(kTimestamps, kPayload, extensions, first);
      bytes.resize(bytes.size() + padding, 0xee);
      const auto parsed = parse_frame(ExactFrame(bytes).mbuf());
      const auto* tcp = std::get_if<TcpSegment>(&parsed);
      ASSERT_NE(tcp, nullptr) << outcome(bytes);
      EXPECT_EQ(tcp->source, kSampleIp6A);
      EXPECT_EQ(tcp->destination, kSampleIp6B);
      EXPECT_EQ(tcp->seq.raw(), 1000U);
      EXPECT_EQ(tcp->type_of_service, 2);
      EXPECT_EQ(tcp->payload_offset, 14 + 40 + extensions.size() + 20 + 12);
      EXPECT_EQ(tcp->payload_length, 5);
      EXPECT_EQ(peek_flow(ExactFrame(bytes).mbuf()),
                (FlowKey{kSampleIp6B, kSampleIp6A, PortNumber(80), PortNumber(40000)}));
      EXPECT_FALSE(is_resolution(ExactFrame(bytes).mbuf()));
    }
}

TEST(ParseIpv6, ExtensionHeadersThatEndIt) {
  // Out of order, endless, cut, and with an option that runs past its header.
  EXPECT_EQ(outcome_behind(options_header(kHopByHopOptions) + options_header(kTcp), kDestinationOptions),
            "ipv6_extension_header");
  Bytes many;
  for (int i = 0; i < 8; ++i) many = many + options_header(kDestinationOptions);
  EXPECT_EQ(outcome_behind(many + options_header(kTcp), kDestinationOptions), "ipv6_extension_header");
  EXPECT_EQ(outcome_behind({kTcp, 200, 1, 4, 0, 0, 0, 0}, kDestinationOptions), "ipv6_extension_header");
  EXPECT_EQ(outcome_behind({kTcp, 0, 1, 5, 0, 0, 0, 0}, kDestinationOptions), "ipv6_extension_header");
  EXPECT_EQ(outcome(sample_ipv6_frame(kDestinationOptions, Bytes(7, 0))), "ipv6_extension_header");
  EXPECT_EQ(outcome_behind({kTcp, 0, 0x3e, 4, 0, 0, 0, 0}, kHopByHopOptions), "accepted") << "may be skipped";
  for (const uint8_t kind : Bytes{0x40, 0x80, 0xc2})
    EXPECT_EQ(outcome_behind({kTcp, 0, kind, 4, 0, 0, 0, 0}, kHopByHopOptions), "ipv6_option_refused");
  EXPECT_EQ(outcome_behind({kTcp, 0, 0, 1, 0, 0, 0, 0}, kRoutingHeader), "ipv6_option_refused");
  EXPECT_EQ(outcome_behind({kTcp, 0, 0, 1, 0, 0, 0, 0}, kFragmentHeader), "ip_fragment") << "more follow";
  EXPECT_EQ(outcome_behind({kTcp, 0, 0, 8, 0, 0, 0, 0}, kFragmentHeader), "ip_fragment") << "not the first";
  EXPECT_EQ(outcome_behind({59, 0, 1, 4, 0, 0, 0, 0}, kHopByHopOptions), "ip_protocol_unknown")
      << "no next header";
  EXPECT_EQ(outcome(sample_ipv6_frame(17, Bytes(8, 0))), "ip_protocol_unknown");
}

TEST(ParseIpv6, HeaderAndAddresses) {
  const auto with = [](size_t place, std::array<uint8_t, 16> address) {
    Bytes bytes = sample_tcp6_frame(kTimestamps, kPayload);
    std::ranges::copy(address, bytes.begin() + static_cast<ptrdiff_t>(place));
    mend_ipv6_checksum(bytes, kTcp);
    return outcome(bytes);
  };
  Bytes bytes = sample_tcp6_frame(kTimestamps, kPayload);
  bytes[14] = 0x40;
  EXPECT_EQ(outcome(bytes), "ip_version_or_length");
  bytes = sample_tcp6_frame(kTimestamps, kPayload);
  bytes[18] = 1;
  EXPECT_EQ(outcome(bytes), "frame_truncated");
  bytes = sample_tcp6_frame(kTimestamps, kPayload);
  bytes.back() ^= 1;
  EXPECT_EQ(outcome(bytes), "tcp_checksum");
  EXPECT_EQ(with(22, {}), "ip_source_invalid");
  EXPECT_EQ(with(22, IpAddress::parse("::1")->bytes()), "ip_source_invalid");
  EXPECT_EQ(with(22, IpAddress::parse("ff02::1")->bytes()), "ip_source_invalid");
  // An IPv4 address in disguise would be answered by IPv4, and could pass for a peer that it is not.
  EXPECT_EQ(with(22, IpAddress::v4(0x0a0a0064).bytes()), "ip_source_invalid");
  EXPECT_EQ(with(38, IpAddress::v4(0x0a0a000a).bytes()), "ip_not_for_us");
  EXPECT_EQ(with(22, IpAddress::parse("fe80::1")->bytes()), "accepted");
}

TEST(ParseIpv6, EveryTruncation) {
  const Bytes whole = sample_tcp6_frame(kTimestamps, kPayload, options_header(kTcp), kHopByHopOptions);
  ASSERT_EQ(outcome(whole), "accepted");
  for (size_t length = 0; length < whole.size(); ++length)
    ASSERT_EQ(outcome(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length))),
              "frame_truncated");
}

TEST(ParseIpv6, Echo) {
  const Bytes data = {0xbe, 0xef, 0, 1, 'x', 'y', 'z'};
  const auto parsed = parse_frame(ExactFrame(sample_icmpv6_frame(kIcmpv6EchoRequest, 0, data)).mbuf());
  const auto* echo = std::get_if<IcmpEchoRequest>(&parsed);
  ASSERT_NE(echo, nullptr);
  EXPECT_EQ(echo->destination, kSampleIp6B);
  EXPECT_EQ(echo->message_offset, 54);
  EXPECT_EQ(echo->message_length, 11);
  EXPECT_EQ(outcome(sample_icmpv6_frame(kIcmpv6EchoRequest, 1, data)), "icmp_malformed");
  EXPECT_EQ(outcome(sample_icmpv6_frame(kIcmpv6EchoReply, 0, data)), "icmp_ignored");
  EXPECT_EQ(outcome(sample_icmpv6_frame(kIcmpv6EchoRequest, 0, data, IpAddress())), "ip_source_invalid");
  EXPECT_EQ(outcome(sample_icmpv6_frame(kIcmpv6EchoRequest, 0, Bytes(3, 0))), "icmp_malformed");
  Bytes bytes = sample_icmpv6_frame(kIcmpv6EchoRequest, 0, data);
  bytes.back() ^= 1;
  EXPECT_EQ(outcome(bytes), "icmp_malformed");

  // The reply's checksum covers its own addresses.
  Bytes reply = sample_icmpv6_frame(kIcmpv6EchoRequest, 0, data);
  turn_into_echo_reply(std::span(reply).subspan(54), kSampleIp6B, kSampleIp6A);
  EXPECT_EQ(Bytes(reply.begin() + 54, reply.end()), [&] {
    const Bytes want = sample_icmpv6_frame(kIcmpv6EchoReply, 0, data, kSampleIp6B, kSampleIp6A);
    return Bytes(want.begin() + 54, want.end());
  }());
}

TEST(BuildIpv6, ATcpFrameIsReadBackAsItWasSent) {
  Random random(4);
  const unsigned before = test_mbufs_in_use();
  for (size_t length = 0; length < 1440; length += 1 + length / 7) {
    Bytes payload(length);
    for (uint8_t& byte : payload) byte = static_cast<uint8_t>(random.next());
    TcpSegmentToSend out;
    out.key = {kSampleIp6B, kSampleIp6A, PortNumber(443), PortNumber(50000)};
    out.seq = Seq(static_cast<uint32_t>(random.next()));
    out.flags = kAck;
    out.type_of_service = 0x29;
    if (random.chance(1, 2)) out.options.timestamps = TcpOptions::Timestamps{7, 8};
    rte_mbuf* mbuf = mbuf_from(payload);
    build_tcp_frame(mbuf, out);
    EXPECT_EQ(ether_type_of_packet(mbuf), kEtherTypeIpv6);
    Bytes bytes = bytes_of(mbuf);
    rte_pktmbuf_free(mbuf);
    bytes[12] = 0x86;
    bytes[13] = 0xdd;
    Bytes mended = bytes;
    mend_ipv6_checksum(mended, kTcp);
    EXPECT_EQ(bytes, mended);
    const auto again = parse_frame(ExactFrame(bytes).mbuf());
    ASSERT_TRUE(std::holds_alternative<TcpSegment>(again)) << length << ": " << outcome(bytes);
    const auto& in = std::get<TcpSegment>(again);
    EXPECT_EQ(in.source, out.key.local);
    EXPECT_EQ(in.destination, out.key.remote);
    EXPECT_EQ(in.seq, out.seq);
    EXPECT_EQ(in.type_of_service, 0x29);
    EXPECT_EQ(Bytes(bytes.begin() + in.payload_offset, bytes.end()), payload);
  }
  EXPECT_EQ(test_mbufs_in_use(), before);
}

TEST(Ipv6, MulticastNames) {
  const IpAddress group = solicited_node_multicast(*IpAddress::parse("fd00:10::12:3456"));
  EXPECT_EQ(group.to_string(), "ff02::1:ff12:3456");
  EXPECT_EQ(multicast_mac(group).to_string(), "33:33:ff:12:34:56");
  EXPECT_EQ(multicast_mac(kAllNodes).to_string(), "33:33:00:00:00:01");
}

}  // namespace
}  // namespace understudy::wire
