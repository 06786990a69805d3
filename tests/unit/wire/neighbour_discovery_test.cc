#include "dataplane/wire/neighbour_discovery.h"

#include <gtest/gtest.h>

#include "dataplane/wire/frame.h"
#include "tests/support/exact_frame.h"
#include "tests/support/sample_frames.h"

namespace understudy::wire {
namespace {

using Bytes = std::vector<uint8_t>;
using Kind = NeighbourMessage::Kind;

constexpr uint8_t kSource = 1, kTarget = 2;  // option types

Bytes option(uint8_t type, const MacAddress& mac = kSampleMacA) {
  Bytes bytes = {type, 1};
  for (const uint8_t byte : mac.bytes()) bytes.push_back(byte);
  return bytes;
}

// What follows type, code and checksum.
Bytes body(uint8_t flags, const IpAddress& target, const Bytes& options) {
  Bytes bytes = {flags, 0, 0, 0};
  for (const uint8_t byte : target.bytes()) bytes.push_back(byte);
  for (const uint8_t byte : options) bytes.push_back(byte);
  return bytes;
}

std::string outcome(const Bytes& bytes) {
  const auto parsed = parse_frame(ExactFrame(bytes).mbuf());
  const auto* reason = std::get_if<DropReason>(&parsed);
  return reason == nullptr ? "accepted" : std::string(name_of(*reason));
}

Bytes solicitation(const Bytes& options = option(kSource), const IpAddress& source = kSampleIp6A,
                   const IpAddress& destination = solicited_node_multicast(kSampleIp6B)) {
  return sample_icmpv6_frame(135, 0, body(0, kSampleIp6B, options), source, destination);
}

TEST(NeighbourMessages, ASolicitation) {
  const Bytes bytes = solicitation();
  const auto parsed = parse_frame(ExactFrame(bytes).mbuf());
  const auto* message = std::get_if<NeighbourMessage>(&parsed);
  ASSERT_NE(message, nullptr) << outcome(bytes);
  EXPECT_EQ(message->kind, Kind::solicitation);
  EXPECT_EQ(message->source, kSampleIp6A);
  EXPECT_EQ(message->target, kSampleIp6B);
  EXPECT_EQ(message->link_address, kSampleMacA);
  EXPECT_TRUE(is_resolution(ExactFrame(bytes).mbuf()));
  EXPECT_FALSE(peek_flow(ExactFrame(bytes).mbuf()));
}

TEST(NeighbourMessages, AnAdvertisement) {
  const Bytes bytes = sample_icmpv6_frame(136, 0, body(0x60, kSampleIp6A, option(kTarget)));
  const auto parsed = parse_frame(ExactFrame(bytes).mbuf());
  const auto* message = std::get_if<NeighbourMessage>(&parsed);
  ASSERT_NE(message, nullptr) << outcome(bytes);
  EXPECT_EQ(message->kind, Kind::advertisement);
  EXPECT_EQ(message->target, kSampleIp6A);
  EXPECT_TRUE(message->solicited);
  EXPECT_TRUE(message->overrides);
  EXPECT_EQ(message->link_address, kSampleMacA);
  EXPECT_TRUE(is_resolution(ExactFrame(bytes).mbuf()));
}

// RFC 4861 section 7.1.1 and 7.1.2.
TEST(NeighbourMessages, TheTestsThatTheyMustPass) {
  const auto target_group = solicited_node_multicast(kSampleIp6B);
  Bytes bytes = solicitation();
  bytes[21] = 254;
  EXPECT_EQ(outcome(bytes), "nd_malformed") << "a router has passed it on";
  EXPECT_EQ(outcome(solicitation(option(kTarget))), "accepted") << "an option that means nothing here";
  EXPECT_EQ(outcome(solicitation({})), "accepted");
  EXPECT_EQ(outcome(solicitation({}, IpAddress())), "accepted") << "duplicate address detection";
  EXPECT_EQ(outcome(solicitation(option(kSource), IpAddress())), "nd_malformed");
  EXPECT_EQ(outcome(solicitation({}, IpAddress(), kSampleIp6B)), "nd_malformed");
  EXPECT_EQ(outcome(solicitation({1, 0, 0, 0, 0, 0, 0, 0})), "nd_malformed") << "an option of no length";
  EXPECT_EQ(outcome(solicitation({1, 2, 0, 0, 0, 0, 0, 0})), "nd_malformed") << "an option past the end";
  EXPECT_EQ(outcome(solicitation({1})), "nd_malformed");
  EXPECT_EQ(outcome(sample_icmpv6_frame(135, 1, body(0, kSampleIp6B, {}), kSampleIp6A, target_group)),
            "nd_malformed");
  EXPECT_EQ(outcome(sample_icmpv6_frame(135, 0, body(0, kAllNodes, {}), kSampleIp6A, target_group)),
            "nd_malformed")
      << "a multicast target";
  EXPECT_EQ(outcome(sample_icmpv6_frame(135, 0, body(0, IpAddress::v4(1), {}), kSampleIp6A, target_group)),
            "nd_malformed")
      << "an IPv4 address in disguise";
  EXPECT_EQ(outcome(sample_icmpv6_frame(135, 0, Bytes(19, 0))), "nd_malformed") << "short";
  EXPECT_EQ(outcome(sample_icmpv6_frame(136, 0, body(0x40, kSampleIp6A, {}), kSampleIp6A, kAllNodes)),
            "nd_malformed")
      << "solicited by everybody";
  EXPECT_EQ(outcome(sample_icmpv6_frame(136, 0, body(0x20, kSampleIp6A, {}), kSampleIp6A, kAllNodes)),
            "accepted");
  EXPECT_EQ(outcome(sample_icmpv6_frame(136, 0, body(0x20, kSampleIp6A, {}), IpAddress(), kAllNodes)),
            "nd_malformed");
  EXPECT_EQ(outcome(sample_icmpv6_frame(134, 0, Bytes(12, 0), kSampleIp6A, kAllNodes)), "nd_ignored");
  EXPECT_EQ(outcome(sample_icmpv6_frame(137, 0, Bytes(36, 0))), "nd_ignored");
}

TEST(NeighbourMessages, WhatIsBuiltIsReadBack) {
  for (const Kind kind : {Kind::solicitation, Kind::advertisement}) {
    NeighbourMessage message;
    message.kind = kind;
    message.source = kSampleIp6A;
    message.destination = kind == Kind::solicitation ? solicited_node_multicast(kSampleIp6B) : kSampleIp6B;
    message.target = kind == Kind::solicitation ? kSampleIp6B : kSampleIp6A;
    message.link_address = kSampleMacA;
    message.solicited = message.overrides = kind == Kind::advertisement;
    Bytes frame(kNeighbourFrameBytes);
    build_neighbour_frame(frame, kSampleMacB, kSampleMacA, message);
    // Byte for byte what a test would write.
    Bytes want = kind == Kind::solicitation
                     ? solicitation()
                     : sample_icmpv6_frame(136, 0, body(0x60, kSampleIp6A, option(kTarget)));
    want[15] = 0;  // the samples have a traffic class
    EXPECT_EQ(frame, want);
  }
}

TEST(NeighbourMessages, EveryTruncation) {
  const Bytes whole = solicitation();
  for (size_t length = 0; length < whole.size(); ++length) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
    ASSERT_EQ(outcome(cut), "frame_truncated");
    is_resolution(ExactFrame(cut).mbuf());
  }
}

}  // namespace
}  // namespace understudy::wire
