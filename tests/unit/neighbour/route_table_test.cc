#include "dataplane/neighbour/route_table.h"

#include <gtest/gtest.h>

namespace understudy::neighbour {
namespace {

IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}
Prefix prefix(const char* text) {
  return *Prefix::parse(text);
}

RouteTable table() {
  RouteTable routes;
  routes.add_connected(0, prefix("10.10.0.11/24"));
  routes.add_connected(1, prefix("10.20.0.21/24"));
  return routes;
}

TEST(RouteTable, ConnectedNetworksAreReachedDirectly) {
  const RouteTable routes = table();
  EXPECT_EQ(routes.find(ip("10.10.0.100")), (NextHop{0, ip("10.10.0.100")}));
  EXPECT_EQ(routes.find(ip("10.20.0.12")), (NextHop{1, ip("10.20.0.12")}));
  EXPECT_FALSE(routes.find(ip("10.30.0.1")));
  EXPECT_FALSE(routes.find(ip("2001:db8::1")));
  EXPECT_EQ(routes.connected_port(ip("10.20.0.255")), 1);
  EXPECT_FALSE(routes.connected_port(ip("10.20.1.0")));
  EXPECT_TRUE(routes.is_on_link(0, ip("10.10.0.1")));
  EXPECT_FALSE(routes.is_on_link(1, ip("10.10.0.1")));
}

TEST(RouteTable, TheLongestPrefixWinsInAnyOrderOfAdding) {
  RouteTable routes = table();
  ASSERT_TRUE(routes.add_route(prefix("0.0.0.0/0"), ip("10.10.0.1")).ok());
  ASSERT_TRUE(routes.add_route(prefix("172.16.0.0/16"), ip("10.20.0.2")).ok());
  ASSERT_TRUE(routes.add_route(prefix("172.16.5.7"), ip("10.10.0.3")).ok());
  ASSERT_TRUE(routes.add_route(prefix("172.16.5.0/24"), ip("10.20.0.4")).ok());
  EXPECT_EQ(routes.find(ip("172.16.5.7")), (NextHop{0, ip("10.10.0.3")}));
  EXPECT_EQ(routes.find(ip("172.16.5.8")), (NextHop{1, ip("10.20.0.4")}));
  EXPECT_EQ(routes.find(ip("172.16.6.7")), (NextHop{1, ip("10.20.0.2")}));
  EXPECT_EQ(routes.find(ip("8.8.8.8")), (NextHop{0, ip("10.10.0.1")}));
  EXPECT_EQ(routes.find(ip("10.20.0.9")), (NextHop{1, ip("10.20.0.9")}));
  EXPECT_FALSE(routes.find(ip("2001:db8::1")));  // an IPv4 default is none for IPv6
  EXPECT_FALSE(routes.connected_port(ip("8.8.8.8")));
}

TEST(RouteTable, CarriesIpv6) {
  RouteTable routes;
  routes.add_connected(2, prefix("2001:db8:1::5/64"));
  ASSERT_TRUE(routes.add_route(prefix("::/0"), ip("2001:db8:1::1")).ok());
  EXPECT_EQ(routes.find(ip("2001:db8:1::9")), (NextHop{2, ip("2001:db8:1::9")}));
  EXPECT_EQ(routes.find(ip("2001:db8:2::9")), (NextHop{2, ip("2001:db8:1::1")}));
}

TEST(RouteTable, RefusesWhatCannotWorkAndSaysWhy) {
  RouteTable routes = table();
  const Status unreachable = routes.add_route(prefix("0.0.0.0/0"), ip("192.168.0.1"));
  ASSERT_FALSE(unreachable.ok());
  EXPECT_EQ(unreachable.message(),
            "route to 0.0.0.0/0: gateway 192.168.0.1 lies in no network of this node's ports");
  EXPECT_FALSE(routes.add_route(prefix("::/0"), ip("10.10.0.1")).ok());
  ASSERT_TRUE(routes.add_route(prefix("0.0.0.0/0"), ip("10.10.0.1")).ok());
  EXPECT_FALSE(routes.add_route(prefix("0.0.0.0/0"), ip("10.20.0.1")).ok());
  EXPECT_EQ(routes.find(ip("8.8.8.8")), (NextHop{0, ip("10.10.0.1")}));
  // A gateway must be on-link, not merely routed to.
  EXPECT_FALSE(routes.add_route(prefix("172.16.0.0/16"), ip("8.8.8.8")).ok());
}

}  // namespace
}  // namespace understudy::neighbour
