// What a node remembers to tell: of takeovers, changes of state and everything else, each its share.
#include "control/appliance/event_log.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace understudy::appliance {
namespace {

constexpr size_t kKept = EventLog::kKept;

size_t count(const EventLog& log, const std::string& beginning) {
  return static_cast<size_t>(std::ranges::count_if(
      log.events(), [&](const NodeEvent& event) { return event.sentence.starts_with(beginning); }));
}

TEST(EventLog, KeepsTheNewestInTheirOrder) {
  EventLog log;
  for (size_t i = 0; i < kKept + 10; ++i)
    EXPECT_EQ(log.add({.subject = "cluster", .sentence = fmt::format("node {}", i)}).sentence,
              fmt::format("node {}", i));
  ASSERT_EQ(log.events().size(), kKept);
  EXPECT_EQ(log.events().front().sentence, "node 10");
  EXPECT_EQ(log.events().back().sentence, fmt::format("node {}", kKept + 9));
}

TEST(EventLog, NeitherLinksThatComeAndGoNorQuestionsPushOutWhyAGroupWasTakenOver) {
  EventLog log;
  const auto add = [&](LogLevel level, const std::string& sentence) {
    log.add({.level = level, .subject = "cluster", .sentence = sentence});
  };
  add(LogLevel::notice, "group web: claimed with epoch 2.1: n1 silent");
  for (size_t i = 0; i < 10 * kKept; ++i) {
    add(LogLevel::warning, "node n4 is no longer heard on link back");
    add(LogLevel::info, "group web: suspecting -> requesting: asks");
    if (i % 100 == 0) add(LogLevel::notice, "group web: not granted: n2 has not answered");
  }
  EXPECT_EQ(log.events().size(), kKept);
  EXPECT_EQ(log.events().front().sentence, "group web: claimed with epoch 2.1: n1 silent");
  EXPECT_GE(count(log, "node n4"), kKept / EventLog::kClasses);
  EXPECT_GE(count(log, "group web: suspecting"), kKept / EventLog::kClasses);
  for (size_t i = 0; i < kKept; ++i) add(LogLevel::notice, "group web: not granted: n3 has not answered");
  EXPECT_EQ(count(log, "group web: claimed"), 0U);
}

}  // namespace
}  // namespace understudy::appliance
