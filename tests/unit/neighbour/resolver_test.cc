#include "dataplane/neighbour/resolver.h"

#include <gtest/gtest.h>

#include "dataplane/wire/frame.h"
#include "tests/support/exact_frame.h"
#include "tests/support/mbuf_pool.h"

namespace understudy::neighbour {
namespace {

using Operation = wire::ArpPacket::Operation;

constexpr MacAddress kOwnFront({2, 0, 0, 0, 1, 1});
constexpr MacAddress kOwnBack({2, 0, 0, 0, 1, 2});
constexpr MacAddress kVirtual({2, 0x55, 0x53, 0, 0, 1});
constexpr MacAddress kClient({2, 0, 0, 0, 9, 9});
constexpr MacAddress kOther({2, 0, 0, 0, 7, 7});
constexpr GroupId kWeb{1};
constexpr Instant kStart{1h};

IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}
const IpAddress kOwnIp = ip("10.10.0.11");
const IpAddress kVip = ip("10.10.0.10");
const IpAddress kClientIp = ip("10.10.0.100");
const IpAddress kRouter = ip("10.10.0.1");
const IpAddress kBackend = ip("10.20.0.12");

struct Emitted {
  unsigned port;
  std::vector<uint8_t> bytes;
  wire::EthernetHeader ethernet() const {
    wire::EthernetHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    return header;
  }
  MacAddress source() const { return MacAddress(ethernet().source); }
  MacAddress destination() const { return MacAddress(ethernet().destination); }
  bool is_arp() const { return ethernet().type.get() == wire::kEtherTypeArp; }
  wire::ArpPacket arp() const { return *wire::parse_arp(std::span<const uint8_t>(bytes).subspan(14)); }
};

class Wire : public Egress {
 public:
  void emit(unsigned port, rte_mbuf* frame) override {
    frames.push_back({port, bytes_of(frame)});
    rte_pktmbuf_free(frame);
  }
  std::vector<Emitted> take() { return std::exchange(frames, {}); }
  std::vector<Emitted> frames;
};

class ResolverTest : public testing::Test {
 protected:
  ResolverTest() { start(Voice::speaks); }
  ~ResolverTest() override {
    resolver_.reset();
    EXPECT_EQ(test_mbufs_in_use(), in_use_);
  }
  void start(Voice voice, rte_mempool* pool = test_mbuf_pool()) {
    ResolverSettings settings;
    settings.voice = voice;
    settings.ports = {{kOwnFront, {*Prefix::parse("10.10.0.11/24")}},
                      {kOwnBack, {*Prefix::parse("10.20.0.21/24")}}};
    resolver_ = std::make_unique<Resolver>(settings, pool, wire_, drops_);
    ASSERT_TRUE(resolver_->add_route(*Prefix::parse("0.0.0.0/0"), kRouter).ok());
    resolver_->add_group_address(kWeb, 0, kVip, kVirtual);
  }
  void send(const IpAddress& destination, Instant now) {
    std::vector<uint8_t> bytes(60, 0x77);
    bytes[14] = destination.is_v4() ? 0x45 : 0x60;
    resolver_->send(mbuf_from(bytes), kVip, destination, now);
  }
  void receive(Operation operation, const MacAddress& mac, const IpAddress& sender, const IpAddress& target,
               Instant now, uint16_t port = 0, std::optional<MacAddress> ethernet_source = {}) {
    wire::ArpPacket packet;
    packet.operation = operation;
    packet.sender_mac = mac;
    packet.sender_ip = sender;
    packet.target_ip = target;
    resolver_->receive_arp(port, packet, ethernet_source.value_or(mac), now);
  }

  unsigned in_use_ = test_mbufs_in_use();
  Wire wire_;
  DropCounters drops_;
  std::unique_ptr<Resolver> resolver_;
};

TEST_F(ResolverTest, ResolvesAndWritesTheEthernetHeader) {
  send(kClientIp, kStart);
  auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].port, 0U);
  EXPECT_EQ(frames[0].source(), kOwnFront);
  EXPECT_EQ(frames[0].destination(), MacAddress::broadcast());
  EXPECT_EQ(frames[0].arp().operation, Operation::request);
  EXPECT_EQ(frames[0].arp().sender_ip, kOwnIp);  // not the packet's source: that MAC is the group's
  EXPECT_EQ(frames[0].arp().sender_mac, kOwnFront);
  EXPECT_EQ(frames[0].arp().target_ip, kClientIp);
  receive(Operation::reply, kClient, kClientIp, kOwnIp, kStart + 1ms);
  frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].source(), kOwnFront);
  EXPECT_EQ(frames[0].destination(), kClient);
  EXPECT_EQ(frames[0].ethernet().type.get(), wire::kEtherTypeIpv4);
  EXPECT_EQ(frames[0].bytes.size(), 60U);
  EXPECT_EQ(frames[0].bytes[15], 0x77);
  EXPECT_EQ(resolver_->neighbours().state_of(0, kClientIp), NeighbourState::reachable);
}

// A flood under all addresses of the network makes no entries and asks nobody.
TEST_F(ResolverTest, AStrangerIsAnsweredWhereHisFrameCameFrom) {
  const auto answer = [&](const IpAddress& to, const MacAddress& mac, uint16_t port = 0) {
    std::vector<uint8_t> bytes(60, 0x77);
    bytes[14] = 0x45;
    resolver_->send_back(mbuf_from(bytes), kVip, to, port, mac, kStart);
    return wire_.take();
  };
  for (uint32_t host = 20; host < 250; ++host) {
    const auto frames = answer(IpAddress::v4(0x0a0a0000 + host), kOther);
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].destination(), kOther);
    EXPECT_EQ(frames[0].source(), kOwnFront);
  }
  EXPECT_EQ(resolver_->neighbours().size(), 0U);
  EXPECT_EQ(resolver_->counters().requests_sent, 0U);
  // Whom we know by ARP is answered at home, whoever speaks in his name.
  receive(Operation::reply, kClient, kClientIp, kOwnIp, kStart);
  send(kClientIp, kStart);
  receive(Operation::reply, kClient, kClientIp, kOwnIp, kStart);
  wire_.take();
  EXPECT_EQ(answer(kClientIp, kOther).at(0).destination(), kClient);
  // Behind a router, on another port than the route's, and where no frame can go back to: as any packet.
  EXPECT_EQ(answer(ip("10.40.0.9"), kOther).at(0).arp().target_ip, kRouter);
  EXPECT_EQ(answer(ip("10.10.0.77"), kOther, 1).at(0).arp().target_ip, ip("10.10.0.77"));
  EXPECT_EQ(answer(ip("10.10.0.78"), MacAddress::broadcast()).at(0).arp().target_ip, ip("10.10.0.78"));
}

TEST_F(ResolverTest, FarDestinationsGoToTheGatewayAndUnroutableOnesAreCounted) {
  send(ip("10.40.0.9"), kStart);
  EXPECT_EQ(wire_.take().at(0).arp().target_ip, kRouter);
  send(kBackend, kStart);
  const auto frames = wire_.take();
  EXPECT_EQ(frames.at(0).port, 1U);
  EXPECT_EQ(frames.at(0).arp().sender_ip, ip("10.20.0.21"));
  send(ip("2001:db8::1"), kStart);  // no route of this family
  EXPECT_EQ(drops_.of(DropReason::no_route), 1U);
  EXPECT_TRUE(wire_.take().empty());
}

TEST_F(ResolverTest, TicksAtItsDeadlinesUntilTheNeighbourIsGivenUp) {
  send(kClientIp, kStart);
  while (resolver_->next_deadline() != kNever) resolver_->tick(resolver_->next_deadline());
  EXPECT_EQ(wire_.take().size(), 3U);
  EXPECT_EQ(resolver_->counters().requests_sent, 3U);
  EXPECT_EQ(drops_.of(DropReason::neighbour_unresolved), 1U);
}

TEST_F(ResolverTest, AnswersForItsAddressesAndLearnsWhoAsked) {
  receive(Operation::request, kClient, kClientIp, kVip, kStart);
  EXPECT_TRUE(wire_.take().empty());  // not ours yet
  EXPECT_EQ(resolver_->neighbours().size(), 0U);
  resolver_->claim(kWeb, kStart);
  wire_.take();
  receive(Operation::request, kClient, kClientIp, kVip, kStart);
  const auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].arp().sender_mac, kVirtual);
  EXPECT_EQ(frames[0].source(), kOwnFront);
  EXPECT_EQ(resolver_->neighbours().mac_of(0, kClientIp), kClient);
  receive(Operation::request, kOther, ip("172.16.0.1"), kVip, kStart);  // not on-link: answered, not learnt
  EXPECT_EQ(wire_.take().size(), 1U);
  EXPECT_EQ(resolver_->neighbours().size(), 1U);
  EXPECT_EQ(resolver_->counters().replies_sent, 2U);
}

TEST_F(ResolverTest, AClaimIsAnnouncedToAllAndToEachKnownNeighbour) {
  receive(Operation::request, kClient, kClientIp, kOwnIp, kStart);
  receive(Operation::request, kOther, ip("10.20.0.7"), ip("10.20.0.21"), kStart, 1);  // other port
  wire_.take();
  resolver_->claim(kWeb, kStart);
  EXPECT_TRUE(resolver_->claims().is_ours(kVip));
  const auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 2U);
  for (const Emitted& frame : frames) {
    EXPECT_EQ(frame.port, 0U);
    EXPECT_EQ(frame.source(), kVirtual);
    EXPECT_EQ(frame.arp().operation, Operation::request);
    EXPECT_EQ(frame.arp().sender_mac, kVirtual);
    EXPECT_EQ(frame.arp().sender_ip, kVip);
  }
  EXPECT_EQ(frames[0].destination(), MacAddress::broadcast());
  EXPECT_EQ(frames[0].arp().target_ip, kVip);
  EXPECT_EQ(frames[1].destination(), kClient);
  EXPECT_EQ(frames[1].arp().target_ip, kClientIp);
}

// By the time the answer comes somebody else speaks for the group.
TEST_F(ResolverTest, WhatWaitsForAnAnswerGoesWithItsGroup) {
  for (const bool passes_on : {false, true}) {
    resolver_->claim(kWeb, kStart);
    const auto packet_from = [](std::array<uint8_t, 4> source) {
      std::vector<uint8_t> bytes(60, 0x77);
      bytes[14] = 0x45;
      std::copy(source.begin(), source.end(), bytes.begin() + 26);
      return mbuf_from(bytes);
    };
    resolver_->send(packet_from({10, 10, 0, 10}), kVip, kClientIp, kStart);
    resolver_->send(packet_from({10, 10, 0, 11}), kOwnIp, kClientIp, kStart);
    resolver_->send(packet_from({10, 10, 0, 10}), kVip, kClientIp, kStart);
    const uint64_t before = drops_.of(DropReason::group_muted);
    if (passes_on)
      resolver_->pass_on(kWeb);
    else
      resolver_->release(kWeb);
    EXPECT_EQ(drops_.of(DropReason::group_muted) - before, 2U);
    EXPECT_EQ(resolver_->neighbours().queued_frames(), 1U);
    wire_.take();
    receive(Operation::reply, kClient, kClientIp, kOwnIp, kStart + 1ms);
    const auto frames = wire_.take();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].bytes[29], 11);
    start(Voice::speaks);
  }
}

TEST_F(ResolverTest, AnnouncementsRepeatRefreshAndEndWithTheClaim) {
  std::vector<Duration> when;
  resolver_->claim(kWeb, kStart);
  EXPECT_EQ(wire_.take().size(), 1U);
  while (resolver_->next_deadline() <= kStart + 21s) {
    const Instant now = resolver_->next_deadline();
    resolver_->tick(now);
    EXPECT_EQ(wire_.take().size(), 1U);
    when.push_back(now - kStart);
  }
  EXPECT_EQ(when, (std::vector<Duration>{10ms, 50ms, 200ms, 1s, 11s, 21s}));
  EXPECT_EQ(resolver_->counters().announcements_sent, 7U);
  resolver_->release(kWeb);
  EXPECT_EQ(resolver_->next_deadline(), kNever);
  EXPECT_FALSE(resolver_->claims().is_ours(kVip));
  receive(Operation::request, kClient, kClientIp, kVip, kStart + 30s);
  EXPECT_TRUE(wire_.take().empty());
}

TEST_F(ResolverTest, ASilentWorkerAsksButNeitherAnswersNorAnnounces) {
  start(Voice::silent);
  resolver_->claim(kWeb, kStart);
  EXPECT_TRUE(resolver_->claims().is_ours(kVip));
  EXPECT_EQ(resolver_->next_deadline(), kNever);
  receive(Operation::request, kClient, kClientIp, kVip, kStart);
  receive(Operation::request, kOther, kVip, kVip, kStart);
  EXPECT_TRUE(wire_.take().empty());
  EXPECT_EQ(resolver_->counters().rivals_heard, 1U);
  send(kRouter, kStart);
  EXPECT_EQ(wire_.take().size(), 1U);
}

TEST_F(ResolverTest, ARivalIsCountedAndAnsweredOncePerSecond) {
  resolver_->claim(kWeb, kStart);
  resolver_->tick(kStart + 2s);
  wire_.take();
  for (int i = 0; i < 5; ++i) receive(Operation::request, kOther, kVip, kVip, kStart + 3s + i * 100ms);
  auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].source(), kVirtual);
  EXPECT_EQ(frames[0].arp().target_ip, kVip);
  EXPECT_EQ(resolver_->counters().rivals_heard, 5U);
  ASSERT_TRUE(resolver_->last_rival());
  EXPECT_EQ(resolver_->last_rival()->mac, kOther);
  EXPECT_EQ(resolver_->last_rival()->group, kWeb);
  EXPECT_EQ(resolver_->last_rival()->when, kStart + 3s + 400ms);
  receive(Operation::reply, kOther, kVip, kClientIp, kStart + 4s);
  EXPECT_EQ(wire_.take().size(), 1U);
  EXPECT_EQ(resolver_->neighbours().size(), 0U);
}

TEST_F(ResolverTest, ARivalWithTheSameVirtualMacIsKnownByItsEthernetSource) {
  resolver_->claim(kWeb, kStart);
  receive(Operation::reply, kVirtual, kVip, kClientIp, kStart, 0, kOther);
  EXPECT_EQ(resolver_->counters().rivals_heard, 1U);
  receive(Operation::request, kVirtual, kVip, kVip, kStart);                   // our own announcement, looped
  receive(Operation::reply, kVirtual, kVip, kClientIp, kStart, 0, kOwnFront);  // our own reply, looped
  EXPECT_EQ(resolver_->counters().rivals_heard, 1U);
}

TEST_F(ResolverTest, TheNodesOwnAddressIsDefendedToo) {
  receive(Operation::request, kOther, kOwnIp, kOwnIp, kStart);
  receive(Operation::request, kOther, kOwnIp, kOwnIp, kStart + 1ms);
  const auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].source(), kOwnFront);
  EXPECT_EQ(frames[0].arp().sender_ip, kOwnIp);
  EXPECT_FALSE(resolver_->last_rival()->group);
}

TEST_F(ResolverTest, WitnessesAreAskedAndTheirAnswersDated) {
  EXPECT_FALSE(resolver_->probe(ip("8.8.8.8"), kStart));  // behind a router: no ARP reaches it
  EXPECT_FALSE(resolver_->last_answer(kBackend));
  ASSERT_TRUE(resolver_->probe(kBackend, kStart));
  auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].port, 1U);
  EXPECT_EQ(frames[0].destination(), MacAddress::broadcast());
  EXPECT_EQ(resolver_->neighbours().size(), 0U);
  EXPECT_FALSE(resolver_->last_answer(kBackend));
  receive(Operation::request, kOther, kBackend, ip("10.20.0.21"), kStart, 1);  // alive, but not an answer
  EXPECT_FALSE(resolver_->last_answer(kBackend));
  receive(Operation::reply, kOther, kBackend, ip("10.20.0.21"), kStart + 2ms, 1);
  EXPECT_EQ(resolver_->last_answer(kBackend), kStart + 2ms);
  wire_.take();
  ASSERT_TRUE(resolver_->probe(kBackend, kStart + 1s));
  EXPECT_EQ(wire_.take().at(0).destination(), kOther);
  ASSERT_TRUE(resolver_->probe(kBackend, kStart + 2s));  // the last went unanswered
  EXPECT_EQ(wire_.take().at(0).destination(), MacAddress::broadcast());
  EXPECT_EQ(resolver_->last_answer(kBackend), kStart + 2ms);
}

TEST_F(ResolverTest, TheNumberOfWitnessesIsBounded) {
  for (uint32_t i = 0; i < Resolver::kWitnessesMax; ++i)
    ASSERT_TRUE(resolver_->probe(IpAddress::v4(0x0a140020 + i), kStart));
  EXPECT_FALSE(resolver_->probe(kBackend, kStart));
  EXPECT_TRUE(resolver_->probe(IpAddress::v4(0x0a140020), kStart));
}

TEST_F(ResolverTest, SendersThatCannotBeAreMalformed) {
  receive(Operation::request, MacAddress::broadcast(), kClientIp, kOwnIp, kStart);
  receive(Operation::request, MacAddress(), kClientIp, kOwnIp, kStart);
  receive(Operation::request, kClient, kClientIp, kOwnIp, kStart, 9);
  EXPECT_EQ(drops_.of(DropReason::arp_malformed), 3U);
  EXPECT_TRUE(wire_.take().empty());
}

TEST_F(ResolverTest, AnEmptyPoolIsCountedAndDoesNoHarm) {
  rte_mempool* empty = rte_pktmbuf_pool_create("empty", 1, 0, 0, 256, SOCKET_ID_ANY);
  ASSERT_NE(empty, nullptr);
  rte_mbuf* last = rte_pktmbuf_alloc(empty);
  start(Voice::speaks, empty);
  resolver_->claim(kWeb, kStart);
  send(kClientIp, kStart);
  EXPECT_EQ(drops_.of(DropReason::mbuf_pool_empty), 2U);
  EXPECT_EQ(resolver_->counters().announcements_sent, 0U);
  rte_pktmbuf_free(last);
  resolver_->tick(kStart + 10ms);
  ASSERT_EQ(wire_.take().size(), 1U);
  resolver_->tick(kStart + 51ms);  // the lost request is repeated like any other
  EXPECT_EQ(resolver_->counters().requests_sent, 1U);
  resolver_.reset();
  rte_mempool_free(empty);
}

}  // namespace
}  // namespace understudy::neighbour
