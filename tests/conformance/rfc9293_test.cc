// Requirements of RFC 9293 that no other test shows; RFC9293.md has them all.
#include <gtest/gtest.h>

#include "tests/conformance/script.h"

namespace understudy::conformance {
namespace {

// Acknowledges as a receiver does that is not in a hurry.
ProfileSettings unhurried() {
  ProfileSettings settings = plain_settings();
  settings.engine.quick_acks = 0;
  return settings;
}

TEST(Requirements, WindowsAreUnsignedAndScaled) {  // MUST-1, REC-1
  Script s(plain_settings());
  s.establish("mss 1000 sackok wscale 7");
  s.arrives(". 1:1 ack 1 win 65535");
  EXPECT_EQ(s.connection()->snd.wnd, 65535U << 7);
}

TEST(Requirements, EverySecondFullSegmentIsAcknowledged) {  // SHLD-18, SHLD-19, MUST-58
  Script s(unhurried());
  s.establish();
  s.arrives(". 1:1001 ack 1");
  EXPECT_EQ(s.left(), "");
  s.arrives(". 1001:2001 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 2001");
}

TEST(Requirements, ALoneSegmentWaitsLessThanHalfASecond) {  // MUST-40
  Script s(unhurried());
  s.establish();
  s.arrives(". 1:101 ack 1");
  s.wait(500ms);
  EXPECT_EQ(s.left(), ". 1:1 ack 101");
}

TEST(Requirements, AnAcknowledgementRidesOnData) {  // MUST-58
  Script s(unhurried());
  s.establish();
  s.arrives("P. 1:101 ack 1");
  s.write(10);
  EXPECT_EQ(s.left(), "P. 1:11 ack 101");
  s.arrives(". 101:101 ack 11");
  s.wait(1s);
  EXPECT_EQ(s.left(), "");
}

TEST(Requirements, WhatCameTooEarlyIsKeptAndAcknowledgedWithTheGap) {  // SHLD-31, MAY-13, MUST-59
  Script s(plain_settings());
  s.establish();
  s.arrives(". 1001:2001 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 1 sack 1001:2001");
  s.arrives(". 2001:3001 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 1 sack 1001:3001");
  s.arrives(". 1:1001 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 3001") << "all that is queued is looked at before the acknowledgement";
}

TEST(Requirements, ASmallSegmentDoesNotLeaveOnlyBecauseTheWindowEndsThere) {  // MUST-38
  ProfileSettings settings = plain_settings();
  settings.nagle = false;
  Script s(settings);
  s.establish("mss 1000");
  s.arrives(". 1:1 ack 1 win 2200");
  s.write(5000);
  EXPECT_EQ(s.left(), ". 1:1001 ack 1\nP. 1001:2001 ack 1") << "200 bytes would fit";
}

TEST(Requirements, TheWindowIsNotOpenedInCrumbs) {  // MUST-39
  ProfileSettings settings = plain_settings();
  settings.engine.receive_buffer = 10'000;
  Script s(settings);
  s.establish("mss 1000");
  for (int i = 0; i < 10; ++i)
    s.arrives("P. " + std::to_string(1 + i * 1000) + ":" + std::to_string(1001 + i * 1000) + " ack 1");
  s.left();
  EXPECT_EQ(s.read(100), 100U);
  EXPECT_EQ(s.left(), "") << "100 bytes are not worth telling";
  EXPECT_EQ(s.read(9900), 9900U);
  EXPECT_EQ(s.left(), ". 1:1 ack 10001");
}

TEST(Requirements, OurWindowNeverShrinks) {  // SHLD-14
  ProfileSettings settings = plain_settings();
  settings.engine.receive_buffer = 10'000;
  Script s(settings);
  s.establish("mss 1000");
  Seq edge = s.connection()->rcv.edge_sent;
  for (int i = 0; i < 9; ++i) {
    s.arrives("P. " + std::to_string(1 + i * 1000) + ":" + std::to_string(1001 + i * 1000) + " ack 1");
    EXPECT_TRUE(at_or_after(s.connection()->rcv.edge_sent, edge));
    edge = s.connection()->rcv.edge_sent;
  }
}

TEST(Requirements, AWindowThatShrinksStopsNewDataOnly) {  // MUST-34, SHLD-15, SHLD-16, SHLD-17, MAY-7
  ProfileSettings settings = plain_settings();
  settings.engine.data_retries = 4;
  Script s(settings);
  s.establish("mss 1000");
  s.write(4000);
  s.left();
  s.arrives(". 1:1 ack 1001 win 500");  // from 65535
  s.write(1000);
  EXPECT_EQ(s.left(), "") << "no new data";
  for (int i = 0; i < 12; ++i) {
    s.wait(1s);
    s.arrives(". 1:1 ack 1001 win 0");
    ASSERT_NE(s.connection(), nullptr) << "what lies beyond the edge is no reason to give up";
  }
  EXPECT_NE(s.left().find(". 1001:2001 ack 1"), std::string::npos) << "what was sent is sent again";
  s.arrives(". 1:1 ack 4001 win 5000");
  EXPECT_EQ(s.left(), "P. 4001:5001 ack 1");
}

TEST(Requirements,
     AClosedWindowIsProbedAfterTheTimeoutAndThenEverLess) {  // MUST-35, MUST-36, SHLD-29, SHLD-30
  Script s(plain_settings());
  s.establish("mss 1000");
  s.arrives(". 1:1 ack 1 win 0");
  s.write(1000);
  s.wait(200ms);
  EXPECT_EQ(s.left(), "");
  s.wait(20ms);
  EXPECT_EQ(s.left(), ". 0:0 ack 1");
  s.wait(400ms);
  EXPECT_EQ(s.left(), "");
  s.wait(40ms);
  EXPECT_EQ(s.left(), ". 0:0 ack 1");
  s.wait(780ms);
  EXPECT_EQ(s.left(), "");
  s.arrives(". 1:1 ack 1 win 4000");
  EXPECT_EQ(s.left(), "P. 1:1001 ack 1");
}

TEST(Requirements, AResetAndUrgentDataPassAWindowThatIsClosed) {  // MUST-66
  ProfileSettings settings = plain_settings();
  settings.engine.receive_buffer = 1000;
  Script s(settings);
  s.establish("mss 1000");
  s.arrives("P. 1:1001 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 1001");
  s.arrives("U. 1001:1001 ack 1 urg 5");
  EXPECT_EQ(s.engine().urgent_bytes(*s.connection()), 1005U);
  s.arrives("R 1001:1001");
  EXPECT_EQ(s.connection(), nullptr);
}

TEST(Requirements, UrgentDataOfAnyLengthIsAnnounced) {  // MUST-30 to MUST-33, MUST-62
  Script s(plain_settings());
  s.establish("mss 1000");
  s.arrives("PU. 1:11 ack 1 urg 3000");
  EXPECT_EQ(s.engine().urgent_bytes(*s.connection()), 3000U) << "also of what has not come yet";
  s.arrives("PU. 11:21 ack 1 urg 10");
  EXPECT_EQ(s.engine().urgent_bytes(*s.connection()), 3000U) << "the pointer does not move back";
  s.arrives("P. 21:31 ack 1");
  s.read(30);
  EXPECT_EQ(s.engine().urgent_bytes(*s.connection()), 2970U);
}

TEST(Requirements, UrgentDataIsSentAsSuch) {  // MUST-30, MUST-62
  ProfileSettings settings = plain_settings();
  settings.failover = Failover::never;  // no application of ours writes urgent data, and no record says so
  Script s(settings);
  s.establish("mss 1000");
  s.write(1000);
  s.left();
  s.write_urgent(1);
  s.arrives(". 1:1 ack 1001");
  EXPECT_EQ(s.left(), "PU. 1001:1002 ack 1 urg 1") << "the first byte that is not urgent";
  s.wait(2s);
  EXPECT_TRUE(s.left().starts_with("PU. 1001:1002 ack 1 urg 1")) << "again, when it is sent again";
  s.arrives(". 1:1 ack 1002");
  s.write(10);
  EXPECT_EQ(s.left(), "P. 1002:1012 ack 1");
}

TEST(Requirements, WhatStandsLastIsPushed) {  // MUST-60, MUST-61, SHLD-27, SHLD-28
  ProfileSettings settings = plain_settings();
  settings.nagle = false;
  Script s(settings);
  s.establish("mss 1000");
  s.write(2500);
  EXPECT_EQ(s.left(), ". 1:1001 ack 1\nP. 1001:2001 ack 1\nP. 2001:2501 ack 1");
}

TEST(Requirements, BothMayOpenAtOnce) {  // MUST-10
  Script s(plain_settings());
  s.connect();
  EXPECT_TRUE(s.left().starts_with("S 0:0 "));
  s.arrives("S 0:0 mss 1000 sackok");
  EXPECT_TRUE(s.left().starts_with("S. 0:0 ack 1 "));
  EXPECT_EQ(s.where(), "SYN-RECEIVED");
  s.arrives("S. 0:0 ack 1 mss 1000 sackok");
  EXPECT_EQ(s.where(), "ESTABLISHED");
}

TEST(Requirements, SynReceivedRemembersWhereItCameFrom) {  // MUST-11
  Script passive(plain_settings());
  passive.listen();
  passive.arrives("S 0:0 mss 1000");
  passive.arrives("R 1:1");
  EXPECT_EQ(passive.where(), "LISTEN");
  passive.left();
  passive.arrives("S 0:0 mss 1000");
  EXPECT_TRUE(passive.left().starts_with("S. 0:0 ack 1"));

  Script active(plain_settings());
  active.connect();
  active.left();
  active.arrives("S 0:0 mss 1000");
  active.arrives("R 1:1");
  EXPECT_EQ(active.where(), "CLOSED");
  EXPECT_EQ(active.error(), ECONNREFUSED);
}

TEST(Requirements, TheApplicationHearsOfAReset) {  // MUST-12
  Script s(plain_settings());
  s.establish();
  s.arrives("R 1:1");
  EXPECT_EQ(s.error(), ECONNRESET);
}

TEST(Requirements, TimeWaitLastsTwoSegmentLives) {  // MUST-13
  Script s(plain_settings());
  s.establish();
  s.shutdown();
  s.arrives("F. 1:1 ack 2");
  s.wait(59s);
  EXPECT_EQ(s.where(), "TIME-WAIT");
  s.wait(2s);
  EXPECT_EQ(s.connection(), nullptr);
}

// Section 3.10.7.4, fifth. A limit of its own for each connection, also there: two ends that disagree answer
// each other.
TEST(Requirements, TimeWaitAnswersWhatIsNotTheLastAcknowledgement) {
  Script s(plain_settings());
  s.establish();
  s.shutdown();
  s.arrives("F. 1:1 ack 2");
  EXPECT_EQ(s.left(), "F. 1:1 ack 1\n. 2:2 ack 2");
  s.arrives(". 2:2 ack 2");
  s.wait(1s);
  EXPECT_EQ(s.left(), "");
  for (int i = 0; i < 20; ++i) {
    s.arrives(i % 2 == 0 ? ". 2:102 ack 2" : ". 10:10 ack 2");
    s.wait(4ms);
  }
  EXPECT_EQ(s.left(), ". 2:2 ack 2");
  s.wait(100ms);
  s.arrives("F. 2:2 ack 2");
  EXPECT_EQ(s.left(), ". 2:2 ack 2");
  for (int i = 0; i < 20; ++i) s.arrives(". -100000:-100000 ack 2");
  EXPECT_EQ(s.left(), "");
  s.wait(59s);
  EXPECT_EQ(s.connection(), nullptr) << "none of that began the wait anew";
}

TEST(Requirements, ANewSynOpensAgainFromTimeWait) {  // MAY-2, SHLD-4
  for (const bool timestamps : {false, true}) {
    Script s(plain_settings());
    const std::string ts = timestamps ? " ts 200 0" : "";
    s.establish(timestamps ? "mss 1000 ts 100 0" : "mss 1000");
    s.shutdown();
    s.arrives("F. 1:1 ack 2" + ts);
    s.left();
    // With timestamps also a number below the old one's (RFC 6191).
    s.arrives(timestamps ? "S -1000:-1000 mss 1000 ts 201 0" : "S 2000:2000 mss 1000");
    EXPECT_TRUE(s.left().starts_with(timestamps ? "S. 0:0 ack -999" : "S. 0:0 ack 2001")) << timestamps;
  }
}

TEST(Requirements, DataThatNobodyReadIsLostWithAReset) {  // MAY-1, SHLD-3
  Script s(plain_settings());
  s.establish();
  s.arrives("P. 1:101 ack 1");
  s.left();
  s.close();
  EXPECT_EQ(s.left(), "R. 1:1 ack 101");
}

TEST(Requirements, WhatWasSentTwiceMeasuresNothing) {  // MUST-18
  Script s(plain_settings());
  s.establish("mss 1000");
  const Duration before = s.report().srtt;
  s.write(1000);
  s.wait(3s);
  s.arrives(". 1:1 ack 1001");
  EXPECT_EQ(s.report().srtt, before);
}

TEST(Requirements, TimeoutsBackOffAndTheWindowBeginsAnew) {  // MUST-19
  Script s(plain_settings());
  s.establish("mss 1000");
  s.write(8000);
  s.left();
  s.wait(215ms);
  EXPECT_EQ(s.left(), ". 1:1001 ack 1");
  EXPECT_EQ(s.report().congestion_window, 1000U);
  s.wait(400ms);
  EXPECT_EQ(s.left(), "");
  s.wait(30ms);
  EXPECT_EQ(s.left(), ". 1:1001 ack 1");
  s.arrives(". 1:1 ack 1001");
  EXPECT_EQ(s.left(), ". 1001:2001 ack 1\n. 2001:3001 ack 1") << "slow start";
}

TEST(Requirements, TheNetworkLayerIsToldAfterThreeRetransmissions) {  // MUST-20
  Script s(plain_settings());
  s.establish("mss 1000");
  s.write(1000);
  s.wait(700ms);  // at 0.21 and 0.63 s
  EXPECT_EQ(s.host().doubts(), 0U);
  s.wait(1s);
  EXPECT_EQ(s.host().doubts(), 1U);
}

TEST(Requirements, AnOpenIsTriedForThreeMinutes) {  // MUST-22, MUST-23
  Script s(plain_settings());
  s.connect();
  s.wait(180s);
  EXPECT_EQ(s.where(), "SYN-SENT");
  s.wait(60s);
  EXPECT_EQ(s.where(), "CLOSED");
  EXPECT_EQ(s.error(), ETIMEDOUT);
}

TEST(Requirements, AProxyGivesUpSooner) {
  ProfileSettings settings = plain_settings();
  settings.connect_timeout = 5s;
  Script s(settings);
  s.connect();
  s.wait(4900ms);
  EXPECT_EQ(s.where(), "SYN-SENT");
  s.wait(200ms);
  EXPECT_EQ(s.where(), "CLOSED");
}

TEST(Requirements, NobodyOpensToEverybody) {  // MUST-46
  Script s(plain_settings());
  const FlowKey key{*IpAddress::parse("192.168.0.1"), *IpAddress::parse("224.0.0.1"), PortNumber(1),
                    PortNumber(2)};
  EXPECT_EQ(s.engine().connect(0, key, nullptr, s.host().now()), tcp::kNone);
}

TEST(Requirements, TheSegmentSizeIsSaidOnSynsOnly) {  // MUST-14, MUST-65, MUST-67, SHLD-5, MAY-3
  Script s(plain_settings());
  s.connect();
  EXPECT_TRUE(s.left().starts_with("S 0:0 mss 1460 "));
  s.arrives("S. 0:0 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 1");
  s.write(1072);
  EXPECT_EQ(s.left(), ". 1:537 ack 1\nP. 537:1073 ack 1") << "536 where the peer does not say (MUST-15)";
}

TEST(Requirements, NumbersAreDrivenByAClockAndASecret) {  // MUST-8, MUST-9, SHLD-1
  const auto number = [](Duration later) {
    Script s(plain_settings());
    s.host().advance_to(s.host().now() + later);
    s.connect();
    return s.connection()->snd.iss;
  };
  EXPECT_EQ(number(0s), number(0s)) << "a function of the flow, the secret and time";
  EXPECT_EQ(number(1s) - number(0s), 250'000) << "a tick each 4 microseconds";
}

TEST(Requirements, MalformedOptionsAreNoReasonToStop) {  // MUST-5, MUST-7
  Script s(plain_settings());
  s.establish("mss 1000");
  s.arrives("P. 1:101 ack 1 mss 400");  // an option where it does not belong
  EXPECT_EQ(s.left(), ". 1:1 ack 101");
  EXPECT_EQ(s.connection()->mss, 1000U);
}

TEST(Requirements, AResetMayCarryText) {  // SHLD-2
  Script s(plain_settings());
  s.establish("mss 1000");
  s.arrives("R. 1:51 ack 1");
  EXPECT_EQ(s.connection(), nullptr);
}

TEST(Requirements, NobodyIsAddressedByBroadcast) {  // MUST-57
  Script s(plain_settings());
  s.listen();
  wire::TcpSegment syn;
  syn.source = *IpAddress::parse("192.0.2.1");
  syn.source_port = PortNumber(4000);
  syn.destination_port = PortNumber(80);
  syn.flags = wire::kSyn;
  for (const char* everybody : {"255.255.255.255", "192.168.0.255", "224.0.0.1", "ff02::1"}) {
    syn.destination = *IpAddress::parse(everybody);
    s.engine().receive(nullptr, syn, s.host().now());
  }
  s.host().settle();
  EXPECT_EQ(s.left(), "");
  EXPECT_EQ(s.connection(), nullptr);
  EXPECT_EQ(s.host().drops(DropReason::ip_not_for_us), 4U);
}

}  // namespace
}  // namespace understudy::conformance
