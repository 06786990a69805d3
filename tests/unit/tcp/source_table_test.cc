#include "dataplane/tcp/source_table.h"

#include <map>

#include <gtest/gtest.h>

#include "common/random.h"

namespace understudy::tcp {
namespace {

TEST(SourceTable, CountsAsAMapDoes) {
  // Few connections, so that the table is half full and probes collide, wrap around and move up.
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    SourceTable table(30, Secret{{static_cast<uint8_t>(seed)}});
    std::vector<std::pair<IpAddress, Burden>> held;
    std::map<std::pair<IpAddress, Burden>, uint32_t> expected;
    for (int step = 0; step < 20'000; ++step) {
      const bool grow = held.empty() || (held.size() < 30 && random.chance(1, 2));
      if (grow) {
        held.emplace_back(IpAddress::v4(random.below(60)),
                          random.chance(1, 2) ? Burden::stalled : Burden::embryonic);
        table.add(held.back().first, held.back().second);
        ++expected[held.back()];
      } else {
        std::swap(held[random.below(static_cast<uint32_t>(held.size()))], held.back());
        table.remove(held.back().first, held.back().second);
        --expected[held.back()];
        held.pop_back();
      }
      const IpAddress asked = IpAddress::v4(random.below(60));
      for (const Burden burden : {Burden::embryonic, Burden::stalled})
        ASSERT_EQ(table.count(asked, burden), (expected[{asked, burden}]))
            << "seed " << seed << " step " << step;
    }
    while (!held.empty()) {
      table.remove(held.back().first, held.back().second);
      held.pop_back();
    }
    EXPECT_EQ(table.sources(), 0U);
  }
}

TEST(SourceTable, AnIpv6SourceIsItsNetworkOf64) {
  SourceTable table(4, Secret{});
  table.add(*IpAddress::parse("2001:db8::1"), Burden::embryonic);
  table.add(*IpAddress::parse("2001:db8::2"), Burden::embryonic);
  EXPECT_EQ(table.sources(), 1U);
  EXPECT_EQ(table.count(*IpAddress::parse("2001:db8::3"), Burden::embryonic), 2U);
  EXPECT_EQ(table.count(*IpAddress::parse("2001:db8:0:1::3"), Burden::embryonic), 0U);
}

}  // namespace
}  // namespace understudy::tcp
