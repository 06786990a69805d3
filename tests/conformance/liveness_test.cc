// Keep-alive, the user timeout, and how often is tried: RFC 9293 sections 3.8.3, 3.8.4 and 3.8.6.1.
#include <gtest/gtest.h>

#include "tests/conformance/script.h"

namespace understudy::conformance {
namespace {

ProfileSettings with_keepalive() {
  ProfileSettings settings = plain_settings();
  settings.keepalive = {.idle = 60s, .interval = 10s, .probes = 3};
  return settings;
}

TEST(KeepAlive, IsOffUnlessAskedFor) {  // MUST-25
  Script s(plain_settings());
  s.establish();
  s.wait(3h);
  EXPECT_EQ(s.left(), "");
  EXPECT_NE(s.connection(), nullptr);
}

TEST(KeepAlive, ProbesWithoutDataBelowTheWindow) {  // SHLD-12
  Script s(with_keepalive());
  s.establish();
  s.wait(59s);
  EXPECT_EQ(s.left(), "");
  s.wait(2s);
  EXPECT_EQ(s.left(), ". 0:0 ack 1");
  s.arrives(". 1:1 ack 1");
  s.wait(58s);
  EXPECT_EQ(s.left(), "") << "an answer starts the time anew";
  s.wait(3s);
  EXPECT_EQ(s.left(), ". 0:0 ack 1");
}

TEST(KeepAlive, OneUnansweredProbeIsNoDeadConnection) {  // MUST-29
  Script s(with_keepalive());
  s.establish();
  s.wait(72s);
  EXPECT_EQ(s.left(), ". 0:0 ack 1\n. 0:0 ack 1");
  s.arrives(". 1:1 ack 1");
  s.wait(50s);
  EXPECT_NE(s.connection(), nullptr);
  EXPECT_EQ(s.left(), "");
}

TEST(KeepAlive, AllUnansweredEndTheConnection) {
  Script s(with_keepalive());
  s.establish();
  s.wait(88s);
  EXPECT_EQ(s.left(), ". 0:0 ack 1\n. 0:0 ack 1\n. 0:0 ack 1");
  s.wait(5s);
  EXPECT_EQ(s.left(), "R. 1:1 ack 1");
  EXPECT_EQ(s.connection(), nullptr);
  EXPECT_EQ(s.host().count(&tcp::EngineCounters::keepalive_timeouts), 1U);
}

TEST(KeepAlive, NotWhileSomethingIsOutstanding) {  // MUST-27
  Script s(with_keepalive());
  s.establish();
  s.write(100);
  s.wait(61s);
  const std::string sent = s.left();
  EXPECT_TRUE(sent.starts_with("P. 1:101 ack 1\nP. 1:101 ack 1"));
  EXPECT_EQ(sent.find(". 0:0"), std::string::npos);
}

TEST(KeepAlive, AnswersDoNotCountAsUse) {
  ProfileSettings settings = with_keepalive();
  settings.idle_timeout = 100s;
  Script s(settings);
  s.establish();
  s.wait(62s);
  EXPECT_EQ(s.left(), ". 0:0 ack 1");
  s.arrives(". 1:1 ack 1");
  s.wait(41s);
  EXPECT_EQ(s.left(), "R. 1:1 ack 1");
}

// Of a peer that nothing was recorded of for 24 days a successor knows neither when it was heard nor its
// clock.
TEST(IdleTimeout, WaitsForAPeerThatASuccessorKnowsNothingNewOf) {
  ProfileSettings settings = plain_settings();
  settings.idle_timeout = 100s;
  settings.failover = Failover::never;  // it takes over itself
  Script s(settings);
  s.establish("mss 1000 sackok ts 100 0");
  tcp::Engine& engine = s.engine();
  engine.give_up(0);
  engine.lie_down(0);
  s.wait(25 * 24h);
  engine.take_over(0, Epoch{}, s.host().now(), 0ms);
  s.wait(200s);
  ASSERT_NE(s.connection(), nullptr);
  s.left();
  s.arrives(". 1:1001 ack 1 ts 2160000100 0");
  EXPECT_EQ(s.left(), ". 1:1 ack 1001 ts 2160000100");
  s.wait(98s);
  EXPECT_NE(s.connection(), nullptr);
  s.wait(5s);
  EXPECT_EQ(s.connection(), nullptr);
}

TEST(KeepAlive, AStandbyIsSilentAndASuccessorAsksAtOnce) {
  ProfileSettings settings = with_keepalive();
  settings.failover = Failover::never;  // it takes over itself
  Script s(settings);
  s.establish();
  tcp::Engine& engine = s.engine();
  engine.give_up(0);
  engine.lie_down(0);
  s.wait(10min);
  EXPECT_EQ(s.left(), "");
  ASSERT_NE(s.connection(), nullptr);
  engine.take_over(0, Epoch{}, s.host().now(), 0ms);
  s.wait(2s);
  EXPECT_EQ(s.left(), ". 0:0 ack 1\n. 1:1 ack 1") << "the probe, and the acknowledgement of who wakes a leg";
  s.wait(21s);
  EXPECT_EQ(s.left(), ". 0:0 ack 1\n. 0:0 ack 1");
  s.arrives(". 1:1 ack 1");
  s.wait(50s);
  EXPECT_EQ(s.left(), "");
  EXPECT_NE(s.connection(), nullptr);
}

TEST(UserTimeout, EndsWhatIsNotAcknowledgedInTime) {  // MUST-20, MUST-21
  ProfileSettings settings = plain_settings();
  settings.user_timeout = 5s;
  Script s(settings);
  s.establish();
  s.write(100);
  s.wait(4900ms);
  EXPECT_NE(s.connection(), nullptr);
  s.left();
  s.wait(200ms);
  EXPECT_EQ(s.left(), "R. 101:101 ack 1");
  EXPECT_EQ(s.connection(), nullptr);
  EXPECT_EQ(s.host().count(&tcp::EngineCounters::user_timeouts), 1U);
}

TEST(UserTimeout, EachProgressStartsItAnew) {
  ProfileSettings settings = plain_settings();
  settings.user_timeout = 5s;
  Script s(settings);
  s.establish();
  s.write(2000);
  s.wait(4s);
  s.arrives(". 1:1 ack 1001");
  s.wait(4s);
  EXPECT_NE(s.connection(), nullptr);
  s.arrives(". 1:1 ack 2001");
  s.left();
  s.wait(1h);
  EXPECT_EQ(s.left(), "") << "nothing is outstanding";
  EXPECT_NE(s.connection(), nullptr);
}

TEST(UserTimeout, StandsInThePlaceOfTheNumberOfRetransmissions) {
  ProfileSettings settings = plain_settings();
  settings.engine.data_retries = 3;
  settings.user_timeout = 60s;
  Script s(settings);
  s.establish();
  s.write(100);
  s.wait(59s);
  EXPECT_NE(s.connection(), nullptr);
}

TEST(Retries, DataForAHundredSecondsAtLeast) {  // SHLD-11
  Script s(plain_settings());
  s.establish();
  s.write(100);
  s.wait(100s);
  EXPECT_NE(s.connection(), nullptr);
  s.wait(20min);
  EXPECT_EQ(s.connection(), nullptr);
  EXPECT_TRUE(s.left().ends_with("R. 101:101 ack 1"));
}

TEST(Retries, AClosedWindowThatIsAnsweredKeepsTheConnection) {  // MUST-36, MUST-37
  ProfileSettings settings = plain_settings();
  settings.user_timeout = 30s;
  Script s(settings);
  s.establish();
  s.arrives(". 1:1 ack 1 win 0");
  s.write(100);
  for (int i = 0; i < 100; ++i) {
    s.wait(20s);
    ASSERT_NE(s.connection(), nullptr) << "probe " << i;
    s.arrives(". 1:1 ack 1 win 0");
  }
  const std::string sent = s.left();
  EXPECT_TRUE(sent.starts_with(". 0:0 ack 1\n. 0:0 ack 1"));
  s.arrives(". 1:1 ack 1 win 1000");
  EXPECT_EQ(s.left(), "P. 1:101 ack 1");
  s.arrives(". 1:1 ack 101");
  s.wait(1h);
  EXPECT_NE(s.connection(), nullptr);
}

TEST(Retries, AClosedWindowThatNobodyAnswersDoesNot) {
  Script s(plain_settings());
  s.establish();
  s.arrives(". 1:1 ack 1 win 0");
  s.write(100);
  s.wait(100s);
  EXPECT_NE(s.connection(), nullptr);
  s.wait(20min);
  EXPECT_EQ(s.connection(), nullptr);
}

}  // namespace
}  // namespace understudy::conformance
