#include "control/cluster/standby_choice.h"

#include <gtest/gtest.h>

namespace understudy::cluster {
namespace {

constexpr NodeId kNobody, kN1{1}, kN2{2}, kN3{3}, kN4{4};
const std::vector<NodeId> kOrder = {kN1, kN2, kN3};

StandbyCandidate ready(NodeId node) {
  return {.node = node, .alive = true, .follows = true, .reachable = true};
}
StandbyCandidate learning(NodeId node) {
  return {.node = node, .alive = true, .follows = false, .reachable = true};
}
StandbyCandidate without_peer_link(NodeId node) {
  return {.node = node, .alive = true, .follows = true, .reachable = false};
}
StandbyCandidate dead(NodeId node) {
  return {.node = node};
}

TEST(StandbyChoice, TheFirstInOrderThatIsReady) {
  EXPECT_EQ(choose_standby(kOrder, kN1, kNobody, kNobody, {ready(kN2), ready(kN3)}), kN2);
  EXPECT_EQ(choose_standby(kOrder, kN2, kNobody, kNobody, {ready(kN1), ready(kN3)}), kN1);
  EXPECT_EQ(choose_standby(kOrder, kN2, kNobody, kNobody, {dead(kN1), ready(kN3)}), kN3);
  EXPECT_EQ(choose_standby(kOrder, kN1, kNobody, kNobody, {learning(kN2), ready(kN3)}), kN3);
}

TEST(StandbyChoice, WhoDoesItsWorkStays) {
  EXPECT_EQ(choose_standby(kOrder, kN1, kN3, kNobody, {ready(kN2), ready(kN3)}), kN3);
}

TEST(StandbyChoice, OneThatIsLostIsReplaced) {
  EXPECT_EQ(choose_standby(kOrder, kN1, kN2, kNobody, {dead(kN2), ready(kN3)}), kN3);
  EXPECT_EQ(choose_standby(kOrder, kN1, kN2, kNobody, {without_peer_link(kN2), ready(kN3)}), kN3);
  EXPECT_EQ(choose_standby(kOrder, kN1, kN2, kN2, {ready(kN2), ready(kN3)}), kN3);
}

TEST(StandbyChoice, WithoutAnotherTheOneThereIsKept) {
  EXPECT_EQ(choose_standby(kOrder, kN1, kN2, kN2, {ready(kN2), dead(kN3)}), kN2);
  EXPECT_EQ(choose_standby(kOrder, kN1, kN2, kNobody, {without_peer_link(kN2)}), kN2);
  EXPECT_EQ(choose_standby(kOrder, kN1, kNobody, kNobody, {learning(kN2)}), kN2);
}

TEST(StandbyChoice, NobodyOutsideTheOrderAndNobodyDead) {
  EXPECT_EQ(choose_standby(kOrder, kN1, kNobody, kNobody, {ready(kN4)}), kNobody);
  EXPECT_EQ(choose_standby(kOrder, kN1, kN2, kNobody, {dead(kN2), dead(kN3)}), kNobody);
  EXPECT_EQ(choose_standby(kOrder, kN1, kNobody, kNobody, {}), kNobody);
}

}  // namespace
}  // namespace understudy::cluster
