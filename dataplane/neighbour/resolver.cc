#include "dataplane/neighbour/resolver.h"

#include <algorithm>

#include "common/check.h"

namespace understudy::neighbour {
namespace {

using Operation = wire::ArpPacket::Operation;

std::vector<MacAddress> macs_of(const std::vector<ResolverPort>& ports) {
  std::vector<MacAddress> macs;
  macs.reserve(ports.size());
  for (const ResolverPort& port : ports) macs.push_back(port.mac);
  return macs;
}

ArpFrame framed(const wire::ArpPacket& packet, const MacAddress& destination, const MacAddress& source) {
  ArpFrame frame;
  wire::build_arp_frame(frame, destination, source, packet);
  return frame;
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
}

void Resolver::send(rte_mbuf* frame, const IpAddress& source, const IpAddress& destination, Instant now) {
  const auto hop = routes_.find(destination);
  if (!hop || !hop->address.is_v4()) {
    drop(DropReason::no_route, frame);
    return;
  }
  neighbours_.send(hop->port, hop->address, source, frame, now);
}

void Resolver::receive_arp(uint16_t port, const wire::ArpPacket& packet, const MacAddress& ethernet_source,
                           Instant now) {
  if (port >= claims_.ports() || packet.sender_mac.is_multicast() || packet.sender_mac.is_zero()) {
    drops_.count(DropReason::arp_malformed);
    return;
  }
  if (const Claim* claim = claims_.find(port, packet.sender_ip)) {
    if (is_rival(*claim, packet, ethernet_source)) meet_rival(*claim, packet, ethernet_source, now);
    return;  // never a neighbour
  }
  const bool to_us = claims_.find(port, packet.target_ip) != nullptr;
  if (!packet.sender_ip.is_unspecified() && routes_.is_on_link(port, packet.sender_ip)) {
    const bool is_answer = packet.operation == Operation::reply && to_us;
    Heard how = Heard::in_passing;
    if (is_answer) {
      how = Heard::answer;
    } else if (to_us) {
      how = Heard::request_to_us;
    }
    neighbours_.heard(port, packet.sender_ip, packet.sender_mac, how, now);
    if (is_answer) note_answer(packet.sender_ip, now);
  }
  if (voice_ == Voice::silent) return;
  const auto reply = claims_.answer(port, packet);
  if (reply && emit_arp(port, *reply)) ++counters_.replies_sent;
}

// A node that shares our virtual MAC gives itself away by the Ethernet source of its frames: only
// announcements carry the group's MAC there.
bool Resolver::is_rival(const Claim& claim, const wire::ArpPacket& packet,
                        const MacAddress& ethernet_source) const {
  const MacAddress& own = claims_.mac_of_port(claim.port);
  if (ethernet_source == own) return false;  // our own frame, sent back by the network
  return packet.sender_mac != claim.mac || ethernet_source != claim.mac;
}

void Resolver::meet_rival(const Claim& claim, const wire::ArpPacket& packet,
                          const MacAddress& ethernet_source, Instant now) {
  ++counters_.rivals_heard;
  last_rival_ =
      RivalSighting{claim.port, claim.address, claim.group, packet.sender_mac, ethernet_source, now};
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
  if (!port || !ip.is_v4()) return false;
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
  const wire::EthernetHeader header{mac.bytes(), claims_.mac_of_port(port).bytes(), wire::kEtherTypeIpv4};
  std::memcpy(rte_pktmbuf_mtod(frame, void*), &header, sizeof header);
  egress_.emit(port, frame);
}

void Resolver::drop(DropReason reason, rte_mbuf* frame) {
  drops_.count(reason);
  rte_pktmbuf_free(frame);
}

// We ask under the node's own address, preferably one of the network in question: under a group's address
// the request would tie that address to a MAC, which is for announcements to do. A port without an address
// of its own asks under the packet's source if that is claimed, else as a probe (RFC 5227 section 2.1.1).
wire::ArpPacket Resolver::request_for(uint16_t port, const IpAddress& ip, const IpAddress& source) const {
  wire::ArpPacket packet;
  packet.operation = Operation::request;
  packet.sender_mac = claims_.mac_of_port(port);
  packet.sender_ip = IpAddress::v4(0);
  packet.target_ip = ip;
  const auto& own = ports_[port].addresses;
  const auto near =
      std::find_if(own.begin(), own.end(), [&](const Prefix& address) { return address.contains(ip); });
  if (near != own.end()) {
    packet.sender_ip = near->address;
  } else if (!own.empty()) {
    packet.sender_ip = own.front().address;
  } else if (const Claim* claim = claims_.find(port, source)) {
    packet.sender_mac = claim->mac;
    packet.sender_ip = claim->address;
  }
  return packet;
}

bool Resolver::send_request(uint16_t port, const IpAddress& ip, const MacAddress& to,
                            const IpAddress& source) {
  return emit_arp(port, framed(request_for(port, ip, source), to, claims_.mac_of_port(port)));
}

bool Resolver::emit_arp(uint16_t port, const ArpFrame& frame) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
  if (mbuf == nullptr) {
    drops_.count(DropReason::mbuf_pool_empty);
    return false;
  }
  char* data = rte_pktmbuf_append(mbuf, uint16_t{wire::kArpFrameBytes});
  invariant(data != nullptr, "resolver: a pool whose buffers do not hold an ARP frame");
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

// A request, not a reply: Linux ignores replies while its entry is younger than locktime.
void Resolver::announce_to_all(const Claim& claim) {
  wire::ArpPacket packet;
  packet.operation = Operation::request;
  packet.sender_mac = claim.mac;
  packet.sender_ip = claim.address;
  packet.target_ip = claim.address;
  if (emit_arp(claim.port, framed(packet, MacAddress::broadcast(), claim.mac)))
    ++counters_.announcements_sent;
}

// An ordinary request for the neighbour's own address overrides what it knew of ours, whatever its policy
// about announcements is.
void Resolver::announce_to_known(const Claim& claim) {
  wire::ArpPacket packet;
  packet.operation = Operation::request;
  packet.sender_mac = claim.mac;
  packet.sender_ip = claim.address;
  neighbours_.for_each_known(claim.port, [&](const IpAddress& ip, const MacAddress& mac) {
    packet.target_ip = ip;
    if (emit_arp(claim.port, framed(packet, mac, claim.mac))) ++counters_.announcements_sent;
  });
}

}  // namespace understudy::neighbour
