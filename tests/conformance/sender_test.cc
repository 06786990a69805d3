// What the public packetdrill scripts have found: each case fails without the rule that it names.
#include <gtest/gtest.h>

#include "tests/conformance/script.h"

namespace understudy::conformance {
namespace {

TEST(Sender, FastRetransmitCountsWhatTheSameSegmentSacked) {
  Script s(plain_settings());
  s.establish();
  s.write(10000);
  EXPECT_TRUE(s.left().ends_with("P. 9001:10001 ack 1"));
  s.wait(10ms);
  // The cumulative acknowledgement moves and six segments are SACKed: RFC 6937 lets all the three that are
  // lost go.
  s.arrives(". 1:1 ack 1001 sack 2001:3001 sack 5001:10001");
  EXPECT_EQ(s.left(), ". 1001:2001 ack 1\n. 3001:4001 ack 1\n. 4001:5001 ack 1");
}

TEST(Sender, EntersRecoveryWithOneRetransmission) {
  Script s(plain_settings());
  s.establish();
  s.write(10000);
  s.left();
  s.wait(10ms);
  s.arrives(". 1:1 ack 1 sack 1001:2001");
  s.arrives(". 1:1 ack 1 sack 1001:3001");
  EXPECT_EQ(s.left(), "");
  s.arrives(". 1:1 ack 1 sack 1001:3001 sack 8001:9001");  // six are lost, one may go
  EXPECT_EQ(s.left(), ". 1:1001 ack 1");
}

TEST(Sender, LimitedTransmitWithoutSack) {  // RFC 3042
  Script s(plain_settings());
  s.establish("mss 1000");
  s.write(15000);
  s.left();
  s.wait(10ms);
  s.arrives(". 1:1 ack 1");
  EXPECT_EQ(s.left(), ". 10001:11001 ack 1");
  s.arrives(". 1:1 ack 1");
  EXPECT_EQ(s.left(), ". 11001:12001 ack 1");
  // Two of the three segments were counted by the duplicates: the window grows by one.
  s.arrives(". 1:1 ack 3001");
  EXPECT_EQ(s.left(), ". 12001:13001 ack 1\nP. 13001:14001 ack 1");
}

TEST(Sender, ASegmentAckedLateWithoutRetransmissionIsReordering) {  // RFC 8985 section 6.2, step 3
  Script s(plain_settings());
  s.establish();
  s.write(4000);
  s.wait(10ms);
  s.arrives(". 1:1 ack 1 sack 3001:4001");
  EXPECT_EQ(s.report().reordering_bytes, 0U);
  s.arrives(". 1:1 ack 1001 sack 3001:4001");
  EXPECT_EQ(s.report().reordering_bytes, 4000U);
}

TEST(Sender, TailLossProbeFollowsTheLastSegmentSent) {  // RFC 8985 section 7.2
  Script s(plain_settings());
  s.establish();
  s.write(2000);
  s.wait(5ms);
  s.close();
  EXPECT_TRUE(s.left().ends_with("F. 2001:2001 ack 1"));
  s.wait(21ms);  // less than two round trips after the FIN
  EXPECT_EQ(s.left(), "");
  s.wait(3ms);
  EXPECT_EQ(s.left(), "F. 2001:2001 ack 1");
}

// Two segments of which the second was sent again as a probe; both are acknowledged.
void let_probe(Script& s) {
  s.establish();
  s.write(2000);
  s.wait(30ms);
  EXPECT_TRUE(s.left().ends_with("P. 1001:2001 ack 1"));
  EXPECT_EQ(s.host().count(&tcp::EngineCounters::tail_loss_probes), 1U);
  s.arrives(". 1:1 ack 2001");
}

TEST(Sender, AProbeThatRepairsALossShrinksTheWindowWithTheNextAcknowledgement) {  // RFC 8985 section 7.4.2
  Script s(plain_settings());
  let_probe(s);
  const uint32_t window = s.report().congestion_window;
  s.write(1000);
  EXPECT_EQ(s.report().congestion_window, window) << "it may have come twice";
  s.arrives(". 1:1 ack 3001");
  EXPECT_LT(s.report().congestion_window, window);
}

TEST(Sender, AProbeThatTurnsOutToBeADuplicateDoesNotShrinkTheWindow) {  // likewise
  for (const char* answer : {". 1:1 ack 2001 sack 1001:2001", ". 1:1 ack 2001"}) {
    Script s(plain_settings());
    let_probe(s);
    const uint32_t window = s.report().congestion_window;
    s.arrives(answer);
    s.write(1000);
    s.arrives(". 1:1 ack 3001");
    EXPECT_GE(s.report().congestion_window, window) << answer;
  }
}

TEST(Sender, TimeoutIsARoundTripAndTheMinimum) {  // RFC 6298 section 2
  Script s(plain_settings());
  s.establish("mss 1000");
  s.write(1000);
  s.left();
  s.wait(208ms);
  EXPECT_EQ(s.left(), "");
  s.wait(4ms);
  EXPECT_EQ(s.left(), "P. 1:1001 ack 1");
}

TEST(Sender, NagleHoldsWhatIsLessThanASegment) {  // RFC 9293 section 3.7.4
  Script s(plain_settings());
  s.establish();
  s.write(100);
  EXPECT_EQ(s.left(), "P. 1:101 ack 1");
  s.write(200);
  EXPECT_EQ(s.left(), "");
  s.arrives(". 1:1 ack 101");
  EXPECT_EQ(s.left(), "P. 101:301 ack 1");
}

TEST(Sender, ALimitOfTheServiceBoundsBothDirections) {  // RFC 9293 section 3.7.1
  Script s(plain_settings());
  const int listener = static_cast<int>(s.sockets().open(AF_INET, SOCK_STREAM, 0).value);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(80);
  address.sin_addr.s_addr = htonl(0xc0a80001);
  s.sockets().bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address);
  s.sockets().listen(listener, 1);
  const int most = 1100;
  s.sockets().set_option(listener, IPPROTO_TCP, 2, &most, sizeof most);  // TCP_MAXSEG
  s.arrives("S 0:0 mss 1300 wscale 7");
  EXPECT_EQ(s.left(), "S. 0:0 ack 1 mss 1100 wscale 8");
  s.arrives(". 1:1 ack 1");
  EXPECT_EQ(s.report().payload_max, 1100U);
}

TEST(Receiver, AnImpossibleAcknowledgementDoesNotMoveTheTimestamp) {  // RFC 7323 section 4.3
  Script s(plain_settings());
  s.establish("mss 1000 sackok ts 100 0");
  s.arrives(". 1:1 ack 9999 ts 200000 0");
  EXPECT_EQ(s.left(), ". 1:1 ack 1 ts 100") << "RFC 5961 section 5.2: it is answered";
  s.arrives(". 1:1001 ack 1 ts 201 0");
  EXPECT_EQ(s.left(), ". 1:1 ack 1001 ts 201") << "and what follows is not old";
}

// RFC 7323 section 5.5: after 24 days of silence the clock of a peer that counts milliseconds has gone half
// around, and what is newest looks old. Of what has been silent for less PAWS goes on to judge.
TEST(Receiver, ATimestampOutlivesTwentyDaysOfSilenceAndNotTwentyFive) {
  for (const bool outdated : {false, true}) {
    Script s(plain_settings());
    s.establish("mss 1000 sackok ts 100 0");
    s.wait(outdated ? 25 * 24h : 20 * 24h);
    s.left();
    s.arrives(". 1:1001 ack 1 ts 2160000100 0");  // 25 days later by the peer's clock
    EXPECT_EQ(s.left(), outdated ? ". 1:1 ack 1001 ts 2160000100" : ". 1:1 ack 1 ts 100");
    s.arrives(". 1001:2001 ack 1 ts 2160000050 0");
    EXPECT_EQ(s.left(), outdated ? ". 1:1 ack 1001 ts 2160000100" : "")
        << "once there is a new one it counts";
  }
}

// Who guesses does not take the silence away before the peer speaks again.
TEST(Receiver, AGuessDoesNotMakeAnOutdatedTimestampCount) {
  Script s(plain_settings());
  s.establish("mss 1000 sackok ts 100 0");
  s.wait(25 * 24h);
  s.left();
  s.arrives(". 500000:501000 ack 1 ts 2160000100 0");
  EXPECT_EQ(s.left(), ". 1:1 ack 1 ts 100");
  s.arrives(". 1:1001 ack 1 ts 2160000100 0");
  EXPECT_EQ(s.left(), ". 1:1 ack 1001 ts 2160000100");
}

TEST(Receiver, AResetHasTimestamps) {  // RFC 7323 section 3.2
  Script s(plain_settings());
  s.establish("mss 1000 ts 100 0");
  s.arrives(". 1:1001 ack 1 ts 201 0");
  s.left();
  s.close();  // with unread data
  EXPECT_EQ(s.left(), "R. 1:1 ack 1001 ts 201");
}

TEST(Receiver, TheFirstSegmentsAreAcknowledgedAtOnce) {
  ProfileSettings settings = plain_settings();
  Script quick(settings);
  quick.establish();
  quick.arrives(". 1:101 ack 1");
  EXPECT_EQ(quick.left(), ". 1:1 ack 101");
  settings.engine.quick_acks = 0;
  Script slow(settings);
  slow.establish();
  slow.arrives(". 1:101 ack 1");
  EXPECT_EQ(slow.left(), "");
  slow.wait(41ms);
  EXPECT_EQ(slow.left(), ". 1:1 ack 101");
}

}  // namespace
}  // namespace understudy::conformance
