// RFC 826 and RFC 5227.
#include "dataplane/neighbour/resolver.h"

namespace understudy::neighbour {
namespace {

using Operation = wire::ArpPacket::Operation;

ArpFrame framed(const wire::ArpPacket& packet, const MacAddress& destination, const MacAddress& source) {
  ArpFrame frame;
  wire::build_arp_frame(frame, destination, source, packet);
  return frame;
}

}  // namespace

void Resolver::receive_arp(uint16_t port, const wire::ArpPacket& packet, const MacAddress& ethernet_source,
                           Instant now) {
  if (port >= claims_.ports() || packet.sender_mac.is_multicast() || packet.sender_mac.is_zero()) {
    drops_.count(DropReason::arp_malformed);
    return;
  }
  if (const Claim* claim = claims_.find(port, packet.sender_ip)) {
    const Statement statement{packet.sender_ip, packet.sender_mac, ethernet_source};
    if (is_rival(*claim, statement)) meet_rival(*claim, statement, now);
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
  if (reply && emit(port, *reply)) ++counters_.replies_sent;
}

// We ask under the node's own address, preferably one of the network in question: under a group's address
// the request would tie that address to a MAC, which is for announcements to do. A port without an address
// of its own asks under the packet's source if that is claimed, else as a probe (RFC 5227 section 2.1.1).
wire::ArpPacket Resolver::arp_request_for(uint16_t port, const IpAddress& ip, const IpAddress& source) const {
  wire::ArpPacket packet;
  packet.operation = Operation::request;
  packet.sender_mac = claims_.mac_of_port(port);
  packet.sender_ip = IpAddress::v4(0);
  packet.target_ip = ip;
  if (const Prefix* own = own_address_near(port, ip)) {
    packet.sender_ip = own->address;
  } else if (const Claim* claim = claims_.find(port, source)) {
    packet.sender_mac = claim->mac;
    packet.sender_ip = claim->address;
  }
  return packet;
}

bool Resolver::send_arp_request(uint16_t port, const IpAddress& ip, const MacAddress& to,
                                const IpAddress& source) {
  return emit(port, framed(arp_request_for(port, ip, source), to, claims_.mac_of_port(port)));
}

// A request, not a reply: Linux ignores replies while its entry is younger than locktime. To everybody it
// asks for the address itself. To one neighbour it is an ordinary request for the neighbour's own address,
// which overrides what that knew of ours, whatever its policy about announcements is.
void Resolver::announce_by_arp(const Claim& claim, const IpAddress& to, const MacAddress& mac) {
  wire::ArpPacket packet;
  packet.operation = Operation::request;
  packet.sender_mac = claim.mac;
  packet.sender_ip = claim.address;
  packet.target_ip = to;
  if (emit(claim.port, framed(packet, mac, claim.mac))) ++counters_.announcements_sent;
}

}  // namespace understudy::neighbour
