#include <vector>

#include <gtest/gtest.h>

#include "dataplane/wire/arp.h"
#include "dataplane/wire/drop_reason.h"
#include "dataplane/wire/icmp.h"
#include "tests/support/sample_frames.h"

namespace understudy::wire {
namespace {

TEST(Arp, ReadsARequest) {
  const auto packet = parse_arp(std::span<const uint8_t>(sample_arp_frame()).subspan(14));
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->operation, ArpPacket::Operation::request);
  EXPECT_EQ(packet->sender_mac, kSampleMacA);
  EXPECT_EQ(packet->sender_ip, kSampleIpA);
  EXPECT_TRUE(packet->target_mac.is_zero());
  EXPECT_EQ(packet->target_ip, kSampleIpB);
}

TEST(Arp, BuildsTheBytesThatItReads) {
  ArpPacket packet;
  packet.sender_mac = kSampleMacA;
  packet.sender_ip = kSampleIpA;
  packet.target_ip = kSampleIpB;
  std::vector<uint8_t> frame(kArpFrameBytes);
  build_arp_frame(frame, kSampleMacB, kSampleMacA, packet);
  EXPECT_EQ(frame, sample_arp_frame());
}

TEST(Arp, RefusesWhatIsNotEthernetAndIpv4) {
  for (const size_t place : {0, 1, 2, 3, 4, 5, 6, 7}) {
    std::vector<uint8_t> frame = sample_arp_frame();
    frame[14 + place] = static_cast<uint8_t>(frame[14 + place] ^ 0x40);
    EXPECT_FALSE(parse_arp(std::span<const uint8_t>(frame).subspan(14))) << "byte " << place;
  }
  std::vector<uint8_t> frame = sample_arp_frame();
  frame[14 + 7] = 0;  // neither request nor reply
  EXPECT_FALSE(parse_arp(std::span<const uint8_t>(frame).subspan(14)));
  frame[14 + 7] = 3;
  EXPECT_FALSE(parse_arp(std::span<const uint8_t>(frame).subspan(14)));
  frame[14 + 7] = 2;
  EXPECT_TRUE(parse_arp(std::span<const uint8_t>(frame).subspan(14)));
  EXPECT_FALSE(parse_arp(std::span<const uint8_t>(frame).subspan(14, kArpPacketBytes - 1)));
}

TEST(Icmp, AnEchoRequestBecomesItsReply) {
  const std::vector<uint8_t> data = {'o', 'd', 'd'};
  const std::vector<uint8_t> frame = sample_icmp_frame(kIcmpEchoRequest, 0, data);
  std::vector<uint8_t> message(frame.begin() + 34, frame.end());
  ASSERT_TRUE(is_icmp_echo_request(message));
  turn_into_echo_reply(message);
  EXPECT_FALSE(is_icmp_echo_request(message));
  const std::vector<uint8_t> expected = sample_icmp_frame(kIcmpEchoReply, 0, data);
  EXPECT_EQ(message, std::vector<uint8_t>(expected.begin() + 34, expected.end()));
}

TEST(Icmp, OtherMessagesAreNoEchoRequests) {
  const std::vector<uint8_t> frame = sample_icmp_frame(kIcmpEchoRequest, 0, {});
  std::vector<uint8_t> message(frame.begin() + 34, frame.end());
  EXPECT_TRUE(is_icmp_echo_request(message));
  EXPECT_FALSE(is_icmp_echo_request(std::span<const uint8_t>(message).first(7)));
  message[7] ^= 1;
  EXPECT_FALSE(is_icmp_echo_request(message));
  const std::vector<uint8_t> coded = sample_icmp_frame(kIcmpEchoRequest, 1, {});
  EXPECT_FALSE(is_icmp_echo_request(std::span<const uint8_t>(coded).subspan(34)));
}

TEST(DropReason, EachHasANameAndASentenceOfItsOwn) {
  EXPECT_EQ(name_of(DropReason::tcp_checksum), "tcp_checksum");
  EXPECT_EQ(text_of(DropReason::tcp_checksum), "TCP checksum wrong");
  for (size_t i = 0; i < kDropReasons; ++i)
    for (size_t j = 0; j < i; ++j) {
      EXPECT_NE(name_of(static_cast<DropReason>(i)), name_of(static_cast<DropReason>(j)));
      EXPECT_NE(text_of(static_cast<DropReason>(i)), text_of(static_cast<DropReason>(j)));
    }
}

TEST(DropCounters, CountByReason) {
  DropCounters counters;
  counters.count(DropReason::no_route);
  counters.count(DropReason::no_route, 4);
  EXPECT_EQ(counters.of(DropReason::no_route), 5U);
  EXPECT_EQ(counters.of(DropReason::ring_full), 0U);
}

}  // namespace
}  // namespace understudy::wire
