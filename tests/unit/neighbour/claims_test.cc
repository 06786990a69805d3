#include "dataplane/neighbour/claims.h"

#include <gtest/gtest.h>

namespace understudy::neighbour {
namespace {

constexpr MacAddress kOwnFront({2, 0, 0, 0, 1, 1});
constexpr MacAddress kOwnBack({2, 0, 0, 0, 1, 2});
constexpr MacAddress kVirtual({2, 0x55, 0x53, 0, 0, 1});
constexpr MacAddress kClient({2, 0, 0, 0, 9, 9});
constexpr GroupId kWeb{1};
constexpr GroupId kMail{2};
constexpr IpAddress kOwnIp = IpAddress::v4(0x0a0a000b);
constexpr IpAddress kWebIp = IpAddress::v4(0x0a0a000a);
constexpr IpAddress kMailIp = IpAddress::v4(0x0a0a000c);
constexpr IpAddress kClientIp = IpAddress::v4(0x0a0a0064);

Claims claims() {
  Claims all({kOwnFront, kOwnBack});
  all.add_own(0, kOwnIp);
  all.add_group_address(kWeb, 0, kWebIp, kVirtual);
  all.add_group_address(kMail, 0, kMailIp, kOwnFront);  // policy gratuitous
  return all;
}

wire::ArpPacket request(const IpAddress& target) {
  wire::ArpPacket packet;
  packet.sender_mac = kClient;
  packet.sender_ip = kClientIp;
  packet.target_ip = target;
  return packet;
}

TEST(Claims, GroupsAreOursOnlyWhileActive) {
  Claims all = claims();
  EXPECT_TRUE(all.is_ours(kOwnIp));
  EXPECT_FALSE(all.is_ours(kWebIp));
  all.set_active(kWeb, true);
  EXPECT_TRUE(all.is_ours(kWebIp));
  EXPECT_FALSE(all.is_ours(kMailIp));
  EXPECT_FALSE(all.is_ours(kClientIp));
  EXPECT_NE(all.find(0, kWebIp), nullptr);
  EXPECT_EQ(all.find(1, kWebIp), nullptr);
  all.set_active(kWeb, false);
  EXPECT_FALSE(all.is_ours(kWebIp));
}

TEST(Claims, AcceptedMacs) {
  Claims all = claims();
  EXPECT_TRUE(all.accepts_mac(0, kOwnFront));
  EXPECT_FALSE(all.accepts_mac(0, kOwnBack));
  EXPECT_TRUE(all.accepts_mac(0, MacAddress::broadcast()));
  EXPECT_TRUE(all.accepts_mac(1, wire::kClusterMulticast));
  EXPECT_FALSE(all.accepts_mac(0, MacAddress({1, 0, 0x5e, 0, 0, 1})));
  EXPECT_FALSE(all.accepts_mac(0, kVirtual));
  all.set_active(kWeb, true);
  EXPECT_TRUE(all.accepts_mac(0, kVirtual));
  EXPECT_FALSE(all.accepts_mac(1, kVirtual));
  all.set_active(kWeb, false);
  EXPECT_FALSE(all.accepts_mac(0, kVirtual));
}

TEST(Claims, RepliesCarryTheGroupsMacInTheBodyOnly) {
  Claims all = claims();
  all.set_active(kWeb, true);
  all.set_active(kMail, true);
  const std::vector<std::pair<IpAddress, MacAddress>> expected = {
      {kOwnIp, kOwnFront}, {kWebIp, kVirtual}, {kMailIp, kOwnFront}};
  for (const auto& [address, mac] : expected) {
    const auto frame = all.answer(0, request(address));
    ASSERT_TRUE(frame);
    wire::EthernetHeader ethernet;
    std::memcpy(&ethernet, frame->data(), sizeof ethernet);
    EXPECT_EQ(MacAddress(ethernet.source), kOwnFront);
    EXPECT_EQ(MacAddress(ethernet.destination), kClient);
    const auto reply = wire::parse_arp(std::span<const uint8_t>(*frame).subspan(sizeof ethernet));
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->operation, wire::ArpPacket::Operation::reply);
    EXPECT_EQ(reply->sender_mac, mac);
    EXPECT_EQ(reply->sender_ip, address);
    EXPECT_EQ(reply->target_mac, kClient);
    EXPECT_EQ(reply->target_ip, kClientIp);
  }
}

TEST(Claims, NothingElseIsAnswered) {
  Claims all = claims();
  EXPECT_FALSE(all.answer(0, request(kWebIp)));     // not active
  EXPECT_FALSE(all.answer(1, request(kOwnIp)));     // another port's address
  EXPECT_FALSE(all.answer(0, request(kClientIp)));  // somebody else's
  wire::ArpPacket reply = request(kOwnIp);
  reply.operation = wire::ArpPacket::Operation::reply;
  EXPECT_FALSE(all.answer(0, reply));
  wire::ArpPacket announcement = request(kOwnIp);
  announcement.sender_ip = kOwnIp;
  EXPECT_FALSE(all.answer(0, announcement));
  wire::ArpPacket probe = request(kOwnIp);
  probe.sender_ip = IpAddress::v4(0);
  EXPECT_TRUE(all.answer(0, probe));
}

TEST(Claims, ManyAddressesAreAllFound) {
  Claims all({kOwnFront});
  for (uint32_t i = 0; i < 600; ++i) all.add_group_address(kWeb, 0, IpAddress::v4(0x0a140000 + i), kVirtual);
  all.set_active(kWeb, true);
  for (uint32_t i = 0; i < 600; ++i) ASSERT_TRUE(all.is_ours(IpAddress::v4(0x0a140000 + i)));
  for (uint32_t i = 600; i < 2000; ++i) ASSERT_FALSE(all.is_ours(IpAddress::v4(0x0a140000 + i)));
}

}  // namespace
}  // namespace understudy::neighbour
