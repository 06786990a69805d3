#include "dataplane/service/source_pool.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/support/segment_bench.h"

namespace understudy::service {
namespace {

const IpAddress kSource = IpAddress::v4(0x0a140064);
const IpAddress kBackend = IpAddress::v4(0x0a14000b);

// A pair of groups at two nodes: neither knows at once what the other one has taken.
TEST(SourcePool, TheTwoGroupsOfAPairNeverTakeTheSamePort) {
  SegmentBench bench;
  const tcp::GroupIndex spare = bench.engine.add_group(GroupId(2));
  bench.engine.pair(0, spare);
  SourcePool here({kSource}, 7);
  SourcePool there({kSource}, 7);
  for (const uint8_t shard : {uint8_t{0}, uint8_t{1}, uint8_t{3}}) {
    std::set<PortNumber> taken;
    const uint32_t half = bench.engine.shards().source_ports_per_shard() / 2;
    for (uint32_t i = 0; i < half; ++i) {
      const auto key = here.pick(bench.engine, 0, kBackend, PortNumber(80), shard);
      ASSERT_TRUE(key.has_value());
      EXPECT_EQ(bench.engine.shards().shard_of(*key), shard);
      taken.insert(key->local_port);
    }
    EXPECT_GE(taken.size(), half - 1) << "all of its half";
    for (uint32_t i = 0; i < half; ++i) {
      const auto key = there.pick(bench.engine, spare, kBackend, PortNumber(80), shard);
      ASSERT_TRUE(key.has_value());
      EXPECT_EQ(bench.engine.shards().shard_of(*key), shard);
      EXPECT_FALSE(taken.contains(key->local_port)) << key->local_port.value();
    }
  }
}

}  // namespace
}  // namespace understudy::service
