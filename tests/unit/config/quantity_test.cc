#include "control/config/quantity.h"

#include <gtest/gtest.h>

namespace understudy::config {
namespace {

TEST(Quantity, Durations) {
  EXPECT_EQ(parse_duration("500us"), 500us);
  EXPECT_EQ(parse_duration("20ms"), 20ms);
  EXPECT_EQ(parse_duration("1s"), 1s);
  EXPECT_EQ(parse_duration("5min"), 5min);
  EXPECT_EQ(parse_duration("2h"), 2h);
  for (const char* bad : {"", "20", "ms", "-1ms", "+1ms", "1.5s", "1 s", "1m", "9999999999999h"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
  EXPECT_EQ(duration_text(1500ms), "1500ms");
  EXPECT_EQ(duration_text(120s), "2min");
}

TEST(Quantity, Sizes) {
  EXPECT_EQ(parse_size("256KiB"), 262144U);
  EXPECT_EQ(parse_size("2GiB"), 2147483648U);
  EXPECT_EQ(parse_size("7B"), 7U);
  for (const char* bad : {"", "256", "256KB", "256 KiB", "0x10B", "99999999999999GiB"})
    EXPECT_FALSE(parse_size(bad)) << bad;
  EXPECT_EQ(size_text(1536 * 1024), "1536KiB");
}

TEST(Quantity, NumbersAndSwitches) {
  EXPECT_EQ(parse_number("0"), 0U);
  for (const char* bad : {"", " 1", "1 ", "-1", "1e3", "18446744073709551616"})
    EXPECT_FALSE(parse_number(bad)) << bad;
  EXPECT_EQ(parse_switch("yes"), true);
  EXPECT_EQ(parse_switch("off"), false);
  EXPECT_FALSE(parse_switch("Yes?"));
}

}  // namespace
}  // namespace understudy::config
