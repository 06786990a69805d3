#include "dataplane/neighbour/resolver.h"

#include <algorithm>

#include "common/check.h"
#include "dataplane/wire/frame.h"

namespace understudy::neighbour {
namespace {

std::vector<MacAddress> macs_of(const std::vector<ResolverPort>& ports) {
  std::vector<MacAddress> macs;
  macs.reserve(ports.size());
  for (const ResolverPort& port : ports) macs.push_back(port.mac);
  return macs;
}

}  // namespace

Resolver::Resolver(const ResolverSettings& settings, rte_mempool* pool, Egress& egress, DropCounters& drops)
    : ports_(settings.ports),
      voice_(settings.voice),
      pool_(pool),
      egress_(egress),
      drops_(drops),
      claims_(macs_of(settings.ports)),
      neighbours_(settings.limits, *this) {
  witnesses_.reserve(kWitnessesMax);
  for (uint16_t port = 0; port < claims_.ports(); ++port) {
    for (const Prefix& address : ports_[port].addresses) {
      routes_.add_connected(port, address);
      claims_.add_own(port, address.address);
    }
  }
}

Status Resolver::add_route(const Prefix& destination, const IpAddress& gateway) {
  return routes_.add_route(destination, gateway);
}

void Resolver::add_group_address(GroupId group, uint16_t port, const IpAddress& address,
                                 const MacAddress& mac) {
  claims_.add_group_address(group, port, address, mac);
  announcements_.add(group);
}

void Resolver::claim(GroupId group, Instant now) {
  claims_.set_active(group, true);
  if (voice_ == Voice::silent) return;
  announcements_.start(group, now);
  tick(now);
}

void Resolver::release(GroupId group) {
  claims_.set_active(group, false);
  announcements_.stop(group);
  discard_waiting(group);
}

void Resolver::pass_on(GroupId group) {
  claims_.set_passing(group);
  announcements_.stop(group);
  discard_waiting(group);
}

// What waits for a neighbour's answer would be said by whoever has the group by then.
void Resolver::discard_waiting(GroupId group) {
  neighbours_.discard_waiting(DropReason::group_muted, [&](const rte_mbuf* frame) {
    const IpAddress source = wire::source_of_packet(frame);
    return std::ranges::any_of(
        claims_.all(), [&](const Claim& claim) { return claim.group == group && claim.address == source; });
  });
}

bool Resolver::warm(const IpAddress& source, const IpAddress& destination, Instant now) {
  const auto hop = routes_.find(destination);
  return hop && neighbours_.warm(hop->port, hop->address, source, now);
}

void Resolver::send(rte_mbuf* frame, const IpAddress& source, const IpAddress& destination, Instant now) {
  const auto hop = routes_.find(destination);
  if (!hop) {
    drop(DropReason::no_route, frame);
    return;
  }
  neighbours_.send(hop->port, hop->address, source, frame, now);
}

void Resolver::doubt(const IpAddress& destination, Instant now) {
  if (const auto hop = routes_.find(destination)) neighbours_.doubt(hop->port, hop->address, now);
}

void Resolver::send_back(rte_mbuf* frame, const IpAddress& source, const IpAddress& destination,
                         uint16_t port, const MacAddress& mac, Instant now) {
  const auto hop = routes_.find(destination);
  const bool unknown_here = hop && hop->port == port && hop->address == destination &&
                            !neighbours_.mac_of(port, destination).has_value();
  if (unknown_here && !mac.is_multicast() && !mac.is_zero()) return forward(port, mac, frame);
  send(frame, source, destination, now);
}

// A node that shares our virtual MAC gives itself away by the Ethernet source of its frames: only
// announcements carry the group's MAC there.
bool Resolver::is_rival(const Claim& claim, const Statement& statement) const {
  const MacAddress& own = claims_.mac_of_port(claim.port);
  if (statement.ethernet_source == own) return false;  // our own frame, sent back by the network
  return statement.mac != claim.mac || statement.ethernet_source != claim.mac;
}

void Resolver::meet_rival(const Claim& claim, const Statement& statement, Instant now) {
  ++counters_.rivals_heard;
  last_rival_ =
      RivalSighting{claim.port, claim.address, claim.group, statement.mac, statement.ethernet_source, now};
  if (voice_ == Voice::silent) return;
  if (claim.group) {
    if (announcements_.may_defend(*claim.group, now)) announce({*claim.group, Announcements::Round::defence});
    return;
  }
  if (own_defended_ && now - *own_defended_ < Announcements::kDefenceGap) return;
  own_defended_ = now;
  announce_to_all(claim);
}

void Resolver::tick(Instant now) {
  neighbours_.tick(now);
  while (const auto due = announcements_.next_due(now)) announce(*due);
}

Instant Resolver::next_deadline() const {
  return std::min(neighbours_.next_deadline(), announcements_.next_deadline());
}

bool Resolver::probe(const IpAddress& ip, Instant now) {
  const auto port = routes_.connected_port(ip);
  if (!port) return false;
  auto witness = std::find_if(witnesses_.begin(), witnesses_.end(),
                              [&](const Witness& known) { return known.ip == ip; });
  if (witness == witnesses_.end()) {
    if (witnesses_.size() == kWitnessesMax) return false;
    witness = witnesses_.insert(witnesses_.end(), Witness{ip, {}, {}});
  }
  const bool answered_last = witness->answered && witness->probed && *witness->answered >= *witness->probed;
  const auto mac = answered_last ? neighbours_.mac_of(*port, ip) : std::nullopt;
  witness->probed = now;
  if (send_request(*port, ip, mac.value_or(MacAddress::broadcast()), IpAddress()))
    ++counters_.witness_requests_sent;
  return true;
}

std::optional<Instant> Resolver::last_answer(const IpAddress& ip) const {
  for (const Witness& witness : witnesses_)
    if (witness.ip == ip) return witness.answered;
  return std::nullopt;
}

void Resolver::note_answer(const IpAddress& ip, Instant now) {
  ++counters_.answers_received;
  for (Witness& witness : witnesses_)
    if (witness.ip == ip) witness.answered = now;
}

void Resolver::ask(uint16_t port, const IpAddress& ip, const MacAddress& to, const IpAddress& source) {
  if (send_request(port, ip, to, source)) ++counters_.requests_sent;
}

void Resolver::forward(uint16_t port, const MacAddress& mac, rte_mbuf* frame) {
  const wire::EthernetHeader header{mac.bytes(), claims_.mac_of_port(port).bytes(),
                                    wire::ether_type_of_packet(frame)};
  std::memcpy(rte_pktmbuf_mtod(frame, void*), &header, sizeof header);
  egress_.emit(port, frame);
}

void Resolver::drop(DropReason reason, rte_mbuf* frame) {
  drops_.count(reason);
  rte_pktmbuf_free(frame);
}

const Prefix* Resolver::own_address_near(uint16_t port, const IpAddress& ip) const {
  const Prefix* found = nullptr;
  for (const Prefix& own : ports_[port].addresses) {
    if (own.contains(ip)) return &own;
    if (found == nullptr && own.address.is_v4() == ip.is_v4()) found = &own;
  }
  return found;
}

bool Resolver::send_request(uint16_t port, const IpAddress& ip, const MacAddress& to,
                            const IpAddress& source) {
  return ip.is_v4() ? send_arp_request(port, ip, to, source) : send_solicitation(port, ip, to, source);
}

bool Resolver::emit(uint16_t port, std::span<const uint8_t> frame) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
  if (mbuf == nullptr) {
    drops_.count(DropReason::mbuf_pool_empty);
    return false;
  }
  char* data = rte_pktmbuf_append(mbuf, static_cast<uint16_t>(frame.size()));
  invariant(data != nullptr, "resolver: a pool whose buffers do not hold a request");
  std::memcpy(data, frame.data(), frame.size());
  egress_.emit(port, mbuf);
  return true;
}

void Resolver::announce(const Announcements::Due& due) {
  for (const Claim& claim : claims_.all()) {
    if (claim.group != due.group || !claim.active) continue;
    announce_to_all(claim);
    if (due.round == Announcements::Round::after_claim) announce_to_known(claim);
  }
}

void Resolver::announce_to_all(const Claim& claim) {
  if (claim.address.is_v4())
    announce_by_arp(claim, claim.address, MacAddress::broadcast());
  else
    announce_by_advertisement(claim, wire::kAllNodes, wire::multicast_mac(wire::kAllNodes));
}

void Resolver::announce_to_known(const Claim& claim) {
  neighbours_.for_each_known(claim.port, [&](const IpAddress& ip, const MacAddress& mac) {
    if (ip.is_v4() != claim.address.is_v4()) return;
    if (ip.is_v4())
      announce_by_arp(claim, ip, mac);
    else
      announce_by_advertisement(claim, ip, mac);
  });
}

}  // namespace understudy::neighbour
