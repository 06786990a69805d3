// ICMP errors and path MTU: RFC 9293 section 3.9.2.2, RFC 1191, RFC 5927.
#include <gtest/gtest.h>

#include "tests/conformance/script.h"

namespace understudy::conformance {
namespace {

constexpr uint8_t kUnreachable = 3;
constexpr uint8_t kTooBig = 4;

uint64_t drops(Script& s, DropReason reason) {
  return s.host().drops(reason);
}

// A connection to a peer that takes segments of 1460 bytes.
class PathMtu : public testing::Test {
 protected:
  PathMtu() : s(plain_settings()) { s.establish("mss 1460 sackok"); }
  Script s;
};

TEST_F(PathMtu, WhatWasTooLargeIsCutAndLeavesAtOnce) {
  s.write(2920);
  EXPECT_EQ(s.left(), ". 1:1461 ack 1\nP. 1461:2921 ack 1");
  const uint32_t window = s.report().congestion_window;
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 1040);
  EXPECT_EQ(s.left(), ". 1:1001 ack 1\n. 1001:1461 ack 1\nP. 1461:2461 ack 1\nP. 2461:2921 ack 1");
  EXPECT_EQ(s.report().payload_max, 1000U);
  EXPECT_EQ(s.report().congestion_window, window) << "this is no congestion (RFC 1191 section 6.5)";
  EXPECT_EQ(drops(s, DropReason::icmp_mtu_lowered), 1U);
  s.error_arrives(kUnreachable, kTooBig, "1461:2921", 1040);
  EXPECT_EQ(s.left(), "") << "said once for each of them";
  s.arrives(". 1:1 ack 2921");
  s.write(3000);
  EXPECT_EQ(s.left(), ". 2921:3921 ack 1\nP. 3921:4921 ack 1\nP. 4921:5921 ack 1");
}

TEST_F(PathMtu, TimestampsCountAgainstIt) {
  Script stamped(plain_settings());
  stamped.establish("mss 1460 sackok ts 100 0");
  stamped.write(1448);
  stamped.left();
  stamped.error_arrives(kUnreachable, kTooBig, "1:1449", 1040);
  EXPECT_EQ(stamped.left(), ". 1:989 ack 1 ts 100\nP. 989:1449 ack 1 ts 100");
}

TEST_F(PathMtu, MustQuoteWhatIsInFlight) {  // RFC 5927 section 4.1
  s.write(2920);
  s.arrives(". 1:1 ack 1461");
  s.left();
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 1040);
  s.error_arrives(kUnreachable, kTooBig, "2921:4381", 1040);
  s.error_arrives(kUnreachable, kTooBig, "100000:101460", 1040);
  EXPECT_EQ(s.left(), "");
  EXPECT_EQ(s.report().payload_max, 1460U);
  EXPECT_EQ(drops(s, DropReason::icmp_error_stale), 3U);
}

TEST_F(PathMtu, NothingBelowTheLeastThatAnybodyHas) {
  s.write(1460);
  s.left();
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 68);
  EXPECT_EQ(s.report().payload_max, 512U);
  EXPECT_EQ(s.left(), ". 1:513 ack 1\n. 513:1025 ack 1\nP. 1025:1461 ack 1");
}

TEST_F(PathMtu, NothingAboveWhatWasRefused) {
  s.write(1460);
  s.left();
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 1500);
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 9000);
  s.error_arrives(kUnreachable, kTooBig, "1:5001", 1200);
  EXPECT_EQ(s.left(), "");
  EXPECT_EQ(s.report().payload_max, 1460U);
  EXPECT_EQ(drops(s, DropReason::icmp_mtu_implausible), 3U);
}

TEST_F(PathMtu, OldRoutersNameNone) {  // RFC 1191 section 5: the next plateau
  s.write(1460);
  s.left();
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 0);
  EXPECT_EQ(s.report().payload_max, 1492U - 40U);
  EXPECT_EQ(s.left(), ". 1:1453 ack 1\nP. 1453:1461 ack 1");
}

TEST_F(PathMtu, LargerSegmentsAreTriedAgainAfterTenMinutes) {  // RFC 1191 section 6.3
  s.write(1460);
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 1040);
  s.arrives(". 1:1 ack 1461");
  s.wait(9min);
  EXPECT_EQ(s.connection()->mss, 1000U);
  s.wait(62s);
  EXPECT_EQ(s.connection()->mss, 1460U);
}

// RFC 4821: a router that drops what is too large, and says nothing of it.
TEST_F(PathMtu, ABlackHoleIsLeftWithSmallerSegments) {
  s.write(2920);
  s.wait(1s);
  s.left();
  s.wait(1500ms);  // past the third timeout, not the fourth
  EXPECT_EQ(s.host().count(&tcp::EngineCounters::black_holes), 1U);
  EXPECT_TRUE(s.left().ends_with(". 1:1025 ack 1"));
  s.arrives(". 1:1 ack 1025");
  EXPECT_TRUE(s.left().starts_with(". 1025:1461 ack 1"));
  s.arrives(". 1:1 ack 2921");
  s.write(3000);
  EXPECT_TRUE(s.left().starts_with(". 2921:3945 ack 1")) << "what comes later, too";
}

TEST_F(PathMtu, WhereSmallerSegmentsVanishTooTheirSizeWasNotTheReason) {
  s.write(2920);
  s.wait(2500ms);
  EXPECT_EQ(s.connection()->mss, 1024U);
  s.left();
  s.wait(5s);
  EXPECT_EQ(s.connection()->mss, 1460U);
  s.arrives(". 1:1 ack 2921");
  s.left();
  s.write(1460);
  EXPECT_EQ(s.left(), "P. 2921:4381 ack 1");
}

TEST_F(PathMtu, WhatARouterHasSaidIsNotTakenBack) {
  s.write(2920);
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 1040);
  s.wait(10s);
  EXPECT_EQ(s.connection()->mss, 1000U);
  EXPECT_EQ(s.host().count(&tcp::EngineCounters::black_holes), 0U);
}

TEST_F(PathMtu, SmallSegmentsThatAreLostSayNothingAboutThePath) {
  s.write(1000);
  s.wait(5s);
  EXPECT_EQ(s.host().count(&tcp::EngineCounters::black_holes), 0U);
  EXPECT_EQ(s.connection()->mss, 1460U);
}

TEST_F(PathMtu, ANewConnectionOnTheSamePathKnowsIt) {
  s.write(1460);
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 1040);
  s.arrives("R. 1:1 ack 1461");
  s.left();
  s.establish("mss 1460 sackok");
  s.write(2000);
  EXPECT_EQ(s.left(), ". 1:1001 ack 1\nP. 1001:2001 ack 1");
}

TEST_F(PathMtu, AFinStaysAtTheEnd) {
  s.write(1460);
  s.close();
  EXPECT_EQ(s.left(), "P. 1:1461 ack 1\nF. 1461:1461 ack 1");
  s.error_arrives(kUnreachable, kTooBig, "1:1461", 1040);
  EXPECT_EQ(s.left(), ". 1:1001 ack 1\nP. 1001:1461 ack 1");
  s.arrives("F. 1:1 ack 1462");
  EXPECT_EQ(s.left(), ". 1462:1462 ack 2");
}

TEST(SoftErrors, DoNotEndAConnection) {  // MUST-54, MUST-56
  Script s(plain_settings());
  s.establish();
  s.write(1000);
  for (const uint8_t code : std::initializer_list<uint8_t>{0, 1, 5})
    s.error_arrives(kUnreachable, code, "1:1001");
  s.error_arrives(11, 0, "1:1001");
  s.error_arrives(12, 0, "1:1001");
  EXPECT_EQ(drops(s, DropReason::icmp_error_soft), 5U);
  s.arrives(". 1:1 ack 1001");
  ASSERT_NE(s.connection(), nullptr);
  s.write(1000);
  EXPECT_TRUE(s.left().ends_with("P. 1001:2001 ack 1"));
}

// SHLD-26 would have these end a connection; RFC 5927 section 5 tells why no peer that has answered is given
// up for them.
TEST(SoftErrors, NorDoHardOnesOnceThePeerHasAnswered) {
  Script s(plain_settings());
  s.establish();
  s.write(1000);
  for (const uint8_t code : std::initializer_list<uint8_t>{2, 3, 9, 10, 13})
    s.error_arrives(kUnreachable, code, "1:1001");
  ASSERT_NE(s.connection(), nullptr);
  EXPECT_EQ(drops(s, DropReason::icmp_error_soft), 5U);
}

TEST(SoftErrors, AreWhatTheApplicationHearsWhenThePeerNeverAnswers) {  // SHLD-25
  Script s(plain_settings());
  s.establish();
  s.write(1000);
  s.wait(1s);
  s.error_arrives(kUnreachable, 1, "1:1001");
  s.wait(30min);
  EXPECT_EQ(s.connection(), nullptr);
  EXPECT_EQ(s.sockets().send(s.socket(), std::vector<uint8_t>(1), 0).error, EHOSTUNREACH);
}

TEST(SoftErrors, SourceQuenchIsIgnored) {  // MUST-55
  Script s(plain_settings());
  s.establish();
  s.write(4000);
  const uint32_t window = s.report().congestion_window;
  s.error_arrives(4, 0, "1:1001");
  EXPECT_EQ(s.report().congestion_window, window);
}

TEST(SoftErrors, ABackendThatIsRefusedIsGivenUpAtOnce) {
  Script s(plain_settings());
  s.connect();
  EXPECT_EQ(s.left().substr(0, 5), "S 0:0");
  s.error_arrives(kUnreachable, 1, "0:0");
  EXPECT_NE(s.connection(), nullptr) << "the network may find a way";
  s.error_arrives(kUnreachable, 3, "1:1");
  EXPECT_NE(s.connection(), nullptr) << "not the number of our SYN";
  s.error_arrives(kUnreachable, 3, "0:0");
  EXPECT_EQ(s.connection(), nullptr);
  EXPECT_EQ(drops(s, DropReason::icmp_error_refused), 1U);
}

}  // namespace
}  // namespace understudy::conformance
