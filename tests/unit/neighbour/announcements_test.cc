#include "dataplane/neighbour/announcements.h"

#include <gtest/gtest.h>

namespace understudy::neighbour {
namespace {

using Round = Announcements::Round;
constexpr GroupId kWeb{1};
constexpr GroupId kMail{2};
constexpr Instant kStart{1h};

TEST(Announcements, FollowTheirScheduleAndThenRefresh) {
  Announcements announcements;
  announcements.add(kWeb);
  EXPECT_EQ(announcements.next_deadline(), kNever);
  announcements.start(kWeb, kStart);
  for (const Duration offset : {0ms, 10ms, 50ms, 200ms, 1000ms}) {
    ASSERT_EQ(announcements.next_deadline(), kStart + offset);
    EXPECT_FALSE(announcements.next_due(kStart + offset - 1ns));
    const auto due = announcements.next_due(kStart + offset);
    ASSERT_TRUE(due);
    EXPECT_EQ(due->round, Round::after_claim);
    EXPECT_FALSE(announcements.next_due(kStart + offset));
  }
  for (const Duration offset : {11s, 21s, 31s}) {
    ASSERT_EQ(announcements.next_deadline(), kStart + offset);
    EXPECT_EQ(announcements.next_due(kStart + offset)->round, Round::refresh);
  }
}

TEST(Announcements, RoundsThatWereMissedAreMadeUpForOnce) {
  Announcements announcements;
  announcements.add(kWeb);
  announcements.start(kWeb, kStart);
  ASSERT_TRUE(announcements.next_due(kStart + 60ms));
  EXPECT_FALSE(announcements.next_due(kStart + 60ms));
  EXPECT_EQ(announcements.next_deadline(), kStart + 200ms);
  ASSERT_TRUE(announcements.next_due(kStart + 5min));
  EXPECT_EQ(announcements.next_deadline(), kStart + 5min + 10s);
}

TEST(Announcements, GroupsStartAndStopByThemselves) {
  Announcements announcements;
  announcements.add(kWeb);
  announcements.add(kMail);
  announcements.add(kWeb);
  announcements.start(kWeb, kStart);
  announcements.start(kMail, kStart);
  EXPECT_EQ(announcements.next_due(kStart)->group, kWeb);
  EXPECT_EQ(announcements.next_due(kStart)->group, kMail);
  announcements.stop(kWeb);
  EXPECT_EQ(announcements.next_due(kStart + 10ms)->group, kMail);
  EXPECT_FALSE(announcements.next_due(kStart + 10ms));
  announcements.start(kWeb, kStart + 20ms);
  EXPECT_EQ(announcements.next_due(kStart + 20ms)->group, kWeb);
  EXPECT_EQ(announcements.next_deadline(), kStart + 30ms);
}

TEST(Announcements, DefenceIsRateLimitedAndNeedsAClaim) {
  Announcements announcements;
  announcements.add(kWeb);
  EXPECT_FALSE(announcements.may_defend(kWeb, kStart));
  announcements.start(kWeb, kStart);
  EXPECT_TRUE(announcements.may_defend(kWeb, kStart));
  EXPECT_FALSE(announcements.may_defend(kWeb, kStart + 999ms));
  EXPECT_TRUE(announcements.may_defend(kWeb, kStart + 1s));
  EXPECT_FALSE(announcements.may_defend(kMail, kStart));
}

}  // namespace
}  // namespace understudy::neighbour
