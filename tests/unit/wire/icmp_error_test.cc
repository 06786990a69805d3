#include <gtest/gtest.h>

#include "common/random.h"
#include "dataplane/wire/frame.h"
#include "tests/support/exact_frame.h"
#include "tests/support/icmp_message.h"
#include "tests/support/sample_frames.h"

namespace understudy::wire {
namespace {

using Bytes = std::vector<uint8_t>;

const IpAddress kRouter = IpAddress::v4(0xc6336401);
const IpAddress kRouter6 = *IpAddress::parse("fd00:99::1");

// The sample segment without its Ethernet header, as A sent it to B.
Bytes packet_v4(size_t payload = 1000) {
  const Bytes frame = sample_tcp_frame({}, Bytes(payload, 7));
  return {frame.begin() + sizeof(EthernetHeader), frame.end()};
}
Bytes packet_v6() {
  const Bytes frame = sample_tcp6_frame({}, Bytes(1400, 7));
  return {frame.begin() + sizeof(EthernetHeader), frame.end()};
}

Bytes framed(const Bytes& packet) {
  Bytes frame(sizeof(EthernetHeader));
  EthernetHeader ethernet{};
  ethernet.type.set(packet[0] >> 4 == 4 ? kEtherTypeIpv4 : kEtherTypeIpv6);
  std::memcpy(frame.data(), &ethernet, sizeof ethernet);
  frame.insert(frame.end(), packet.begin(), packet.end());
  return frame;
}

std::string outcome(const Bytes& packet) {
  const Bytes frame = framed(packet);
  check_parsers(frame);
  const auto parsed = parse_frame(ExactFrame(frame).mbuf());
  if (const auto* reason = std::get_if<DropReason>(&parsed)) return std::string(name_of(*reason));
  const auto* error = std::get_if<IcmpError>(&parsed);
  if (error == nullptr) return "something else";
  switch (error->kind) {
    case IcmpError::Kind::packet_too_big:
      return "too big for " + std::to_string(error->mtu);
    case IcmpError::Kind::soft:
      return "soft";
    case IcmpError::Kind::hard:
      return "hard";
  }
  return "";
}

TEST(IcmpErrors, QuoteTheFlowAndTheNumberOfASegment) {
  const Bytes frame = framed(icmp_error_about(packet_v4(), kRouter, 3, 4, 1200));
  const auto parsed = parse_frame(ExactFrame(frame).mbuf());
  ASSERT_TRUE(std::holds_alternative<IcmpError>(parsed));
  const auto& error = std::get<IcmpError>(parsed);
  EXPECT_EQ(error.kind, IcmpError::Kind::packet_too_big);
  EXPECT_EQ(error.flow, (FlowKey{kSampleIpA, kSampleIpB, PortNumber(40000), PortNumber(80)}));
  EXPECT_EQ(error.seq, Seq(1000));
  EXPECT_EQ(error.mtu, 1200U);
  EXPECT_EQ(error.quoted_length, 1040U);
  EXPECT_EQ(peek_flow(ExactFrame(frame).mbuf()), error.flow) << "the worker that has the flow is to get it";
}

TEST(IcmpErrors, QuoteIpv6) {
  const Bytes frame = framed(icmp_error_about(packet_v6(), kRouter6, 2, 0, 1280, 1232));
  const auto parsed = parse_frame(ExactFrame(frame).mbuf());
  ASSERT_TRUE(std::holds_alternative<IcmpError>(parsed));
  const auto& error = std::get<IcmpError>(parsed);
  EXPECT_EQ(error.kind, IcmpError::Kind::packet_too_big);
  EXPECT_EQ(error.flow, (FlowKey{kSampleIp6A, kSampleIp6B, PortNumber(40000), PortNumber(80)}));
  EXPECT_EQ(error.seq, Seq(1000));
  EXPECT_EQ(error.mtu, 1280U);
  EXPECT_EQ(error.quoted_length, 1460U);
}

TEST(IcmpErrors, EachTypeAndCodeHasItsMeaning) {
  for (const uint8_t code : std::initializer_list<uint8_t>{0, 1, 5, 6, 7, 8, 11, 12, 14})
    EXPECT_EQ(outcome(icmp_error_about(packet_v4(), kRouter, 3, code)), "soft") << unsigned{code};
  for (const uint8_t code : std::initializer_list<uint8_t>{2, 3, 9, 10, 13})
    EXPECT_EQ(outcome(icmp_error_about(packet_v4(), kRouter, 3, code)), "hard") << unsigned{code};
  EXPECT_EQ(outcome(icmp_error_about(packet_v4(), kRouter, 3, 4, 0)), "too big for 0");
  EXPECT_EQ(outcome(icmp_error_about(packet_v4(), kRouter, 4, 0)), "icmp_source_quench");
  EXPECT_EQ(outcome(icmp_error_about(packet_v4(), kRouter, 5, 0)), "icmp_ignored") << "redirect";
  EXPECT_EQ(outcome(icmp_error_about(packet_v4(), kRouter, 11, 0)), "soft");
  EXPECT_EQ(outcome(icmp_error_about(packet_v4(), kRouter, 12, 0)), "soft");
  for (const uint8_t code : std::initializer_list<uint8_t>{0, 2, 3})
    EXPECT_EQ(outcome(icmp_error_about(packet_v6(), kRouter6, 1, code)), "soft") << unsigned{code};
  for (const uint8_t code : std::initializer_list<uint8_t>{1, 4, 5, 6})
    EXPECT_EQ(outcome(icmp_error_about(packet_v6(), kRouter6, 1, code)), "hard") << unsigned{code};
  EXPECT_EQ(outcome(icmp_error_about(packet_v6(), kRouter6, 3, 0)), "soft");
  EXPECT_EQ(outcome(icmp_error_about(packet_v6(), kRouter6, 4, 1)), "soft");
  EXPECT_EQ(outcome(icmp_error_about(packet_v6(), kRouter6, 100, 0)), "icmp_ignored");
}

TEST(IcmpErrors, EightBytesOfTheSegmentAreEnough) {  // RFC 792
  EXPECT_EQ(outcome(icmp_error_about(packet_v4(), kRouter, 3, 4, 1200, 28)), "too big for 1200");
  EXPECT_EQ(outcome(icmp_error_about(packet_v4(), kRouter, 3, 4, 1200, 27)), "icmp_error_malformed");
  EXPECT_EQ(outcome(icmp_error_about(packet_v6(), kRouter6, 2, 0, 1280, 48)), "too big for 1280");
  EXPECT_EQ(outcome(icmp_error_about(packet_v6(), kRouter6, 2, 0, 1280, 47)), "icmp_error_malformed");
}

TEST(IcmpErrors, QuotesThatTheReceiverCannotHaveSent) {
  Bytes stranger = packet_v4();
  Bytes error = icmp_error_about(stranger, kRouter, 3, 4, 1200);
  error[19] ^= 1;  // sent to somebody else than the quoted sender
  error[11] ^= 1;  // and the IP header's checksum along with it
  EXPECT_EQ(outcome(error), "icmp_error_malformed");
  Bytes udp = packet_v4();
  udp[9] = 17;
  EXPECT_EQ(outcome(icmp_error_about(udp, kRouter, 3, 3)), "icmp_ignored");
  Bytes fragment = packet_v4();
  fragment[7] = 9;
  EXPECT_EQ(outcome(icmp_error_about(fragment, kRouter, 3, 4, 1200)), "icmp_error_malformed");
  Bytes damaged = icmp_error_about(packet_v4(), kRouter, 3, 4, 1200);
  damaged.back() ^= 1;
  EXPECT_EQ(outcome(damaged), "icmp_malformed");
}

TEST(IcmpErrors, DamageOfAnyKindIsDropped) {
  Random random(9);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes = round % 2 == 0 ? icmp_error_about(packet_v4(80), kRouter, 3, 4, 1200, random.below(120))
                                 : icmp_error_about(packet_v6(), kRouter6, 2, 0, 1280, random.below(120));
    const size_t header = round % 2 == 0 ? 20 : 40;
    for (uint64_t i = random.below(4); i > 0 && bytes.size() > header + 8; --i)
      bytes[header + 4 + random.below(static_cast<uint32_t>(bytes.size() - header - 4))] =
          static_cast<uint8_t>(random.next());
    Bytes frame = framed(bytes);
    if (round % 2 == 0)
      mend_checksums(frame);
    else
      mend_ipv6_checksum(frame, 58);
    check_parsers(frame);
  }
}

}  // namespace
}  // namespace understudy::wire
