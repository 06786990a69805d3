// Whole transfers between engines in virtual time: every byte is checked against its generator.
#include <array>
#include <functional>
#include <tuple>

#include <gtest/gtest.h>

#include "dataplane/service/proxy.h"
#include "dataplane/service/stream_applications.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/virtual_network.h"

namespace understudy {
namespace {

const IpAddress kClient = IpAddress::v4(0x0a0a0064);
const IpAddress kServer = IpAddress::v4(0x0a0a000a);
const IpAddress kSource = IpAddress::v4(0x0a140064);
const IpAddress kBackend = IpAddress::v4(0x0a14000b);

tcp::Service service_on(const IpAddress& address, uint16_t port, tcp::Application& application,
                        uint16_t id = 1) {
  return {.id = ServiceId(id),
          .group = 0,
          .addresses = {address},
          .first_port = PortNumber(port),
          .last_port = PortNumber(port),
          .application = &application};
}

struct TwoHosts {
  TwoHosts(uint64_t seed, StreamPeer& client_app, tcp::Application& server_app,
           tcp::EngineSettings settings = {})
      : network(seed),
        client(network.add_host(settings)),
        server(network.add_host(settings)),
        client_application(client_app) {
    client.engine.add_group(GroupId(1), true);
    client.engine.add_address(0, kClient);
    client.engine.add_service(service_on(kClient, 1, client_app));
    server.engine.add_group(GroupId(1), true);
    server.engine.add_address(0, kServer);
    server.engine.add_service(service_on(kServer, 80, server_app));
    network.add_address(kClient, client);
    network.add_address(kServer, server);
    network.filter = [](const wire::TcpSegment&) { return true; };
  }
  void connect(StreamPeer& app, uint16_t to_port = 80) {
    const FlowKey key{kClient, kServer, PortNumber(40000), PortNumber(to_port)};
    const uint32_t leg =
        client.engine.connect(0, key, client.engine.find_service(ServiceId(1)), network.now());
    ASSERT_NE(leg, tcp::kNone);
    ASSERT_TRUE(app.attach(client.engine, leg));
  }
  // The client writes on as its queue drains. False on the limit.
  bool client_writes_until(const std::function<bool()>& until, Duration limit) {
    return network.run_until(
        [&] {
          client_application.pump(client.engine);
          return until();
        },
        limit);
  }
  VirtualNetwork network;
  VirtualNetwork::Host& client;
  VirtualNetwork::Host& server;
  StreamPeer& client_application;
};

// Both ends send at once and close when done.
void transfer_both_ways(uint64_t seed, VirtualNetwork::Path path, uint64_t bytes, Duration limit) {
  const unsigned before = test_mbufs_in_use();
  {
    StreamPeer client_app(1, bytes, 2);
    StreamPeer server_app(2, bytes, 1);
    TwoHosts hosts(seed, client_app, server_app);
    hosts.network.path = path;
    hosts.connect(client_app);
    const bool done = hosts.network.run_until(
        [&] {
          client_app.pump(hosts.client.engine);
          server_app.pump(hosts.server.engine);
          return client_app.peer_finished && server_app.peer_finished;
        },
        limit);
    EXPECT_TRUE(done) << "seed " << seed << ": " << client_app.received << " and " << server_app.received
                      << " of " << bytes;
    EXPECT_EQ(client_app.received, bytes);
    EXPECT_EQ(server_app.received, bytes);
    EXPECT_EQ(client_app.wrong + server_app.wrong, 0U) << "seed " << seed;
    EXPECT_TRUE(hosts.network.run_until(
        [&] { return hosts.client.engine.legs().size() == 0 && hosts.server.engine.legs().size() == 0; },
        180s));
    EXPECT_EQ(hosts.network.resets_seen(), 0U);
  }
  EXPECT_EQ(test_mbufs_in_use(), before) << "seed " << seed;
}

TEST(Transfer, BothWaysOverACleanNetwork) {
  transfer_both_ways(1, {}, 3'000'000, 10s);
}

TEST(Transfer, TwoPercentLoss) {
  for (uint64_t seed = 1; seed <= 10; ++seed)
    transfer_both_ways(seed, {.delay = 500us, .loss_per_mille = 20}, 500'000, 60s);
}

TEST(Transfer, LossDuplicationAndReordering) {
  for (uint64_t seed = 1; seed <= 20; ++seed)
    transfer_both_ways(
        seed, {.delay = 1ms, .loss_per_mille = 30, .duplicate_per_mille = 30, .reorder_per_mille = 100},
        200'000, 120s);
}

TEST(Transfer, SpeedUnderTwoPercentLossIsBoundByRecoveryNotByTimeouts) {
  StreamPeer client_app(1, 10'000'000, 2);
  StreamPeer server_app(2, 0, 1);
  TwoHosts hosts(7, client_app, server_app);
  hosts.network.path = {.delay = 200us, .loss_per_mille = 20};
  hosts.connect(client_app);
  const Instant start = hosts.network.now();
  ASSERT_TRUE(hosts.client_writes_until([&] { return server_app.peer_finished; }, 60s));
  // 1.2 * MSS / (RTT * sqrt(p)) is about 30 MB/s here (Mathis et al. 1997); a sender that lives on timeouts
  // gets 1.
  EXPECT_LT(hosts.network.now() - start, 3s);
  EXPECT_LT(hosts.client.engine.counters().timeouts, 10U);
}

TEST(Transfer, AClosedWindowIsProbedAndOpensAgain) {
  StreamPeer client_app(1, 2'000'000, 2);
  StreamPeer server_app(2, 0, 1);
  TwoHosts hosts(3, client_app, server_app);
  server_app.reading = false;
  hosts.connect(client_app);
  hosts.client_writes_until([&] { return false; }, 5s);
  EXPECT_EQ(server_app.received, 0U);
  server_app.reading = true;
  server_app.on_data(hosts.server.engine, server_app.leg.index, hosts.network.now());
  ASSERT_TRUE(hosts.client_writes_until([&] { return server_app.peer_finished; }, 10s));
  EXPECT_EQ(server_app.received, 2'000'000U);
  EXPECT_EQ(server_app.wrong, 0U);
}

TEST(Transfer, AWindowUpdateThatIsLostIsFoundByTheProbe) {
  StreamPeer client_app(1, 2'000'000, 2);
  StreamPeer server_app(2, 0, 1);
  TwoHosts hosts(3, client_app, server_app);
  server_app.reading = false;
  hosts.connect(client_app);
  hosts.client_writes_until([&] { return false; }, 1s);
  hosts.network.path.loss_per_mille = 1000;
  server_app.reading = true;
  server_app.on_data(hosts.server.engine, server_app.leg.index, hosts.network.now());
  hosts.network.run_for(5ms);
  hosts.network.path.loss_per_mille = 0;
  ASSERT_TRUE(hosts.client_writes_until([&] { return server_app.peer_finished; }, 60s));
  EXPECT_EQ(server_app.received, 2'000'000U);
}

TEST(Transfer, HalfCloseKeepsTheOtherDirectionOpen) {
  StreamPeer client_app(1, 10, 2);
  StreamPeer server_app(2, 1'000'000, 1);
  TwoHosts hosts(3, client_app, server_app);
  hosts.connect(client_app);
  ASSERT_TRUE(hosts.network.run_until([&] { return server_app.peer_finished; }, 5s));
  ASSERT_TRUE(hosts.network.run_until(
      [&] {
        server_app.pump(hosts.server.engine);
        return client_app.peer_finished;
      },
      10s));
  EXPECT_EQ(client_app.received, 1'000'000U);
  EXPECT_EQ(client_app.wrong, 0U);
}

TEST(Transfer, AClosedPortRefuses) {
  StreamPeer client_app(1, 10, 2);
  StreamPeer server_app(2, 10, 1);
  TwoHosts hosts(3, client_app, server_app);
  hosts.connect(client_app, 81);
  ASSERT_TRUE(hosts.network.run_until([&] { return client_app.closed == 1; }, 5s));
  EXPECT_EQ(client_app.reason, tcp::CloseReason::refused);
  EXPECT_EQ(hosts.client.engine.legs().size(), 0U);
}

TEST(Transfer, NobodyThereTimesOut) {
  StreamPeer client_app(1, 10, 2);
  StreamPeer server_app(2, 10, 1);
  TwoHosts hosts(3, client_app, server_app);
  hosts.server.alive = false;
  hosts.connect(client_app);
  ASSERT_TRUE(hosts.network.run_until([&] { return client_app.closed == 1; }, 200s));
  EXPECT_EQ(client_app.reason, tcp::CloseReason::timed_out);
}

TEST(Transfer, EchoReturnsEveryByte) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    StreamPeer client_app(1, 300'000, 1);
    service::Echo echo;
    TwoHosts hosts(seed, client_app, echo);
    hosts.network.path = {
        .delay = 300us, .loss_per_mille = 20, .duplicate_per_mille = 20, .reorder_per_mille = 50};
    hosts.connect(client_app);
    ASSERT_TRUE(hosts.client_writes_until([&] { return client_app.peer_finished; }, 60s)) << seed;
    EXPECT_EQ(client_app.received, 300'000U);
    EXPECT_EQ(client_app.wrong, 0U);
  }
}

struct Family {
  const char* name;
  IpAddress client, server;  // the balancer's virtual IP
  IpAddress source, backend;
};
const IpAddress kClient6 = *IpAddress::parse("fd00:10::100");
const IpAddress kServer6 = *IpAddress::parse("fd00:10::10");
const IpAddress kSource6 = *IpAddress::parse("fd00:20::100");
const IpAddress kBackend6 = *IpAddress::parse("fd00:20::11");
const std::array kFamilies = {Family{"v4", kClient, kServer, kSource, kBackend},
                              Family{"v6", kClient6, kServer6, kSource6, kBackend6},
                              Family{"v6 client, v4 backend", kClient6, kServer6, kSource, kBackend},
                              Family{"v4 client, v6 backend", kClient, kServer, kSource6, kBackend6}};

// Client, load balancer and backend: both streams through one proxied session.
void transfer_through_the_proxy(uint64_t seed, const Family& family) {
  const auto& [name, client_ip, server_ip, source_ip, backend_ip] = family;
  StreamPeer client_app(1, 400'000, 2);
  StreamPeer backend_app(2, 400'000, 1);
  VirtualNetwork network(seed);
  auto& client = network.add_host();
  auto& balancer = network.add_host();
  auto& backend = network.add_host();
  client.engine.add_group(GroupId(1), true);
  client.engine.add_service(service_on(client_ip, 1, client_app));
  backend.engine.add_group(GroupId(1), true);
  backend.engine.add_address(0, backend_ip);
  backend.engine.add_service(service_on(backend_ip, 80, backend_app));
  service::BackendPool pool({{.address = backend_ip, .port = PortNumber(80), .weight = 1, .up = true}});
  service::SourcePool sources({kSource, kSource6}, 99);
  service::Proxy proxy(pool, sources);
  balancer.engine.add_group(GroupId(1), true);
  balancer.engine.add_address(0, server_ip);
  balancer.engine.add_address(0, source_ip);
  balancer.engine.add_service(service_on(server_ip, 80, proxy));
  for (const auto& [address, host] : {std::pair{client_ip, &client},
                                      {server_ip, &balancer},
                                      {source_ip, &balancer},
                                      {backend_ip, &backend}})
    network.add_address(address, *host);
  network.path = {.delay = 300us, .loss_per_mille = 20, .duplicate_per_mille = 10, .reorder_per_mille = 20};
  network.filter = [](const wire::TcpSegment&) { return true; };
  const uint32_t leg = client.engine.connect(0, {client_ip, server_ip, PortNumber(40000), PortNumber(80)},
                                             client.engine.find_service(ServiceId(1)), network.now());
  ASSERT_TRUE(client_app.attach(client.engine, leg));
  ASSERT_TRUE(network.run_until(
      [&] {
        client_app.pump(client.engine);
        backend_app.pump(backend.engine);
        return client_app.peer_finished && backend_app.peer_finished;
      },
      60s))
      << name << ", seed " << seed << " " << client_app.received << " " << backend_app.received;
  EXPECT_EQ(client_app.received + backend_app.received, 800'000U);
  EXPECT_EQ(client_app.wrong + backend_app.wrong, 0U);
  EXPECT_EQ(network.resets_seen(), 0U);
  EXPECT_TRUE(network.run_until([&] { return balancer.engine.legs().size() == 0; }, 180s));
}

TEST(Transfer, ThroughTheProxyUnderLoss) {
  for (uint64_t seed = 1; seed <= 10; ++seed)
    for (const Family& family : kFamilies) transfer_through_the_proxy(seed, family);
}

// RFC 9293 section 3.7.1 for IPv6: what we announce, what we assume of a peer that says nothing, and that a
// full segment fills a packet of 1500 bytes and not more.
TEST(Transfer, SegmentSizesOfIpv6) {
  StreamPeer client_app(1, 200'000, 2);
  StreamPeer server_app(2, 0, 1);
  VirtualNetwork network(3);
  auto& client = network.add_host();
  auto& server = network.add_host();
  client.engine.add_group(GroupId(1), true);
  client.engine.add_address(0, kClient6);
  client.engine.add_service(service_on(kClient6, 1, client_app));
  server.engine.add_group(GroupId(1), true);
  server.engine.add_address(0, kServer6);
  server.engine.add_service(service_on(kServer6, 80, server_app));
  network.add_address(kClient6, client);
  network.add_address(kServer6, server);
  uint16_t longest = 0;
  int offers = 0;
  network.filter = [&](const wire::TcpSegment& segment) {
    if (segment.has(wire::kSyn)) {
      ++offers;
      EXPECT_EQ(segment.options.mss, 1440);
    }
    longest = std::max(longest, segment.payload_length);
    return true;
  };
  const uint32_t leg = client.engine.connect(0, {kClient6, kServer6, PortNumber(40000), PortNumber(80)},
                                             client.engine.find_service(ServiceId(1)), network.now());
  ASSERT_TRUE(client_app.attach(client.engine, leg));
  ASSERT_TRUE(network.run_until(
      [&] {
        client_app.pump(client.engine);
        return server_app.peer_finished;
      },
      10s));
  EXPECT_EQ(offers, 2);
  EXPECT_EQ(longest, 1440 - 12) << "timestamps take 12";
  EXPECT_EQ(server_app.wrong, 0U);
}

// A SYN without options, as the simplest peer sends it.
TEST(Transfer, APeerThatDoesNotSayItsSegmentSize) {
  for (const auto& [client_ip, server_ip, mss] :
       {std::tuple{kClient, kServer, 536}, std::tuple{kClient6, kServer6, 1220}}) {
    StreamPeer server_app(2, 0, 1);
    VirtualNetwork network(3);
    auto& server = network.add_host();
    server.engine.add_group(GroupId(1), true);
    server.engine.add_address(0, server_ip);
    server.engine.add_service(service_on(server_ip, 80, server_app));
    wire::TcpSegmentToSend syn;
    syn.key = {client_ip, server_ip, PortNumber(40000), PortNumber(80)};
    syn.flags = wire::kSyn;
    rte_mbuf* frame = rte_pktmbuf_alloc(test_mbuf_pool());
    wire::build_tcp_frame(frame, syn);
    rte_pktmbuf_mtod(frame, wire::EthernetHeader*)->type = wire::ether_type_of_packet(frame);
    const auto parsed = wire::parse_frame(frame);
    server.engine.receive(frame, std::get<wire::TcpSegment>(parsed), network.now());
    const uint32_t leg = server.engine.legs().find({server_ip, client_ip, PortNumber(80), PortNumber(40000)});
    ASSERT_NE(leg, tcp::kNone);
    EXPECT_EQ(server.engine.legs()[leg].mss, mss);
  }
}

}  // namespace
}  // namespace understudy
