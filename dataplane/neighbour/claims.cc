#include "dataplane/neighbour/claims.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/check.h"
#include "dataplane/neighbour/address_hash.h"

namespace understudy::neighbour {

Claims::Claims(std::vector<MacAddress> port_macs)
    : port_macs_(std::move(port_macs)),
      slots_(16, 0),
      group_macs_(port_macs_.size()),
      multicast_macs_(port_macs_.size()) {}

void Claims::add_own(uint16_t port, const IpAddress& address) {
  invariant(port < ports(), "claims: an address on a port that does not exist");
  add({port, address, port_macs_[port], std::nullopt, true});
}

void Claims::add_group_address(GroupId group, uint16_t port, const IpAddress& address,
                               const MacAddress& mac) {
  invariant(port < ports(), "claims: an address on a port that does not exist");
  add({port, address, mac, group, false});
}

// The table stays at most a quarter full, so a search that finds nothing ends after a step or two.
void Claims::add(const Claim& claim) {
  invariant(claims_.size() < UINT16_MAX / 4, "claims: more addresses than the table can number");
  claims_.push_back(claim);
  slots_.assign(std::max<size_t>(16, std::bit_ceil(4 * claims_.size())), 0);
  for (size_t i = 0; i < claims_.size(); ++i) {
    size_t slot = address_hash(claims_[i].address) & (slots_.size() - 1);
    while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<uint16_t>(i + 1);
  }
  collect_macs();
}

void Claims::set_active(GroupId group, bool active) {
  for (Claim& claim : claims_) {
    if (claim.group != group) continue;
    claim.active = active;
    claim.passes = false;
  }
  collect_macs();
}

void Claims::set_passing(GroupId group) {
  set_active(group, false);
  for (Claim& claim : claims_) claim.passes = claim.passes || claim.group == group;
  collect_macs();
}

void Claims::collect_macs() {
  const auto add_once = [](std::vector<MacAddress>& macs, const MacAddress& mac) {
    if (std::find(macs.begin(), macs.end(), mac) == macs.end()) macs.push_back(mac);
  };
  for (auto& macs : group_macs_) macs.clear();
  for (auto& macs : multicast_macs_) macs.clear();
  for (const Claim& claim : claims_) {
    if (!claim.active && !claim.passes) continue;
    if (claim.group) add_once(group_macs_[claim.port], claim.mac);
    if (claim.address.is_v4() || !claim.active) continue;
    add_once(multicast_macs_[claim.port], wire::multicast_mac(wire::kAllNodes));
    add_once(multicast_macs_[claim.port], wire::multicast_mac(wire::solicited_node_multicast(claim.address)));
  }
}

bool Claims::is_ours(const IpAddress& address) const {
  size_t slot = address_hash(address) & (slots_.size() - 1);
  for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
    const Claim& claim = claims_[slots_[slot] - 1U];
    if (claim.active && claim.address == address) return true;
  }
  return false;
}

const Claim* Claims::find(uint16_t port, const IpAddress& address) const {
  size_t slot = address_hash(address) & (slots_.size() - 1);
  for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
    const Claim& claim = claims_[slots_[slot] - 1U];
    if (claim.active && claim.port == port && claim.address == address) return &claim;
  }
  return nullptr;
}

bool Claims::accepts_mac(uint16_t port, const MacAddress& destination) const {
  // As words: it is asked for every frame, and two arrays of bytes would be compared by a call.
  const auto word_of = [](const MacAddress& mac) {
    uint64_t word = 0;
    std::memcpy(&word, mac.bytes().data(), mac.bytes().size());
    return word;
  };
  const uint64_t wanted = word_of(destination);
  if (wanted == word_of(port_macs_[port])) return true;
  if (wanted == word_of(MacAddress::broadcast()) || wanted == word_of(wire::kClusterMulticast)) return true;
  const auto& macs = destination.is_multicast() ? multicast_macs_[port] : group_macs_[port];
  return std::ranges::any_of(macs, [&](const MacAddress& mac) { return wanted == word_of(mac); });
}

std::optional<ArpFrame> Claims::answer(uint16_t port, const wire::ArpPacket& request) const {
  if (request.operation != wire::ArpPacket::Operation::request || request.sender_ip == request.target_ip)
    return std::nullopt;
  const Claim* claim = find(port, request.target_ip);
  if (claim == nullptr) return std::nullopt;
  wire::ArpPacket reply;
  reply.operation = wire::ArpPacket::Operation::reply;
  reply.sender_mac = claim->mac;
  reply.sender_ip = claim->address;
  reply.target_mac = request.sender_mac;
  reply.target_ip = request.sender_ip;
  ArpFrame frame;
  wire::build_arp_frame(frame, request.sender_mac, port_macs_[port], reply);
  return frame;
}

std::optional<NeighbourFrame> Claims::answer(uint16_t port, const wire::NeighbourMessage& solicitation,
                                             const MacAddress& ethernet_source) const {
  if (solicitation.kind != wire::NeighbourMessage::Kind::solicitation) return std::nullopt;
  const Claim* claim = find(port, solicitation.target);
  if (claim == nullptr) return std::nullopt;
  const bool to_one = !solicitation.source.is_unspecified();
  wire::NeighbourMessage reply;
  reply.kind = wire::NeighbourMessage::Kind::advertisement;
  reply.source = reply.target = claim->address;
  reply.destination = to_one ? solicitation.source : wire::kAllNodes;
  reply.link_address = claim->mac;
  reply.solicited = to_one;
  reply.overrides = true;
  const MacAddress to =
      to_one ? solicitation.link_address.value_or(ethernet_source) : wire::multicast_mac(wire::kAllNodes);
  NeighbourFrame frame;
  wire::build_neighbour_frame(frame, to, port_macs_[port], reply);
  return frame;
}

}  // namespace understudy::neighbour
