#include <gtest/gtest.h>

#include "dataplane/neighbour/resolver.h"
#include "dataplane/wire/frame.h"
#include "tests/support/exact_frame.h"
#include "tests/support/mbuf_pool.h"

namespace understudy::neighbour {
namespace {

using Kind = wire::NeighbourMessage::Kind;

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
const IpAddress kOwnIp = ip("fd00:10::11");
const IpAddress kVip = ip("fd00:10::10");
const IpAddress kClientIp = ip("fd00:10::100");
const IpAddress kRouter = ip("fd00:10::1");

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
  wire::NeighbourMessage message() const {
    const auto parsed = wire::parse_frame(ExactFrame(bytes).mbuf());
    return std::get<wire::NeighbourMessage>(parsed);
  }
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

class DiscoveryTest : public testing::Test {
 protected:
  DiscoveryTest() { start(Voice::speaks); }
  ~DiscoveryTest() override {
    resolver_.reset();
    EXPECT_EQ(test_mbufs_in_use(), in_use_);
  }
  void start(Voice voice) {
    ResolverSettings settings;
    settings.voice = voice;
    settings.ports = {{kOwnFront, {*Prefix::parse("10.10.0.11/24"), *Prefix::parse("fd00:10::11/64")}},
                      {kOwnBack, {*Prefix::parse("fd00:20::21/64")}}};
    resolver_ = std::make_unique<Resolver>(settings, test_mbuf_pool(), wire_, drops_);
    ASSERT_TRUE(resolver_->add_route(*Prefix::parse("::/0"), kRouter).ok());
    resolver_->add_group_address(kWeb, 0, kVip, kVirtual);
  }
  void send(const IpAddress& destination, Instant now) {
    std::vector<uint8_t> bytes(60, 0x77);
    bytes[14] = 0x60;
    resolver_->send(mbuf_from(bytes), kVip, destination, now);
  }
  void solicit(const IpAddress& source, const IpAddress& target, std::optional<MacAddress> mac, Instant now,
               const MacAddress& ethernet_source = kClient) {
    wire::NeighbourMessage message;
    message.kind = Kind::solicitation;
    message.source = source;
    message.destination = wire::solicited_node_multicast(target);
    message.target = target;
    message.link_address = mac;
    resolver_->receive_discovery(0, message, ethernet_source, now);
  }
  void advertise(const IpAddress& target, std::optional<MacAddress> mac, bool solicited, bool overrides,
                 Instant now, const MacAddress& ethernet_source = kClient, const IpAddress& to = kOwnIp) {
    wire::NeighbourMessage message;
    message.kind = Kind::advertisement;
    message.source = message.target = target;
    message.destination = to;
    message.link_address = mac;
    message.solicited = solicited;
    message.overrides = overrides;
    resolver_->receive_discovery(0, message, ethernet_source, now);
  }
  std::optional<MacAddress> known_mac() const { return resolver_->neighbours().mac_of(0, kClientIp); }

  unsigned in_use_ = test_mbufs_in_use();
  Wire wire_;
  DropCounters drops_;
  std::unique_ptr<Resolver> resolver_;
};

TEST_F(DiscoveryTest, ResolvesAndWritesTheEthernetHeader) {
  send(kClientIp, kStart);
  auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].source(), kOwnFront);
  EXPECT_EQ(frames[0].destination().to_string(), "33:33:ff:00:01:00");
  EXPECT_EQ(frames[0].message().kind, Kind::solicitation);
  EXPECT_EQ(frames[0].message().source, kOwnIp) << "of the family, and not the packet's source";
  EXPECT_EQ(frames[0].message().destination, wire::solicited_node_multicast(kClientIp));
  EXPECT_EQ(frames[0].message().target, kClientIp);
  EXPECT_EQ(frames[0].message().link_address, kOwnFront);
  advertise(kClientIp, kClient, true, true, kStart + 1ms);
  frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].destination(), kClient);
  EXPECT_EQ(frames[0].ethernet().type.get(), wire::kEtherTypeIpv6);
  EXPECT_EQ(resolver_->neighbours().state_of(0, kClientIp), NeighbourState::reachable);
}

TEST_F(DiscoveryTest, FarDestinationsGoToTheGateway) {
  send(ip("2001:db8::1"), kStart);
  EXPECT_EQ(wire_.take().at(0).message().target, kRouter);
  send(ip("fd00:20::11"), kStart);
  const auto frames = wire_.take();
  EXPECT_EQ(frames.at(0).port, 1U);
  EXPECT_EQ(frames.at(0).message().source, ip("fd00:20::21"));
}

TEST_F(DiscoveryTest, AsksThreeTimesThenDropsWhatWaited) {
  for (int i = 0; i < NeighbourTable::kQueueLength + 3; ++i) send(kClientIp, kStart);
  EXPECT_EQ(drops_.of(DropReason::neighbour_queue_full), 3U);
  while (resolver_->next_deadline() != kNever) resolver_->tick(resolver_->next_deadline());
  EXPECT_EQ(wire_.take().size(), 3U);
  EXPECT_EQ(drops_.of(DropReason::neighbour_unresolved), uint64_t{NeighbourTable::kQueueLength});
}

TEST_F(DiscoveryTest, AKnownNeighbourIsProbedAtItsOwnAddress) {
  solicit(kClientIp, kOwnIp, kClient, kStart);
  wire_.take();
  send(kClientIp, kStart + 1s);
  const auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 2U);
  const Emitted& probe = frames[0].bytes.size() == 60 ? frames[1] : frames[0];
  EXPECT_EQ(probe.destination(), kClient);
  EXPECT_EQ(probe.message().destination, kClientIp);
}

TEST_F(DiscoveryTest, AnswersForItsAddressesAndLearnsWhoAsked) {
  solicit(kClientIp, kVip, kClient, kStart);
  EXPECT_TRUE(wire_.take().empty()) << "not ours yet";
  EXPECT_FALSE(resolver_->claims().accepts_mac(0, *MacAddress::parse("33:33:ff:00:00:10")));
  resolver_->claim(kWeb, kStart);
  wire_.take();
  EXPECT_TRUE(resolver_->claims().accepts_mac(0, *MacAddress::parse("33:33:ff:00:00:10")));
  EXPECT_TRUE(resolver_->claims().accepts_mac(0, *MacAddress::parse("33:33:ff:00:00:11"))) << "our own";
  EXPECT_TRUE(resolver_->claims().accepts_mac(0, *MacAddress::parse("33:33:00:00:00:01")));
  EXPECT_FALSE(resolver_->claims().accepts_mac(1, *MacAddress::parse("33:33:ff:00:00:10")));
  EXPECT_FALSE(resolver_->claims().accepts_mac(0, *MacAddress::parse("33:33:ff:00:01:00")));
  solicit(kClientIp, kVip, kClient, kStart);
  const auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].source(), kOwnFront);
  EXPECT_EQ(frames[0].destination(), kClient);
  const auto reply = frames[0].message();
  EXPECT_EQ(reply.kind, Kind::advertisement);
  EXPECT_EQ(reply.source, kVip);
  EXPECT_EQ(reply.destination, kClientIp);
  EXPECT_EQ(reply.link_address, kVirtual);
  EXPECT_TRUE(reply.solicited && reply.overrides);
  EXPECT_EQ(known_mac(), kClient);
  // A router's link-local address is answered where the question came from, and not learnt: nothing is sent
  // there.
  solicit(ip("fe80::1"), kVip, kOther, kStart);
  EXPECT_EQ(wire_.take().at(0).destination(), kOther);
  solicit(kClientIp, ip("fd00:10::99"), kClient, kStart);
  EXPECT_TRUE(wire_.take().empty()) << "somebody else's";
  EXPECT_EQ(resolver_->neighbours().size(), 1U);
}

TEST_F(DiscoveryTest, ProbesForDuplicatesOfOurAddressesAreAnsweredToAll) {
  resolver_->claim(kWeb, kStart);
  wire_.take();
  solicit(IpAddress(), kVip, std::nullopt, kStart, kOther);
  const auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].destination().to_string(), "33:33:00:00:00:01");
  EXPECT_EQ(frames[0].message().destination, wire::kAllNodes);
  EXPECT_FALSE(frames[0].message().solicited);
  EXPECT_TRUE(frames[0].message().overrides);
  EXPECT_EQ(resolver_->neighbours().size(), 0U);
}

TEST_F(DiscoveryTest, AClaimIsAdvertisedToAllAndToEachKnownNeighbour) {
  solicit(kClientIp, kOwnIp, kClient, kStart);
  wire_.take();
  resolver_->claim(kWeb, kStart);
  const auto frames = wire_.take();
  ASSERT_EQ(frames.size(), 2U);
  for (const Emitted& frame : frames) {
    EXPECT_EQ(frame.source(), kVirtual) << "moves the address in switches";
    EXPECT_EQ(frame.message().target, kVip);
    EXPECT_EQ(frame.message().link_address, kVirtual);
    EXPECT_TRUE(frame.message().overrides);
    EXPECT_FALSE(frame.message().solicited);
  }
  EXPECT_EQ(frames[0].destination().to_string(), "33:33:00:00:00:01");
  EXPECT_EQ(frames[1].destination(), kClient);
  EXPECT_EQ(frames[1].message().destination, kClientIp);
  EXPECT_EQ(resolver_->counters().announcements_sent, 2U);
}

TEST_F(DiscoveryTest, OverrideDecidesWhetherAKnownMacChanges) {
  solicit(kClientIp, kOwnIp, kClient, kStart);
  advertise(kClientIp, kOther, false, false, kStart);
  EXPECT_EQ(known_mac(), kClient);
  advertise(kClientIp, kOther, false, true, kStart);
  EXPECT_EQ(known_mac(), kOther);
  advertise(kClientIp, std::nullopt, true, false, kStart);  // confirms what is known
  EXPECT_EQ(known_mac(), kOther);
  EXPECT_EQ(resolver_->neighbours().state_of(0, kClientIp), NeighbourState::reachable);
  advertise(ip("fd00:10::77"), kOther, false, true, kStart);
  EXPECT_EQ(resolver_->neighbours().size(), 1U) << "strangers create no entries";
  advertise(kClientIp, MacAddress::broadcast(), true, true, kStart);
  EXPECT_EQ(drops_.of(DropReason::nd_malformed), 1U);
}

TEST_F(DiscoveryTest, RivalsAreReportedAndAnsweredOnceASecond) {
  resolver_->claim(kWeb, kStart);
  wire_.take();
  advertise(kVip, kOther, false, true, kStart, kOther, wire::kAllNodes);
  ASSERT_TRUE(resolver_->last_rival());
  EXPECT_EQ(resolver_->last_rival()->address, kVip);
  EXPECT_EQ(resolver_->last_rival()->mac, kOther);
  EXPECT_EQ(wire_.take().size(), 1U);
  advertise(kVip, kOther, false, true, kStart + 1ms, kOther, wire::kAllNodes);
  EXPECT_TRUE(wire_.take().empty());
  EXPECT_EQ(resolver_->counters().rivals_heard, 2U);
  advertise(kVip, kVirtual, false, true, kStart + 2s, kOwnFront, wire::kAllNodes);
  EXPECT_EQ(resolver_->counters().rivals_heard, 2U) << "our own frame, sent back";
}

TEST_F(DiscoveryTest, AWitnessAnswers) {
  EXPECT_TRUE(resolver_->probe(kRouter, kStart));
  EXPECT_EQ(wire_.take().at(0).message().target, kRouter);
  EXPECT_FALSE(resolver_->last_answer(kRouter));
  advertise(kRouter, kOther, true, true, kStart + 1ms);
  EXPECT_EQ(resolver_->last_answer(kRouter), kStart + 1ms);
}

TEST_F(DiscoveryTest, ASilentWorkerResolvesAndSaysNothingElse) {
  start(Voice::silent);
  resolver_->claim(kWeb, kStart);
  solicit(kClientIp, kVip, kClient, kStart);
  EXPECT_TRUE(wire_.take().empty());
  send(ip("fd00:10::55"), kStart);
  EXPECT_EQ(wire_.take().size(), 1U);
}

}  // namespace
}  // namespace understudy::neighbour
