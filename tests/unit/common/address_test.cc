#include "common/address.h"

#include <gtest/gtest.h>

namespace understudy {
namespace {

TEST(IpAddress, ParsesAndPrintsBothFamilies) {
  const auto v4 = IpAddress::parse("10.20.0.255");
  ASSERT_TRUE(v4);
  EXPECT_TRUE(v4->is_v4());
  EXPECT_EQ(v4->v4_host_order(), 0x0a1400ffU);
  EXPECT_EQ(v4->to_string(), "10.20.0.255");
  const auto v6 = IpAddress::parse("2001:db8::1");
  ASSERT_TRUE(v6);
  EXPECT_FALSE(v6->is_v4());
  EXPECT_EQ(v6->to_string(), "2001:db8::1");
  EXPECT_FALSE(IpAddress::parse("10.20.0"));
  EXPECT_FALSE(IpAddress::parse(""));
}

TEST(Prefix, ContainsExactlyItsNetwork) {
  const auto prefix = Prefix::parse("10.10.0.10/22");
  ASSERT_TRUE(prefix);
  EXPECT_TRUE(prefix->contains(*IpAddress::parse("10.10.3.255")));
  EXPECT_FALSE(prefix->contains(*IpAddress::parse("10.10.4.0")));
  EXPECT_FALSE(prefix->contains(*IpAddress::parse("2001:db8::1")));
  EXPECT_TRUE(Prefix::parse("0.0.0.0/0")->contains(*IpAddress::parse("203.0.113.9")));
  EXPECT_FALSE(Prefix::parse("10.0.0.0/33"));
  EXPECT_FALSE(Prefix::parse("10.0.0.0/"));
  EXPECT_FALSE(Prefix::parse("10.0.0.0/8x"));
}

TEST(MacAddress, ParsesSixPairsOnly) {
  const auto mac = MacAddress::parse("02:55:53:00:0a:FF");
  ASSERT_TRUE(mac);
  EXPECT_EQ(mac->to_string(), "02:55:53:00:0a:ff");
  EXPECT_FALSE(MacAddress::parse("02:55:53:00:0a"));
  EXPECT_FALSE(MacAddress::parse("02:55:53:00:0a:0g"));
  EXPECT_FALSE(MacAddress::parse("02-55-53-00-0a-0f"));
}

}  // namespace
}  // namespace understudy
