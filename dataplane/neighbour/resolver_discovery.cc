// Neighbour discovery, RFC 4861: address resolution, reachability, and the defence of RFC 4862.
#include "dataplane/neighbour/resolver.h"

namespace understudy::neighbour {
namespace {

using Kind = wire::NeighbourMessage::Kind;

NeighbourFrame framed(const wire::NeighbourMessage& message, const MacAddress& destination,
                      const MacAddress& source) {
  NeighbourFrame frame;
  wire::build_neighbour_frame(frame, destination, source, message);
  return frame;
}

bool is_possible(const MacAddress& mac) {
  return !mac.is_multicast() && !mac.is_zero();
}

}  // namespace

void Resolver::receive_discovery(uint16_t port, const wire::NeighbourMessage& message,
                                 const MacAddress& ethernet_source, Instant now) {
  if (port >= claims_.ports() || (message.link_address && !is_possible(*message.link_address))) {
    drops_.count(DropReason::nd_malformed);
    return;
  }
  if (message.kind == Kind::solicitation)
    receive_solicitation(port, message, ethernet_source, now);
  else
    receive_advertisement(port, message, ethernet_source, now);
}

// RFC 4861 section 7.2.3.
void Resolver::receive_solicitation(uint16_t port, const wire::NeighbourMessage& message,
                                    const MacAddress& ethernet_source, Instant now) {
  const Statement statement{message.source, message.link_address.value_or(ethernet_source), ethernet_source};
  if (const Claim* claim = claims_.find(port, message.source)) {
    if (is_rival(*claim, statement)) meet_rival(*claim, statement, now);
    return;
  }
  const bool to_us = claims_.find(port, message.target) != nullptr;
  if (message.link_address && routes_.is_on_link(port, message.source))
    neighbours_.heard(port, message.source, *message.link_address,
                      to_us ? Heard::request_to_us : Heard::in_passing, now);
  if (voice_ == Voice::silent) return;
  const auto reply = claims_.answer(port, message, ethernet_source);
  if (reply && emit(port, *reply)) ++counters_.replies_sent;
}

// RFC 4861 section 7.2.5. An advertisement without the override flag does not change a MAC that is known; one
// without a MAC confirms the one that is known.
void Resolver::receive_advertisement(uint16_t port, const wire::NeighbourMessage& message,
                                     const MacAddress& ethernet_source, Instant now) {
  if (const Claim* claim = claims_.find(port, message.target)) {
    const Statement statement{message.target, message.link_address.value_or(ethernet_source),
                              ethernet_source};
    if (is_rival(*claim, statement)) meet_rival(*claim, statement, now);
    return;
  }
  if (!routes_.is_on_link(port, message.target)) return;
  const auto known = neighbours_.mac_of(port, message.target);
  const auto said = message.link_address ? message.link_address : known;
  const bool is_answer = message.solicited && claims_.find(port, message.destination) != nullptr;
  if (said && (message.overrides || !known || *known == *said))
    neighbours_.heard(port, message.target, *said, is_answer ? Heard::answer : Heard::in_passing, now);
  if (is_answer) note_answer(message.target, now);
}

// As for ARP, the node's own address is the best to ask under. Without one the packet's source is, if it is
// claimed: a solicitation from the unspecified address would be a probe for duplicates.
std::optional<IpAddress> Resolver::solicitation_source(uint16_t port, const IpAddress& ip,
                                                       const IpAddress& source) const {
  if (const Prefix* own = own_address_near(port, ip)) return own->address;
  if (claims_.find(port, source) != nullptr) return source;
  return std::nullopt;
}

bool Resolver::send_solicitation(uint16_t port, const IpAddress& ip, const MacAddress& to,
                                 const IpAddress& source) {
  const auto from = solicitation_source(port, ip, source);
  if (!from) return false;
  const Claim* claim = claims_.find(port, *from);
  const bool to_all = to == MacAddress::broadcast();
  wire::NeighbourMessage message;
  message.kind = Kind::solicitation;
  message.source = *from;
  message.destination = to_all ? wire::solicited_node_multicast(ip) : ip;
  message.target = ip;
  message.link_address = claim != nullptr ? claim->mac : claims_.mac_of_port(port);
  const MacAddress destination = to_all ? wire::multicast_mac(message.destination) : to;
  return emit(port, framed(message, destination, claims_.mac_of_port(port)));
}

// Unsolicited, with the override flag (RFC 4861 section 7.2.6): who knows the address changes its MAC at
// once.
void Resolver::announce_by_advertisement(const Claim& claim, const IpAddress& to, const MacAddress& mac) {
  wire::NeighbourMessage message;
  message.kind = Kind::advertisement;
  message.source = message.target = claim.address;
  message.destination = to;
  message.link_address = claim.mac;
  message.overrides = true;
  if (emit(claim.port, framed(message, mac, claim.mac))) ++counters_.announcements_sent;
}

}  // namespace understudy::neighbour
