#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/address.h"
#include "common/result.h"

namespace understudy::neighbour {

// Whom to hand a packet to: an address on the network of a port.
struct NextHop {
  uint16_t port = 0;
  IpAddress address;
  friend bool operator==(const NextHop&, const NextHop&) = default;
};

// Connected networks and static routes with longest prefix match (RFC 1812 section 5.2.4.3). Filled at
// start-up, read on the packet path; one thread. A scan over a sorted array: made for tens of routes, not for
// thousands.
class RouteTable {
 public:
  // The network of `prefix` is reached directly through `port`; the host part of its address does not matter.
  void add_connected(uint16_t port, const Prefix& prefix);
  // Packets to `destination` go to `gateway`, which must lie in a network connected before; 0.0.0.0/0 is the
  // default gateway. Refused: a gateway out of reach or of the other family, a second route to one network.
  Status add_route(const Prefix& destination, const IpAddress& gateway);

  std::optional<NextHop> find(const IpAddress& destination) const;
  // The port whose network holds `address`, if one does.
  std::optional<uint16_t> connected_port(const IpAddress& address) const;
  bool is_on_link(uint16_t port, const IpAddress& address) const;

 private:
  // 128 bits in the order of memory: only ever compared after masking.
  using Bits = std::array<uint64_t, 2>;
  struct Route {
    Prefix prefix;
    Bits network;
    Bits mask;
    uint16_t port = 0;
    std::optional<IpAddress> gateway;  // none: connected
    bool matches(const Bits& address) const {
      return (((address[0] ^ network[0]) & mask[0]) | ((address[1] ^ network[1]) & mask[1])) == 0;
    }
  };
  static Bits bits_of(const IpAddress& address);
  void insert(const Prefix& prefix, uint16_t port, std::optional<IpAddress> gateway);

  std::vector<Route> routes_;  // longest prefix first; connected before static ones of the same length
};

}  // namespace understudy::neighbour
