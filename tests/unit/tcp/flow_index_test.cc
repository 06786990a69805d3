#include "dataplane/tcp/flow_index.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "common/random.h"

namespace understudy::tcp {
namespace {

const auto any = [](uint32_t) { return true; };
auto is(uint32_t wanted) {
  return [wanted](uint32_t leg) { return leg == wanted; };
}

TEST(FlowIndex, FindsAmongEqualHashesTheOneThatMatches) {
  FlowIndex index(8, 1);
  for (const uint32_t leg : {3U, 4U, 5U}) index.insert(77, leg);
  EXPECT_EQ(index.find(77, is(5)), 5U);
  EXPECT_EQ(index.find(77, is(6)), FlowIndex::kNone);
  EXPECT_EQ(index.find(78, any), FlowIndex::kNone);
  index.erase(77, 3);
  EXPECT_EQ(index.find(77, is(3)), FlowIndex::kNone);
  EXPECT_EQ(index.find(77, is(4)), 4U);
  EXPECT_EQ(index.find(77, is(5)), 5U);
}

// The last hash's home is the last entry of the table: its neighbours live at the table's beginning.
TEST(FlowIndex, ClustersGoRoundTheEndOfTheTable) {
  FlowIndex index(8, 1);
  for (uint32_t leg = 0; leg < 6; ++leg) index.insert(UINT32_MAX - leg % 2, leg);
  index.insert(0, 6);  // at home in an entry that those have taken
  index.erase(UINT32_MAX, 0);
  index.erase(UINT32_MAX - 1, 3);
  for (const uint32_t leg : {2U, 4U}) EXPECT_EQ(index.find(UINT32_MAX, is(leg)), leg);
  for (const uint32_t leg : {1U, 5U}) EXPECT_EQ(index.find(UINT32_MAX - 1, is(leg)), leg);
  EXPECT_EQ(index.find(0, any), 6U);
}

TEST(FlowIndex, TheSeedDecidesWhichFlowsCollide) {
  const FlowKey key{IpAddress::v4(0x0a000001), IpAddress::v4(0x0a000002), PortNumber(80), PortNumber(1234)};
  EXPECT_NE(FlowIndex(1, 1).hash_of(key), FlowIndex(1, 2).hash_of(key));
  EXPECT_EQ(FlowIndex(1, 7).hash_of(key), FlowIndex(1, 7).hash_of(key));
}

// Few hashes, a full table and every kind of order, against a plain list.
TEST(FlowIndex, HoldsWhatWasInsertedAndNotErased) {
  constexpr uint32_t kCapacity = 96;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    FlowIndex index(kCapacity, 1);
    struct Held {
      uint32_t hash, leg;
    };
    std::vector<Held> held;
    // From all hashes alike to hashes all over the table, some of them at its end.
    const uint32_t kinds = 1 + random.below(64);
    uint32_t next_leg = 0;
    for (int step = 0; step < 4000; ++step) {
      if (held.size() < kCapacity && (held.empty() || random.below(100) < 55)) {
        const auto hash = static_cast<uint32_t>(UINT32_MAX - random.below(kinds) * (UINT32_MAX / kinds));
        held.push_back({hash, next_leg});
        index.insert(hash, next_leg++);
      } else {
        std::swap(held[random.below(static_cast<uint32_t>(held.size()))], held.back());
        index.erase(held.back().hash, held.back().leg);
        ASSERT_EQ(index.find(held.back().hash, is(held.back().leg)), FlowIndex::kNone) << "seed " << seed;
        held.pop_back();
      }
      if (step % 16 != 0) continue;
      for (const Held& one : held)
        ASSERT_EQ(index.find(one.hash, is(one.leg)), one.leg) << "seed " << seed << ", step " << step;
    }
  }
}

}  // namespace
}  // namespace understudy::tcp
