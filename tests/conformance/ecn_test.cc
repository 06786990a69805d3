// Explicit congestion notification: RFC 3168.
#include <gtest/gtest.h>

#include "tests/conformance/script.h"

namespace understudy::conformance {
namespace {

ProfileSettings with(tcp::Ecn ecn) {
  ProfileSettings settings = plain_settings();
  settings.engine.ecn = ecn;
  return settings;
}

// Both want it; a round trip is 10 ms.
void establish(Script& s) {
  s.listen();
  s.arrives("SEW 0:0 mss 1000 sackok");
  ASSERT_EQ(s.left(), "SE. 0:0 ack 1 mss 1460 sackok");
  s.wait(10ms);
  s.arrives(". 1:1 ack 1");
  s.accept();
}

TEST(Ecn, IsAcceptedFromWhoAsks) {  // section 6.1.1
  Script s(with(tcp::Ecn::accept));
  establish(s);
  s.write(1000);
  EXPECT_EQ(s.left(), "P. 1:1001 ack 1 ect0");
}

TEST(Ecn, IsNotForcedUponWhoDoesNot) {
  Script s(with(tcp::Ecn::request));
  s.establish();
  s.write(1000);
  EXPECT_EQ(s.left(), "P. 1:1001 ack 1");
  s.arrives("PE. 1:101 ack 1001 ce");
  EXPECT_EQ(s.left(), ". 1001:1001 ack 101") << "bits that were not agreed upon mean nothing";
}

TEST(Ecn, CanBeSwitchedOff) {
  Script s(with(tcp::Ecn::off));
  s.listen();
  s.arrives("SEW 0:0 mss 1000 sackok");
  EXPECT_EQ(s.left(), "S. 0:0 ack 1 mss 1460 sackok");
}

TEST(Ecn, IsRequestedWhenConfigured) {
  Script s(with(tcp::Ecn::request));
  s.connect();
  EXPECT_TRUE(s.left().starts_with("SEW 0:0 "));
  s.arrives("SE. 0:0 ack 1 mss 1000 sackok");
  EXPECT_EQ(s.left(), ". 1:1 ack 1");
  s.write(100);
  EXPECT_EQ(s.left(), "P. 1:101 ack 1 ect0");
}

TEST(Ecn, AnAnswerThatOnlyRepeatsTheBitsIsNoAgreement) {  // section 6.1.1
  Script s(with(tcp::Ecn::request));
  s.connect();
  s.left();
  s.arrives("SEW. 0:0 ack 1 mss 1000 sackok");
  s.left();
  s.write(100);
  EXPECT_EQ(s.left(), "P. 1:101 ack 1");
}

TEST(Ecn, AnUnansweredRequestIsRepeatedWithout) {  // section 6.1.1.1
  Script s(with(tcp::Ecn::request));
  s.connect();
  s.left();
  s.wait(1100ms);
  EXPECT_TRUE(s.left().starts_with("S 0:0 "));
  s.arrives("SE. 0:0 ack 1 mss 1000 sackok");
  s.left();
  s.write(100);
  EXPECT_EQ(s.left(), "P. 1:101 ack 1");
}

TEST(Ecn, APeerThatRepeatsItsSynWithoutGetsNone) {
  Script s(with(tcp::Ecn::accept));
  s.listen();
  s.arrives("SEW 0:0 mss 1000 sackok");
  s.left();
  s.arrives("S 0:0 mss 1000 sackok");
  EXPECT_EQ(s.left(), "S. 0:0 ack 1 mss 1460 sackok");
}

TEST(Ecn, AMarkIsToldUntilThePeerHasSlowedDown) {  // section 6.1.3
  Script s(with(tcp::Ecn::accept));
  establish(s);
  s.arrives(". 1:1001 ack 1 ect0");
  EXPECT_EQ(s.left(), ". 1:1 ack 1001");
  s.arrives(". 1001:2001 ack 1 ce");
  EXPECT_EQ(s.left(), "E. 1:1 ack 2001");
  s.arrives(". 2001:3001 ack 1 ect0");
  EXPECT_EQ(s.left(), "E. 1:1 ack 3001");
  s.write(100);
  EXPECT_EQ(s.left(), "PE. 1:101 ack 3001 ect0") << "on data as well";
  s.arrives("W. 3001:4001 ack 101 ect0");
  EXPECT_EQ(s.left(), ". 101:101 ack 4001");
  s.arrives("W. 4001:5001 ack 101 ce");
  EXPECT_EQ(s.left(), "E. 101:101 ack 5001") << "slowed down, and marked anew";
}

TEST(Ecn, AMarkOutsideTheWindowIsIgnored) {
  Script s(with(tcp::Ecn::accept));
  establish(s);
  s.arrives(". 100001:101001 ack 1 ce");
  EXPECT_EQ(s.left(), ". 1:1 ack 1");
}

TEST(Ecn, TheWindowShrinksOncePerRoundTrip) {  // section 6.1.2
  Script s(with(tcp::Ecn::accept));
  establish(s);
  s.write(10'000);
  s.left();
  const uint32_t before = s.report().congestion_window;
  s.wait(10ms);
  s.arrives("E. 1:1 ack 1001");
  const uint32_t after = s.report().congestion_window;
  EXPECT_LT(after, before);
  EXPECT_GE(after, before / 2);
  s.arrives("E. 1:1 ack 2001");
  s.arrives("E. 1:1 ack 9001");
  EXPECT_LE(s.report().congestion_window, after + 1000);
  EXPECT_GE(s.report().congestion_window, after) << "one window of data is one reason";
  EXPECT_EQ(s.host().count(&tcp::EngineCounters::congestion_echoes_in), 1U);
  s.left();
  s.write(4'000);
  EXPECT_EQ(s.left(),
            "W. 10001:11001 ack 1 ect0\nP. 11001:12001 ack 1 ect0\n. 12001:13001 ack 1 ect0\n"
            "P. 13001:14001 ack 1 ect0")
      << "the first new segment says that we have slowed down";
  s.arrives("E. 1:1 ack 11001");
  EXPECT_LT(s.report().congestion_window, after + 1000) << "the next window is another one";
  EXPECT_EQ(s.host().count(&tcp::EngineCounters::congestion_echoes_in), 2U);
}

TEST(Ecn, LossInTheSameWindowDoesNotShrinkItAgain) {
  Script s(with(tcp::Ecn::accept));
  establish(s);
  s.write(10'000);
  s.left();
  s.wait(10ms);
  s.arrives("E. 1:1 ack 1001");
  const uint32_t threshold = s.report().slow_start_threshold;
  s.arrives("E. 1:1 ack 1001 sack 2001:5001");
  EXPECT_TRUE(s.report().in_recovery);
  EXPECT_EQ(s.report().slow_start_threshold, threshold);
}

TEST(Ecn, WhatIsSentAgainDoesNotOfferToBeMarked) {  // section 6.1.5
  Script s(with(tcp::Ecn::accept));
  establish(s);
  s.write(1000);
  EXPECT_EQ(s.left(), "P. 1:1001 ack 1 ect0");
  s.wait(1s);
  EXPECT_TRUE(s.left().starts_with("P. 1:1001 ack 1\n")) << "a tail loss probe, or after the timeout";
  s.arrives(". 1:1 ack 1001");
  s.write(1000);
  EXPECT_EQ(s.left(), "PW. 1001:2001 ack 1 ect0") << "the window was reduced for the timeout";
}

TEST(Ecn, NorDoAcknowledgementsProbesAndFins) {  // sections 6.1.4, 6.1.6
  Script s(with(tcp::Ecn::accept));
  establish(s);
  s.arrives(". 1:101 ack 1 win 0");
  EXPECT_EQ(s.left(), ". 1:1 ack 101");
  s.write(10);
  s.wait(2s);
  EXPECT_TRUE(s.left().starts_with(". 0:0 ack 101\n"));
  s.arrives(". 101:101 ack 1 win 1000");
  EXPECT_EQ(s.left(), "P. 1:11 ack 101 ect0");
  s.arrives(". 101:101 ack 11");
  s.shutdown();
  EXPECT_EQ(s.left(), "F. 11:11 ack 101");
}

TEST(Ecn, ASuccessorKnowsThePermission) {
  Script s(with(tcp::Ecn::accept));
  establish(s);
  s.engine().give_up(0);
  s.engine().lie_down(0);
  s.engine().take_over(0, Epoch{}, s.host().now(), 0ms);
  s.write(1000);
  EXPECT_EQ(s.left(), "P. 1:1001 ack 1 ect0\n. 1001:1001 ack 1")
      << "and the acknowledgement of who wakes a leg";
}

TEST(Differentiated, ServicesCodepointAndHopLimit) {  // RFC 9293, MUST-48, MUST-49
  ProfileSettings settings = plain_settings();
  settings.engine.hop_limit = 17;
  settings.dscp = 46;
  Script s(settings);
  s.establish();
  s.write(10);
  ASSERT_EQ(s.host().sent().size(), 1U);
  EXPECT_EQ(s.host().sent()[0].bytes[1], 46 << 2);
  EXPECT_EQ(s.host().sent()[0].bytes[8], 17);
}

}  // namespace
}  // namespace understudy::conformance
