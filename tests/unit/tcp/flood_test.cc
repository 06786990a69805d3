// SYN floods: cookies, what may be half open, and who makes room.
#include <chrono>

#include <gtest/gtest.h>

#include "dataplane/service/stream_applications.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/segment_bench.h"

namespace understudy {
namespace {

tcp::EngineSettings small_settings() {
  tcp::EngineSettings settings;
  settings.legs = settings.active_legs = 256;
  settings.chunks = settings.sent_segments = 2048;
  settings.half_open_max = 64;
  settings.half_open_per_source_max = 16;
  return settings;
}

wire::TcpOptions usual_options() {
  wire::TcpOptions options;
  options.mss = 1460;
  options.window_scale = 7;
  options.sack_permitted = true;
  options.timestamps = {1000, 0};
  return options;
}

struct FloodTest : testing::Test {
  explicit FloodTest(const tcp::EngineSettings& settings = small_settings()) : bench(settings) {
    bench.serve(80, echo);
  }
  void flood(uint32_t syns, uint32_t first_source = 0x0b000001, uint32_t sources = UINT32_MAX) {
    bench.keep = false;
    for (uint32_t i = 0; i < syns; ++i) {
      const IpAddress source = IpAddress::v4(first_source + flooded % sources);
      const auto port = static_cast<uint16_t>(1024 + flooded / sources);
      bench.take_in({.key = SegmentBench::flow(port, source),
                     .seq = Seq(flooded * 7919),
                     .flags = wire::kSyn,
                     .window = 1024,
                     .options = usual_options()});
      ++flooded;
      if (flooded % 32 == 0) bench.settle();
    }
    bench.settle();
    bench.keep = true;
  }
  // Says some bytes and hears them again.
  bool works(const FlowKey& flow, Seq irs, Seq iss, const wire::TcpOptions& options = {}) {
    const std::vector<uint8_t> words = {'h', 'e', 'l', 'l', 'o'};
    bench.sent.clear();
    bench.arrive({.key = flow,
                  .seq = irs + 1,
                  .ack = iss + 1,
                  .flags = wire::kAck | wire::kPsh,
                  .window = 65535,
                  .options = options},
                 words);
    for (const auto& sent : bench.sent)
      if (sent.payload == words && sent.segment.ack == irs + 6) return true;
    return false;
  }
  service::Echo echo;
  SegmentBench bench;
  uint32_t flooded = 0;
};

TEST_F(FloodTest, ConnectionsAreMadeFromCookiesWhileTheFloodLasts) {
  flood(1000);
  EXPECT_EQ(bench.engine.half_open(), 64U);
  EXPECT_GE(bench.engine.counters().cookies_sent, 900U);
  for (uint16_t port = 40000; port < 40100; ++port) {
    flood(50);
    const Seq irs(port * 1000U);
    const Seq iss = bench.connect(SegmentBench::flow(port), irs, usual_options());
    const tcp::Connection* c = bench.leg(SegmentBench::flow(port));
    ASSERT_NE(c, nullptr) << port;
    EXPECT_EQ(c->state, tcp::State::established);
    EXPECT_EQ(c->mss, 1460);
    EXPECT_EQ(c->snd_scale, 7);
    EXPECT_TRUE(c->window_scaling && c->sack && c->timestamps);
    wire::TcpOptions later;
    later.timestamps = {1002, 0};
    EXPECT_TRUE(works(SegmentBench::flow(port), irs, iss, later)) << port;
  }
  EXPECT_EQ(bench.engine.counters().cookies_accepted, 100U);
  EXPECT_EQ(bench.engine.legs().size(), 164U) << "the flood's legs and ours, no more";
}

TEST_F(FloodTest, ACookieCarriesWhatAPlainSynOffers) {
  flood(100);
  const FlowKey flow = SegmentBench::flow(40000);
  const Seq iss = bench.connect(flow, Seq(5));
  const tcp::Connection* c = bench.leg(flow);
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(c->mss, 536);
  EXPECT_FALSE(c->window_scaling || c->sack || c->timestamps);
  EXPECT_EQ(c->rcv_scale, 0);
  EXPECT_TRUE(works(flow, Seq(5), iss));
}

// The ACK of the handshake is lost: the first data segment brings the cookie back.
TEST_F(FloodTest, TheFirstDataBringsTheCookieBackToo) {
  flood(100);
  const FlowKey flow = SegmentBench::flow(40000);
  bench.sent.clear();
  bench.arrive({.key = flow, .seq = Seq(5), .flags = wire::kSyn, .window = 65535});
  ASSERT_EQ(bench.sent.size(), 1U);
  const Seq iss = bench.sent[0].segment.seq;
  EXPECT_EQ(bench.leg(flow), nullptr) << "nothing is kept for a cookie";
  EXPECT_TRUE(works(flow, Seq(5), iss));
}

// Its first segment may have been lost: a reset would end a connection that the next one brings into being.
TEST_F(FloodTest, AnAckThatBringsNoCookieIsLeftAloneAsLongAsCookiesHold) {
  flood(100);
  const wire::TcpSegmentToSend stray{
      .key = SegmentBench::flow(40000), .seq = Seq(6), .ack = Seq(123456), .flags = wire::kAck};
  bench.sent.clear();
  bench.arrive(stray);
  EXPECT_TRUE(bench.sent.empty());
  EXPECT_EQ(bench.drops(DropReason::tcp_reset_suppressed), 1U);
  bench.now += tcp::kCookieLife;
  bench.arrive(stray);
  ASSERT_EQ(bench.sent.size(), 1U);
  EXPECT_TRUE(bench.sent[0].segment.has(wire::kRst));
  EXPECT_EQ(bench.leg(SegmentBench::flow(40000)), nullptr);
}

// ACKs and FINs of no connection: a tenth of a second's resets at once, then as many as a second allows.
TEST_F(FloodTest, StrangersGetNoMoreResetsThanASecondAllows) {
  const auto stray = [&](uint32_t number, uint8_t flags) {
    bench.take_in({.key = SegmentBench::flow(1024, IpAddress::v4(0x0b000001 + number)),
                   .seq = Seq(number * 7919),
                   .ack = Seq(number),
                   .flags = flags,
                   .window = 1024});
  };
  bench.keep = false;
  for (uint32_t i = 0; i < 20'000; ++i) stray(i, i % 2 == 0 ? wire::kAck : wire::kAck | wire::kFin);
  EXPECT_EQ(bench.engine.counters().resets_out, 1001U);
  EXPECT_EQ(bench.drops(DropReason::tcp_reset_limited), 20'000U - 1001U);
  for (uint32_t i = 0; i < 10'000; ++i) {
    bench.now += 10us;
    stray(i, wire::kAck);
  }
  EXPECT_EQ(bench.engine.counters().resets_out, 2001U);
  EXPECT_EQ(bench.engine.legs().size(), 0U);
  EXPECT_EQ(bench.engine.half_open(), 0U);
}

// A reset that arrives before the last data is challenged (RFC 5961 section 3.2): who sent it is to say so
// again.
TEST_F(FloodTest, TheChallengeOfOurOwnResetIsAnsweredWhileUnknownConnectionsAreLeftAlone) {
  flood(100);
  const FlowKey flow = SegmentBench::flow(40000);
  const Seq iss = bench.connect(flow, Seq(5));
  ASSERT_TRUE(works(flow, Seq(5), iss));
  const uint32_t leg = bench.engine.legs().find({flow.remote, flow.local, flow.remote_port, flow.local_port});
  ASSERT_NE(leg, tcp::kNone);
  bench.engine.abort(leg, bench.now);
  bench.sent.clear();
  bench.arrive({.key = flow, .seq = Seq(11), .ack = iss + 1, .flags = wire::kAck});
  ASSERT_EQ(bench.sent.size(), 1U);
  EXPECT_TRUE(bench.sent[0].segment.has(wire::kRst));
  EXPECT_EQ(bench.sent[0].segment.seq, iss + 1);
  bench.engine.take_over(0, Epoch(), bench.now, 3s);  // another node may have had the numbers since
  bench.sent.clear();
  bench.arrive({.key = flow, .seq = Seq(11), .ack = iss + 1, .flags = wire::kAck});
  EXPECT_TRUE(bench.sent.empty());
}

TEST_F(FloodTest, CookiesAreReadOnlyForAWhile) {
  flood(100);
  const FlowKey flow = SegmentBench::flow(40000);
  bench.sent.clear();
  bench.arrive({.key = flow, .seq = Seq(5), .flags = wire::kSyn, .window = 65535});
  const Seq iss = bench.sent.at(0).segment.seq;
  bench.now += tcp::kCookieLife;
  EXPECT_FALSE(works(flow, Seq(5), iss));
  EXPECT_EQ(bench.leg(flow), nullptr);
}

TEST_F(FloodTest, CookiesSpeakBothFamilies) {
  flood(100);
  for (uint16_t port = 40000; port < 40010; ++port) {
    const FlowKey flow = SegmentBench::flow(port, SegmentBench::kStrangerV6);
    const Seq irs(port * 1000U);
    const Seq iss = bench.connect(flow, irs, {.mss = 1440, .window_scale = 7});
    const tcp::Connection* c = bench.leg(flow);
    ASSERT_NE(c, nullptr) << port;
    EXPECT_EQ(c->mss, 1440);
    EXPECT_TRUE(works(flow, irs, iss)) << port;
  }
  EXPECT_EQ(bench.engine.counters().cookies_accepted, 10U);
  const FlowKey plain = SegmentBench::flow(40100, SegmentBench::kStrangerV6);
  bench.connect(plain, Seq(5));
  ASSERT_NE(bench.leg(plain), nullptr);
  EXPECT_EQ(bench.leg(plain)->mss, 1220) << "what an IPv6 peer takes that does not say";
}

// One source that opens and never finishes does not put others on cookies.
TEST_F(FloodTest, OneSourceHasItsOwnShareOfHalfOpenConnections) {
  flood(60, 0x0b000001, 1);
  EXPECT_EQ(bench.engine.half_open(), 16U);
  EXPECT_EQ(bench.engine.counters().cookies_sent, 44U);
  const uint64_t before = bench.engine.counters().cookies_sent;
  bench.connect(SegmentBench::flow(40000), Seq(5));
  EXPECT_EQ(bench.engine.counters().cookies_sent, before);
  EXPECT_NE(bench.leg(SegmentBench::flow(40000)), nullptr);
}

TEST_F(FloodTest, HalfOpenConnectionsEndAndTheTableIsAsBefore) {
  const unsigned before = test_mbufs_in_use();
  flood(1000);
  bench.keep = false;
  bench.run_for(130s);  // all retransmissions of a SYN-ACK
  EXPECT_EQ(bench.engine.half_open(), 0U);
  EXPECT_EQ(bench.engine.legs().size(), 0U);
  EXPECT_EQ(test_mbufs_in_use(), before);
}

struct CookiesOff : FloodTest {
  static tcp::EngineSettings settings() {
    auto s = small_settings();
    s.syn_cookies = tcp::SynCookies::never;
    return s;
  }
  CookiesOff() : FloodTest(settings()) {}
};

TEST_F(CookiesOff, BeyondTheLimitASynIsDroppedAndCounted) {
  flood(1000);
  EXPECT_EQ(bench.engine.half_open(), 64U);
  EXPECT_EQ(bench.drops(DropReason::tcp_half_open_limit), 936U);
  EXPECT_EQ(bench.engine.counters().cookies_sent, 0U);
}

TEST_F(FloodTest, AFullTableGivesUpHalfOpenConnectionsAndNeverEstablishedOnes) {
  for (uint16_t i = 0; i < 192; ++i) {
    const Seq iss = bench.connect(SegmentBench::flow(static_cast<uint16_t>(40000 + i)), Seq(5));
    ASSERT_TRUE(works(SegmentBench::flow(static_cast<uint16_t>(40000 + i)), Seq(5), iss));
  }
  flood(64);
  ASSERT_EQ(bench.engine.legs().size(), 256U) << "full: 192 established, 64 half open";
  for (uint16_t i = 192; i < 256; ++i) {
    bench.connect(SegmentBench::flow(static_cast<uint16_t>(40000 + i)), Seq(5));
    EXPECT_NE(bench.leg(SegmentBench::flow(static_cast<uint16_t>(40000 + i))), nullptr) << i;
  }
  EXPECT_EQ(bench.drops(DropReason::tcp_half_open_evicted), 64U);
  EXPECT_EQ(bench.engine.half_open(), 0U);
  // Now all are established: the newcomer waits outside.
  bench.connect(SegmentBench::flow(50000), Seq(5));
  EXPECT_EQ(bench.leg(SegmentBench::flow(50000)), nullptr);
  EXPECT_GE(bench.drops(DropReason::tcp_table_full), 1U);
  for (uint16_t i = 0; i < 256; ++i) {
    const tcp::Connection* c = bench.leg(SegmentBench::flow(static_cast<uint16_t>(40000 + i)));
    ASSERT_NE(c, nullptr) << i;
    EXPECT_EQ(c->state, tcp::State::established);
  }
}

TEST_F(FloodTest, AResetDoesNotEndTimeWait) {
  const FlowKey flow = SegmentBench::flow(40000);
  const Seq iss = bench.connect(flow, Seq(5));
  ASSERT_NE(bench.leg(flow), nullptr);
  bench.engine.finish_writing(bench.engine.legs().find(bench.leg(flow)->key));
  bench.settle();
  bench.arrive({.key = flow, .seq = Seq(6), .ack = iss + 2, .flags = wire::kAck | wire::kFin, .window = 100});
  ASSERT_EQ(bench.leg(flow)->state, tcp::State::time_wait);
  bench.arrive({.key = flow, .seq = Seq(7), .flags = wire::kRst});
  ASSERT_NE(bench.leg(flow), nullptr);
  EXPECT_EQ(bench.leg(flow)->state, tcp::State::time_wait);
  EXPECT_EQ(bench.drops(DropReason::tcp_reset_ignored), 1U);
}

// RFC 6191: only a plain SYN with a newer number does.
TEST_F(FloodTest, WhatBeginsATimeWaitConnectionAnew) {
  const auto wait = [&](uint16_t port) {
    const FlowKey flow = SegmentBench::flow(port);
    const Seq iss = bench.connect(flow, Seq(5));
    bench.engine.finish_writing(bench.engine.legs().find(bench.leg(flow)->key));
    bench.settle();
    bench.arrive(
        {.key = flow, .seq = Seq(6), .ack = iss + 2, .flags = wire::kAck | wire::kFin, .window = 100});
    return flow;
  };
  const FlowKey flow = wait(40000);
  constexpr uint8_t kNot[] = {wire::kSyn | wire::kRst,
                              wire::kSyn | wire::kAck,
                              wire::kSyn | wire::kFin,
                              wire::kSyn | wire::kRst | wire::kFin,
                              wire::kFin,
                              wire::kAck,
                              0};
  for (const uint8_t flags : kNot) {
    bench.arrive({.key = flow, .seq = Seq(1'000'000), .flags = flags, .window = 100});
    ASSERT_NE(bench.leg(flow), nullptr);
    EXPECT_EQ(bench.leg(flow)->state, tcp::State::time_wait) << int{flags};
  }
  bench.arrive({.key = flow, .seq = Seq(1'000'000), .flags = wire::kSyn, .window = 100});
  ASSERT_NE(bench.leg(flow), nullptr);
  EXPECT_EQ(bench.leg(flow)->state, tcp::State::syn_received);
  EXPECT_EQ(bench.leg(flow)->rcv.irs, Seq(1'000'000));
  // In a flood the answer is a cookie, as for anybody else.
  const FlowKey other = wait(40001);
  flood(100);
  const uint64_t cookies = bench.engine.counters().cookies_sent;
  const Seq iss = bench.connect(other, Seq(1'000'000));
  EXPECT_EQ(bench.engine.counters().cookies_sent, cookies + 1);
  ASSERT_NE(bench.leg(other), nullptr);
  EXPECT_EQ(bench.leg(other)->state, tcp::State::established);
  EXPECT_TRUE(works(other, Seq(1'000'000), iss));
}

TEST_F(FloodTest, AFullTableGivesUpTimeWait) {
  for (uint16_t i = 0; i < 256; ++i) {
    const FlowKey flow = SegmentBench::flow(static_cast<uint16_t>(40000 + i));
    const Seq iss = bench.connect(flow, Seq(5));
    tcp::Connection* c = bench.leg(flow);
    ASSERT_NE(c, nullptr);
    if (i >= 128) continue;  // no more than half of the table waits
    bench.engine.finish_writing(bench.engine.legs().find(c->key));
    bench.settle();
    bench.arrive(
        {.key = flow, .seq = Seq(6), .ack = iss + 2, .flags = wire::kAck | wire::kFin, .window = 100});
    ASSERT_EQ(c->state, tcp::State::time_wait);
  }
  bench.connect(SegmentBench::flow(50000), Seq(5));
  EXPECT_NE(bench.leg(SegmentBench::flow(50000)), nullptr);
  EXPECT_EQ(bench.drops(DropReason::tcp_time_wait_evicted), 1U);
  EXPECT_EQ(bench.leg(SegmentBench::flow(40000)), nullptr) << "the oldest";
  EXPECT_NE(bench.leg(SegmentBench::flow(40001)), nullptr);
}

}  // namespace
}  // namespace understudy
