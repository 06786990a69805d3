#include "dataplane/neighbour/route_table.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::neighbour {

RouteTable::Bits RouteTable::bits_of(const IpAddress& address) {
  Bits bits;
  std::memcpy(bits.data(), address.bytes().data(), sizeof bits);
  return bits;
}

// IPv4 addresses are stored mapped, so an IPv4 prefix is one of 96 bits more: the families never mix.
void RouteTable::insert(const Prefix& prefix, uint16_t port, std::optional<IpAddress> gateway) {
  const unsigned length = prefix.length + (prefix.address.is_v4() ? 96U : 0U);
  std::array<uint8_t, 16> mask{};
  for (unsigned bit = 0; bit < length; ++bit)
    mask[bit / 8] = static_cast<uint8_t>(mask[bit / 8] | 0x80U >> bit % 8);
  Route route;
  route.prefix = prefix;
  route.network = bits_of(prefix.address);
  route.mask = bits_of(IpAddress(mask));
  route.port = port;
  route.gateway = gateway;
  const auto place = std::find_if(routes_.begin(), routes_.end(), [&](const Route& other) {
    if (other.prefix.length != prefix.length) return other.prefix.length < prefix.length;
    return other.gateway.has_value() && !gateway.has_value();
  });
  routes_.insert(place, route);
}

void RouteTable::add_connected(uint16_t port, const Prefix& prefix) {
  insert(prefix, port, std::nullopt);
}

Status RouteTable::add_route(const Prefix& destination, const IpAddress& gateway) {
  if (destination.address.is_v4() != gateway.is_v4()) {
    return Error{fmt::format("route to {}: gateway {} is of the other address family",
                             destination.to_string(), gateway.to_string())};
  }
  const auto port = connected_port(gateway);
  if (!port) {
    return Error{fmt::format("route to {}: gateway {} lies in no network of this node's ports",
                             destination.to_string(), gateway.to_string())};
  }
  for (const Route& route : routes_) {
    if (route.gateway && route.prefix.length == destination.length &&
        route.prefix.contains(destination.address)) {
      return Error{fmt::format("route to {}: there is one already, through {}", destination.to_string(),
                               route.gateway->to_string())};
    }
  }
  insert(destination, *port, gateway);
  return {};
}

std::optional<NextHop> RouteTable::find(const IpAddress& destination) const {
  const Bits bits = bits_of(destination);
  for (const Route& route : routes_)
    if (route.matches(bits)) return NextHop{route.port, route.gateway.value_or(destination)};
  return std::nullopt;
}

std::optional<uint16_t> RouteTable::connected_port(const IpAddress& address) const {
  const Bits bits = bits_of(address);
  for (const Route& route : routes_)
    if (!route.gateway && route.matches(bits)) return route.port;
  return std::nullopt;
}

bool RouteTable::is_on_link(uint16_t port, const IpAddress& address) const {
  const Bits bits = bits_of(address);
  return std::any_of(routes_.begin(), routes_.end(), [&](const Route& route) {
    return !route.gateway && route.port == port && route.matches(bits);
  });
}

}  // namespace understudy::neighbour
