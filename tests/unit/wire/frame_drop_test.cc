#include <gtest/gtest.h>

#include "dataplane/wire/frame.h"
#include "dataplane/wire/icmp.h"
#include "tests/support/exact_frame.h"
#include "tests/support/sample_frames.h"

namespace understudy::wire {
namespace {

using Bytes = std::vector<uint8_t>;

const Bytes kTimestamps = {1, 1, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4};
const Bytes kPayload = {'h', 'e', 'l', 'l', 'o'};

std::string outcome(const Bytes& bytes) {
  const auto parsed = parse_frame(ExactFrame(bytes).mbuf());
  const auto* reason = std::get_if<DropReason>(&parsed);
  return reason == nullptr ? "accepted" : std::string(name_of(*reason));
}

// A good segment with one byte changed, checksums right again.
std::string outcome_with(size_t place, uint8_t value) {
  Bytes bytes = sample_tcp_frame(kTimestamps, kPayload);
  bytes[place] = value;
  mend_checksums(bytes);
  return outcome(bytes);
}

TEST(ParseFrameDrops, EthernetTypes) {
  Bytes bytes = sample_tcp_frame(kTimestamps, kPayload);
  ASSERT_EQ(outcome(bytes), "accepted");
  bytes[12] = 0x86;
  bytes[13] = 0xdd;
  EXPECT_EQ(outcome(bytes), "ip_version_or_length");
  bytes[12] = 0x81;  // a VLAN tag: no port here is told to expect one
  bytes[13] = 0x00;
  EXPECT_EQ(outcome(bytes), "ethernet_type_unknown");
  EXPECT_EQ(outcome(Bytes(13, 0)), "frame_truncated");
  EXPECT_EQ(outcome({}), "frame_truncated");
}

TEST(ParseFrameDrops, Arp) {
  Bytes bytes = sample_arp_frame();
  bytes[15] = 6;
  EXPECT_EQ(outcome(bytes), "arp_malformed");
  bytes = sample_arp_frame();
  bytes.pop_back();
  EXPECT_EQ(outcome(bytes), "frame_truncated");
}

TEST(ParseFrameDrops, IpVersionAndLength) {
  EXPECT_EQ(outcome_with(14, 0x65), "ip_version_or_length");
  EXPECT_EQ(outcome_with(14, 0x44), "ip_version_or_length");
  EXPECT_EQ(outcome_with(14, 0x40), "ip_version_or_length");
  Bytes bytes = sample_tcp_frame({}, {});
  bytes[16] = 0;
  bytes[17] = 19;
  EXPECT_EQ(outcome(bytes), "ip_version_or_length");
  bytes[16] = 0x7f;
  EXPECT_EQ(outcome(bytes), "frame_truncated");
}

TEST(ParseFrameDrops, IpChecksum) {
  Bytes bytes = sample_tcp_frame(kTimestamps, kPayload);
  bytes[24] ^= 1;
  EXPECT_EQ(outcome(bytes), "ip_checksum");
  bytes = sample_tcp_frame(kTimestamps, kPayload, Bytes(8, 1));
  bytes[14 + 27] = 0;  // within the IP options
  EXPECT_EQ(outcome(bytes), "ip_checksum");
}

TEST(ParseFrameDrops, Fragments) {
  EXPECT_EQ(outcome_with(20, 0x20), "ip_fragment");
  EXPECT_EQ(outcome_with(20, 0x01), "ip_fragment");
  EXPECT_EQ(outcome_with(21, 0x01), "ip_fragment");
  EXPECT_EQ(outcome_with(20, 0x00), "accepted");
  Bytes bytes = sample_tcp_frame(kTimestamps, kPayload);
  bytes[20] = 0x20;
  EXPECT_FALSE(peek_flow(ExactFrame(bytes).mbuf()));
}

TEST(ParseFrameDrops, SourcesThatCannotBeAnswered) {
  const auto from = [](std::array<uint8_t, 4> source) {
    Bytes bytes = sample_tcp_frame(kTimestamps, kPayload);
    std::copy(source.begin(), source.end(), bytes.begin() + 26);
    mend_checksums(bytes);
    return outcome(bytes);
  };
  EXPECT_EQ(from({0, 0, 0, 0}), "ip_source_invalid");
  EXPECT_EQ(from({0, 1, 2, 3}), "ip_source_invalid");
  EXPECT_EQ(from({127, 0, 0, 1}), "ip_source_invalid");
  EXPECT_EQ(from({224, 0, 0, 1}), "ip_source_invalid");
  EXPECT_EQ(from({239, 255, 255, 255}), "ip_source_invalid");
  EXPECT_EQ(from({255, 255, 255, 255}), "ip_source_invalid");
  EXPECT_EQ(from({223, 255, 255, 255}), "accepted");
  EXPECT_EQ(from({128, 0, 0, 1}), "accepted");
}

TEST(ParseFrameDrops, Protocols) {
  EXPECT_EQ(outcome(sample_ipv4_frame(17, kPayload)), "ip_protocol_unknown");
  EXPECT_FALSE(peek_flow(ExactFrame(sample_ipv4_frame(17, Bytes(40, 0))).mbuf()));
}

TEST(ParseFrameDrops, Icmp) {
  EXPECT_EQ(outcome(sample_icmp_frame(kIcmpEchoReply, 0, kPayload)), "icmp_ignored");
  EXPECT_EQ(outcome(sample_icmp_frame(3, 4, kPayload)), "icmp_error_malformed");
  EXPECT_EQ(outcome(sample_icmp_frame(kIcmpEchoRequest, 1, kPayload)), "icmp_malformed");
  EXPECT_EQ(outcome(sample_ipv4_frame(kProtocolIcmp, Bytes(7, 0))), "icmp_malformed");
  for (const uint8_t type : {kIcmpEchoRequest, uint8_t{3}}) {
    Bytes bytes = sample_icmp_frame(type, 0, kPayload);
    bytes.back() ^= 1;
    EXPECT_EQ(outcome(bytes), "icmp_malformed");
  }
}

TEST(ParseFrameDrops, Tcp) {
  EXPECT_EQ(outcome(sample_ipv4_frame(kProtocolTcp, Bytes(19, 0))), "tcp_header_length");
  EXPECT_EQ(outcome_with(46, 0x40), "tcp_header_length");  // shorter than a header
  EXPECT_EQ(outcome_with(46, 0xf0), "tcp_header_length");  // longer than the segment
  EXPECT_EQ(outcome_with(57, 0), "tcp_options_malformed");
  EXPECT_EQ(outcome_with(57, 11), "tcp_options_malformed");
  Bytes bytes = sample_tcp_frame(kTimestamps, kPayload);
  bytes.back() ^= 0x80;
  EXPECT_EQ(outcome(bytes), "tcp_checksum");
  bytes.back() ^= 0x80;
  bytes[50] ^= 1;
  EXPECT_EQ(outcome(bytes), "tcp_checksum");
  // The addresses count too: the IP checksum is right here, the TCP checksum is for another destination.
  bytes = sample_tcp_frame(kTimestamps, kPayload);
  bytes[33] = static_cast<uint8_t>(bytes[33] + 1);
  bytes[25] = static_cast<uint8_t>(bytes[25] - 1);
  EXPECT_EQ(outcome(bytes), "tcp_checksum");
}

// A frame cut anywhere ends with a reason, and nothing past its end is read (the copy has no byte more).
TEST(ParseFrameDrops, EveryTruncation) {
  const std::vector<Bytes> whole = {sample_tcp_frame(kTimestamps, kPayload, Bytes(8, 1)),
                                    sample_icmp_frame(kIcmpEchoRequest, 0, kPayload), sample_arp_frame()};
  for (const Bytes& bytes : whole) {
    ASSERT_EQ(outcome(bytes), "accepted");
    for (size_t length = 0; length < bytes.size(); ++length) {
      const Bytes cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length));
      ASSERT_EQ(outcome(cut), "frame_truncated") << length << " of " << bytes.size();
      check_parsers(cut);
    }
  }
}

// The same with lengths that were cut along: the IP header says what is there.
TEST(ParseFrameDrops, EveryTruncationThatTheIpHeaderAgreesWith) {
  const Bytes whole = sample_tcp_frame(kTimestamps, kPayload);
  for (size_t length = 34; length < whole.size(); ++length) {
    Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
    cut[17] = static_cast<uint8_t>(length - 14);
    mend_checksums(cut);
    EXPECT_EQ(outcome(cut), length < 34 + 20 + 12 ? "tcp_header_length" : "accepted") << length;
    check_parsers(cut);
  }
}

}  // namespace
}  // namespace understudy::wire
