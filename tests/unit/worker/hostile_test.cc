// A worker under conditions that nobody wishes for: any bytes, no buffers, a slow standby.
#include <gtest/gtest.h>

#include "dataplane/wire/frame.h"
#include "tests/support/cluster_in_process.h"
#include "tests/support/mbuf_pool.h"

namespace understudy {
namespace {

using Network = ClusterInProcess::Network;

uint64_t all_drops(const worker::Worker& worker) {
  uint64_t count = 0;
  for (size_t reason = 0; reason < kDropReasons; ++reason)
    count += worker.drops_of(static_cast<DropReason>(reason));
  return count;
}

void expect_no_faults(ClusterInProcess& c) {
  for (const std::string& fault : c.faults()) ADD_FAILURE() << fault << c.describe();
}

std::vector<uint8_t> spoil(std::vector<uint8_t> frame, Random& random) {
  for (uint32_t i = 0, count = 1 + random.below(4); i < count; ++i)
    frame[random.below(static_cast<uint32_t>(frame.size()))] ^= static_cast<uint8_t>(1U << random.below(8));
  if (random.chance(1, 4)) frame.resize(14 + random.below(static_cast<uint32_t>(frame.size() - 13)));
  return frame;
}

std::vector<uint8_t> random_frame(Random& random) {
  std::vector<uint8_t> frame(14 + random.below(1500));
  for (uint8_t& byte : frame) byte = static_cast<uint8_t>(random.next());
  if (random.chance(3, 4)) std::fill_n(frame.begin(), 6, uint8_t{0xff});
  constexpr uint16_t kTypes[] = {0x0800, 0x0806, 0x88b5, 0x86dd};
  const uint16_t type = kTypes[random.below(4)];
  frame[12] = static_cast<uint8_t>(type >> 8);
  frame[13] = static_cast<uint8_t>(type);
  return frame;
}

TEST(HostileWorker, AnyBytesAreCountedAndServiceGoesOn) {
  for (const unsigned workers : {1U, 2U}) {
    ClusterInProcess c({.seed = 70, .workers_of_n1 = workers});
    ASSERT_TRUE(c.boot()) << c.describe();
    c.run_for(300ms);
    Random random(71);
    std::array<std::vector<std::vector<uint8_t>>, ClusterInProcess::networks> heard;
    for (size_t n = 0; n < heard.size(); ++n) {
      auto watch = c.network(static_cast<Network>(n)).observer;
      c.network(static_cast<Network>(n)).observer = [&heard, n, watch](const SwitchPort& from,
                                                                       std::span<const uint8_t> frame) {
        watch(from, frame);
        // ARP believes what it is told, by anybody: lies that are well-formed are no matter of parsing.
        const bool is_arp = frame[12] == 0x08 && frame[13] == 0x06;
        if (heard[n].size() < 400 && !is_arp) heard[n].emplace_back(frame.begin(), frame.end());
      };
    }
    c.transfer(50'000, 50'000);
    ASSERT_TRUE(c.run_until([&] { return c.all_done(); }, 5s)) << c.describe();
    c.run_for(500ms);
    const unsigned before = rte_mempool_in_use_count(c.pool(0));
    for (int batch = 0; batch < 1000; ++batch) {
      for (int i = 0; i < 100; ++i) {
        const size_t n = random.below(3);
        auto frame = random.chance(1, 2)
                         ? random_frame(random)
                         : spoil(heard[n][random.below(static_cast<uint32_t>(heard[n].size()))], random);
        c.network(static_cast<Network>(n)).inject(c.port(0, static_cast<Network>(n)), std::move(frame));
      }
      c.run_for(100us);
    }
    EXPECT_GT(all_drops(c.worker(0, 0)), 40'000U);
    EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
    c.transfer(100'000, 100'000);
    EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, 10s)) << c.describe();
    EXPECT_TRUE(c.run_until([&] { return c.is_protected(); }, 5s)) << c.describe();
    EXPECT_TRUE(c.run_until([&] { return rte_mempool_in_use_count(c.pool(0)) <= before + 16; }, 10s))
        << rte_mempool_in_use_count(c.pool(0)) << " buffers do not come back" << c.describe();
  }
}

constexpr MacAddress kGroupMac({0x02, 0x55, 0x53, 0x00, 0x00, 0x01});
constexpr MacAddress kAttacker({2, 0, 0, 0, 0x66, 0x66});

std::vector<uint8_t> forged(const wire::TcpSegmentToSend& segment) {
  rte_mbuf* frame = rte_pktmbuf_alloc(test_mbuf_pool());
  wire::build_tcp_frame(frame, segment);
  const wire::EthernetHeader ethernet{kGroupMac.bytes(), kAttacker.bytes(),
                                      wire::ether_type_of_packet(frame)};
  std::memcpy(rte_pktmbuf_mtod(frame, void*), &ethernet, sizeof ethernet);
  const auto* bytes = rte_pktmbuf_mtod(frame, const uint8_t*);
  std::vector<uint8_t> copy(bytes, bytes + frame->data_len);
  rte_pktmbuf_free(frame);
  return copy;
}

// SYNs and stray segments in the name of every address of the network, from one machine: the answers go back
// to it, nobody is asked for these addresses, and those who are known stay known.
TEST(HostileWorker, AFloodUnderOnLinkAddressesLeavesTheNeighbourTableAlone) {
  ClusterInProcess c({.seed = 75});
  ASSERT_TRUE(c.boot()) << c.describe();
  c.transfer(20'000, 20'000);
  ASSERT_TRUE(c.run_until([&] { return c.all_done(); }, 5s)) << c.describe();
  uint64_t to_attacker = 0;
  uint64_t asked = 0;
  c.network(Network::front).observer = [&, watch = c.network(Network::front).observer](
                                           const SwitchPort& from, std::span<const uint8_t> frame) {
    watch(from, frame);
    to_attacker += std::equal(frame.begin(), frame.begin() + 6, kAttacker.bytes().begin());
    asked += frame[12] == 0x08 && frame[13] == 0x06 && frame[38] == 10 && frame[39] == 10 && frame[41] >= 120;
  };
  const uint32_t before = c.worker(0, 0).resolver().neighbours().size();
  for (uint32_t i = 0; i < 4000; ++i) {
    wire::TcpSegmentToSend s;
    s.key = {IpAddress::v4(0x0a0a0000 + 120 + i % 130), IpAddress::v4(0x0a0a000a),
             PortNumber(static_cast<uint16_t>(1024 + i)), PortNumber(80)};
    s.seq = Seq(i * 7919);
    s.ack = Seq(i);
    s.flags = i % 4 == 0 ? wire::kAck : wire::kSyn;
    s.window = 1000;
    c.network(Network::front).inject(c.port(0, Network::front), forged(s));
    if (i % 16 == 0) c.run_for(100us);
  }
  c.run_for(3s);  // SYN-ACKs are said again
  EXPECT_GE(to_attacker, 3000U) << "each SYN is answered, by a SYN-ACK or a cookie";
  EXPECT_EQ(asked, 0U);
  EXPECT_EQ(c.worker(0, 0).resolver().neighbours().size(), before);
  c.transfer(100'000, 100'000);
  EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, 10s)) << c.describe();
  expect_no_faults(c);
}

TEST(HostileWorker, WithoutBuffersForAWhile) {
  ClusterInProcess c({.seed = 80});
  ASSERT_TRUE(c.boot()) << c.describe();
  c.transfer(300'000, 300'000);
  c.run_for(20ms);
  std::vector<rte_mbuf*> held;
  while (rte_mbuf* mbuf = rte_pktmbuf_alloc(c.pool(0))) held.push_back(mbuf);
  c.run_for(60ms);
  for (rte_mbuf* mbuf : held) rte_pktmbuf_free(mbuf);
  EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, 20s)) << c.describe();
  expect_no_faults(c);
  EXPECT_TRUE(c.run_until([&] { return c.is_protected(); }, 5s)) << c.describe();
}

TEST(HostileWorker, ASlowStandbySlowsItsOwnerDownAndNothingIsLost) {
  for (uint64_t seed = 90; seed < 94; ++seed) {
    ClusterInProcess c({.seed = seed, .bits_per_second = 200'000'000, .peer_bits_per_second = 8'000'000});
    ASSERT_TRUE(c.boot()) << c.describe();
    const Instant begun = c.now();
    for (int i = 0; i < 12; ++i) c.transfer(150'000, 20'000);
    c.run_for(400ms);
    EXPECT_EQ(c.worker(0, 0).status().standby_drops.load(), 0U) << "slow is not lost" << c.describe();
    EXPECT_FALSE(c.all_done()) << "the peer link did not limit anything";
    c.kill(0);
    EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, 30s)) << c.describe();
    EXPECT_GT(c.now() - begun, 400ms);
    expect_no_faults(c);
  }
}

}  // namespace
}  // namespace understudy
