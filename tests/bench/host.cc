#include "tests/bench/host.h"

#include <algorithm>
#include <array>

#include "common/check.h"

namespace understudy::bench {
namespace {

constexpr uint32_t kFirstPort = 1024;
constexpr uint32_t kPorts = 65536 - kFirstPort;

}  // namespace

Host::Host(Settings settings, Port& port, const tcp::ShardMap& shards, rte_mempool* pool, Instant start)
    : settings_(std::move(settings)),
      port_(port),
      pool_(pool),
      engine_(settings_.engine, Secret{{4, 5, 6}}, shards, pool, *this, start) {
  const tcp::GroupIndex group = engine_.add_group(GroupId(1), true);
  for (const IpAddress& address : settings_.addresses) engine_.add_address(group, address);
}

void Host::serve(PortNumber port, tcp::Application& application) {
  tcp::Service service;
  service.id = kService;
  if (port != PortNumber()) service.addresses = settings_.addresses;
  service.first_port = service.last_port = port;
  service.application = &application;
  service.protect = false;
  service.idle_timeout = 24h;
  engine_.add_service(service);
}

uint32_t Host::connect(const IpAddress& remote, PortNumber port, Instant now) {
  for (uint32_t tries = 0; tries < kPorts; ++tries) {
    const uint64_t nth = next_connection_++;
    const FlowKey key{
        settings_.addresses[nth % settings_.addresses.size()], remote,
        PortNumber(static_cast<uint16_t>(kFirstPort + nth / settings_.addresses.size() % kPorts)), port};
    if (engine_.legs().find(key) != tcp::kNone) continue;
    const tcp::Service* service = engine_.find_service(kService);
    const uint32_t leg = engine_.connect(0, key, service, now);
    invariant(leg == tcp::kNone || service->application->attach(engine_, leg),
              "bench: no pipes for a connection");
    return leg;
  }
  return tcp::kNone;
}

bool Host::run_once(Instant now) {
  std::array<rte_mbuf*, 64> burst;
  bool any = false;
  for (;;) {
    const uint16_t count = port_.receive(burst);
    for (uint16_t i = 0; i < count; ++i) receive(burst[i], now);
    any |= count > 0;
    if (count < burst.size()) break;
  }
  engine_.run_timers(now);
  settle(now);
  send_all();
  return any;
}

// What a worker without a standby does at the end of a burst. Committing may release output, and output may
// move state.
void Host::settle(Instant now) {
  do {
    engine_.commit_pending();
    engine_.flush(now);
  } while (!engine_.log_pending().empty());
}

void Host::receive(rte_mbuf* frame, Instant now) {
  const auto parsed = wire::parse_frame(frame);
  if (const auto* segment = std::get_if<wire::TcpSegment>(&parsed))
    return engine_.receive(frame, *segment, now);
  if (const auto* arp = std::get_if<wire::ArpPacket>(&parsed)) answer_arp(*arp);
  rte_pktmbuf_free(frame);
}

void Host::answer_arp(const wire::ArpPacket& request) {
  if (request.operation != wire::ArpPacket::Operation::request) return;
  if (std::ranges::find(settings_.addresses, request.target_ip) == settings_.addresses.end()) return;
  rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
  if (frame == nullptr) return;
  auto* bytes = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(frame, wire::kArpFrameBytes));
  const wire::ArpPacket reply{.operation = wire::ArpPacket::Operation::reply,
                              .sender_mac = port_.mac(),
                              .sender_ip = request.target_ip,
                              .target_mac = request.sender_mac,
                              .target_ip = request.sender_ip};
  wire::build_arp_frame({bytes, wire::kArpFrameBytes}, request.sender_mac, port_.mac(), reply);
  outgoing_.push_back(frame);
}

void Host::transmit(rte_mbuf* frame, const FlowKey&) {
  auto* ethernet = rte_pktmbuf_mtod(frame, wire::EthernetHeader*);
  ethernet->destination = settings_.next_hop.bytes();
  ethernet->source = port_.mac().bytes();
  ethernet->type = wire::ether_type_of_packet(frame);
  outgoing_.push_back(frame);
}

void Host::send_all() {
  port_.transmit(outgoing_);
  outgoing_.clear();
}

}  // namespace understudy::bench
