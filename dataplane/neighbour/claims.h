#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/address.h"
#include "dataplane/wire/arp.h"
#include "dataplane/wire/neighbour_discovery.h"

namespace understudy::neighbour {

// An address that this node answers for on a port.
struct Claim {
  uint16_t port = 0;
  IpAddress address;
  MacAddress mac;                // what ARP and neighbour discovery say of the address
  std::optional<GroupId> group;  // none: the node's own address
  bool active = false;           // own addresses always, a group's while this node speaks for it
  bool passes = false;           // the group has just gone to another node: its frames are still taken
};

using ArpFrame = std::array<uint8_t, wire::kArpFrameBytes>;
using NeighbourFrame = std::array<uint8_t, wire::kNeighbourFrameBytes>;

// The addresses that this node answers for, per port: its own, and those of groups, which are switched on and
// off. Filled at start-up; one thread.
//
// A group's MAC is its virtual MAC (policy virtual_mac) or the port's own (policy gratuitous). It stands in
// the body of ARP packets; as an Ethernet source only announcements carry it, because that is what moves
// the address in switches: a late data frame must not pull it back.
class Claims {
 public:
  // The ports' own MACs, by port index.
  explicit Claims(std::vector<MacAddress> port_macs);

  void add_own(uint16_t port, const IpAddress& address);
  void add_group_address(GroupId group, uint16_t port, const IpAddress& address, const MacAddress& mac);
  void set_active(GroupId group, bool active);
  void set_passing(GroupId group);  // not active, but accepts_mac says yes; ends with set_active

  // Packet path.
  bool is_ours(const IpAddress& address) const;  // on any port
  bool accepts_mac(uint16_t port, const MacAddress& destination) const;

  // The active claim of an address on a port, or null.
  const Claim* find(uint16_t port, const IpAddress& address) const;
  const std::vector<Claim>& all() const { return claims_; }
  const MacAddress& mac_of_port(uint16_t port) const { return port_macs_[port]; }
  uint16_t ports() const { return static_cast<uint16_t>(port_macs_.size()); }

  // The reply to a request for an address claimed on that port; RFC 5227 probes (sender 0.0.0.0) are answered
  // too, announcements are not.
  std::optional<ArpFrame> answer(uint16_t port, const wire::ArpPacket& request) const;
  // The same for a neighbour solicitation; the probes of duplicate address detection (RFC 4862 section 5.4.3)
  // are answered to all nodes. `ethernet_source` gets the answer when the message does not say its sender's
  // MAC.
  std::optional<NeighbourFrame> answer(uint16_t port, const wire::NeighbourMessage& solicitation,
                                       const MacAddress& ethernet_source) const;

 private:
  void add(const Claim& claim);
  void collect_macs();

  std::vector<MacAddress> port_macs_;
  std::vector<Claim> claims_;
  std::vector<uint16_t> slots_;  // open addressing by address: index into claims_ plus one, 0 is free
  // By port, of active claims, each once.
  std::vector<std::vector<MacAddress>> group_macs_;
  std::vector<std::vector<MacAddress>> multicast_macs_;  // to which solicitations of IPv6 claims go
};

}  // namespace understudy::neighbour
