#include "dataplane/seal/keys.h"

#include <set>

#include <gtest/gtest.h>

namespace understudy::seal {
namespace {

TEST(ClusterKeys, FollowFromSecretAndNameAlone) {
  const ClusterKey key = cluster_key("0123456789abcdef", "one");
  EXPECT_EQ(key, cluster_key("0123456789abcdef", "one"));
  const ClusterKey other_secret = cluster_key("0123456789abcdeg", "one");
  const ClusterKey other_name = cluster_key("0123456789abcdef", "two");
  EXPECT_NE(key.bytes, other_secret.bytes);
  EXPECT_NE(key.bytes, other_name.bytes);
  EXPECT_NE(key.id, other_secret.id);
  EXPECT_NE(key.id, other_name.id);
}

TEST(FrameKeyDerivation, GivesEachLifeOfEachNodeItsOwn) {
  const FrameKeys keys(cluster_key("0123456789abcdef", "one"));
  std::set<FrameKey> seen;
  for (uint16_t node = 1; node <= 16; ++node)
    for (uint64_t boot = 1; boot != 0; boot <<= 1) seen.insert(keys.of(NodeId(node), BootId(boot)));
  EXPECT_EQ(seen.size(), 16U * 64U);
  EXPECT_EQ(keys.of(NodeId(3), BootId(5)), keys.of(NodeId(3), BootId(5)));
  const FrameKeys others(cluster_key("0123456789abcdeg", "one"));
  EXPECT_NE(keys.of(NodeId(3), BootId(5)), others.of(NodeId(3), BootId(5)));
}

}  // namespace
}  // namespace understudy::seal
