#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/support/cluster_in_process.h"

// What the tests of whole nodes under an arbiter share: transfers under way, who is in sync, and how it ends.

namespace understudy {

constexpr uint32_t kMegabyte = 1'000'000;

inline bool is_in_sync_set(ClusterInProcess& c, size_t owner, size_t standby) {
  const auto& controller = c.control(owner).controller();
  return controller.arbiter()->is_recorded(GroupId(1), controller.machine(GroupId(1))->epoch(),
                                           NodeId(static_cast<uint16_t>(standby + 1)));
}

inline void begin_transfers(ClusterInProcess& c) {
  c.transfer(0, 3 * kMegabyte);
  c.transfer(3 * kMegabyte, 0);
  c.transfer(kMegabyte, kMegabyte);
}

// n1 owns and is protected, so that n2 is recorded as in sync; transfers run; since when differs by seed, up
// to `chance`.
inline void begin(ClusterInProcess& c, Duration chance) {
  ASSERT_TRUE(c.boot()) << c.describe();
  ASSERT_TRUE(is_in_sync_set(c, 0, 1)) << c.describe();
  begin_transfers(c);
  if (chance > Duration::zero()) c.run_for(Duration(c.random().below(static_cast<uint32_t>(chance.count()))));
}

inline void expect_done(ClusterInProcess& c, Duration limit = 30s) {
  EXPECT_TRUE(c.run_until([&] { return c.all_done(); }, limit)) << c.describe();
  for (const std::string& fault : c.faults()) ADD_FAILURE() << fault << c.describe();
  EXPECT_EQ(c.most_voices(), 1U) << c.describe();
}

inline bool becomes_owner(ClusterInProcess& c, size_t slot, Duration limit = 1s) {
  return c.run_until([&] { return c.owner() == slot; }, limit);
}

inline bool becomes_protected(ClusterInProcess& c, size_t slot, Duration limit = 1s) {
  return c.run_until([&] { return c.owner() == slot && c.is_protected() && c.unprotected_legs() == 0; },
                     limit);
}

inline bool said(ClusterInProcess& c, size_t slot, const std::string& part) {
  return std::ranges::any_of(c.control(slot).events(), [&](const appliance::NodeEvent& event) {
    return event.sentence.find(part) != std::string::npos;
  });
}

// Workers of each node, and which of n1's hangs.
constexpr std::pair<unsigned, size_t> kHangs[] = {{1, 0}, {2, 0}, {2, 1}};

// One of the owner's workers stands still for 1.5 s: n2 claims in time, with all connections, and stays
// owner.
inline void expect_replaced_when_hung(ClusterInProcess& c, size_t hanging, Duration in_time) {
  const Instant hung = c.now();
  c.pause_worker(0, hanging, 1500ms);
  ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
  EXPECT_LE(c.voice(1).first_claim - hung, in_time) << c.describe();
  EXPECT_FALSE(c.control(1).controller().machine(GroupId(1))->last_takeover()->cold) << c.describe();
  c.run_for(2s);
  EXPECT_EQ(c.owner(), size_t{1}) << c.describe();
}

}  // namespace understudy
