// Peers that ask for much and take nothing (sockstress, slow readers): what they can make us hold is bounded,
// and those who take what they asked for do not notice.
#include <gtest/gtest.h>

#include "dataplane/service/stream_applications.h"
#include "tests/support/engine_invariants.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/segment_bench.h"

namespace understudy {
namespace {

tcp::EngineSettings settings() {
  tcp::EngineSettings s;
  s.legs = s.active_legs = 256;
  s.chunks = s.sent_segments = 2048;
  s.receive_buffer = 8000;
  s.pinned_max = 1000 * 2304;
  s.stalled_max = 40;
  s.stalled_per_source_max = 8;
  s.stalled_grace = 2s;
  s.silent_max = 50;
  s.silent_per_source_max = 12;
  s.silent_grace = 2s;
  return s;
}

struct SlowReaderTest : testing::Test {
  SlowReaderTest() : bench(settings()) { bench.serve(80, echo); }

  struct Peer {
    FlowKey flow;
    Seq irs, iss;
    uint32_t said = 0;
    uint32_t heard = 0;
  };
  Peer open(uint16_t port, const IpAddress& from = SegmentBench::kStranger, uint16_t window = 65535) {
    Peer peer{.flow = SegmentBench::flow(port, from), .irs = Seq(port * 99U), .iss = {}};
    peer.iss = bench.connect(peer.flow, peer.irs, {.mss = 1460}, window);
    EXPECT_NE(bench.leg(peer.flow), nullptr);
    return peer;
  }
  void say(Peer& peer, uint32_t length, uint16_t window, uint32_t skip = 0) {
    bench.arrive({.key = peer.flow,
                  .seq = peer.irs + 1 + int64_t{peer.said} + int64_t{skip},
                  .ack = peer.iss + 1 + int64_t{peer.heard},
                  .flags = wire::kAck | wire::kPsh,
                  .window = window},
                 std::vector<uint8_t>(length, 'x'));
    if (skip == 0) peer.said += length;
  }
  // Asks for an echo and acknowledges it.
  bool works(Peer& peer) {
    if (bench.leg(peer.flow) == nullptr) return false;
    bench.sent.clear();
    say(peer, 100, 65535);
    uint32_t came = 0;
    for (const auto& sent : bench.sent)
      if (sent.segment.destination_port == peer.flow.local_port && sent.segment.source == peer.flow.remote &&
          sent.segment.destination == peer.flow.local)
        came += static_cast<uint32_t>(sent.payload.size());
    peer.heard += 100;
    bench.arrive({.key = peer.flow,
                  .seq = peer.irs + 1 + int64_t{peer.said},
                  .ack = peer.iss + 1 + int64_t{peer.heard},
                  .flags = wire::kAck,
                  .window = 65535});
    return came == 100;
  }
  // Asks for an echo and closes the window before it.
  Peer stall(uint16_t port, const IpAddress& from) {
    Peer peer = open(port, from);
    say(peer, 1000, 0);
    return peer;
  }
  uint64_t ended() { return bench.drops(DropReason::tcp_stalled_ended); }

  service::Echo echo;
  SegmentBench bench;
};

const IpAddress kOther = IpAddress::v4(0x0b000001);

TEST_F(SlowReaderTest, ASourceMayKeepSoManyWindowsClosed) {
  Peer lawful = open(1000);
  std::vector<Peer> slow;
  for (uint16_t i = 0; i < 30; ++i) slow.push_back(stall(static_cast<uint16_t>(40000 + i), kOther));
  Peer one_of_its_kind = stall(41000, IpAddress::v4(0x0b000002));
  EXPECT_EQ(bench.engine.stalled(), 31U);
  bench.run_for(1s);
  EXPECT_EQ(ended(), 0U) << "not before the grace";
  bench.keep = false;
  bench.run_for(10s);
  bench.keep = true;
  check_engine(bench.engine);
  EXPECT_EQ(ended(), 22U);
  EXPECT_EQ(bench.engine.stalled(), 9U);
  EXPECT_NE(bench.leg(one_of_its_kind.flow), nullptr) << "slow, but alone";
  EXPECT_TRUE(works(lawful));
}

TEST_F(SlowReaderTest, AllSourcesTogetherHaveALimitToo) {
  for (uint16_t i = 0; i < 100; ++i) stall(40000, IpAddress::v4(0x0b000001U + i));
  EXPECT_EQ(bench.engine.stalled(), 100U);
  bench.keep = false;
  bench.run_for(10s);
  EXPECT_EQ(bench.engine.stalled(), 40U);
  EXPECT_EQ(ended(), 60U);
  check_engine(bench.engine);
}

TEST_F(SlowReaderTest, WhoReadsOnIsNotCounted) {
  std::vector<Peer> slow;
  for (uint16_t i = 0; i < 20; ++i) slow.push_back(stall(static_cast<uint16_t>(40000 + i), kOther));
  for (Peer& peer : slow) {  // a window of one byte is none
    bench.arrive({.key = peer.flow,
                  .seq = peer.irs + 1 + int64_t{peer.said},
                  .ack = peer.iss + 1,
                  .flags = wire::kAck,
                  .window = 1});
  }
  EXPECT_EQ(bench.engine.stalled(), 20U);
  for (Peer& peer : slow)
    bench.arrive({.key = peer.flow,
                  .seq = peer.irs + 1 + int64_t{peer.said},
                  .ack = peer.iss + 1 + int64_t{peer.heard},
                  .flags = wire::kAck,
                  .window = 65535});
  EXPECT_EQ(bench.engine.stalled(), 0U);
  for (Peer& peer : slow) {
    peer.heard += 1000;
    bench.arrive({.key = peer.flow,
                  .seq = peer.irs + 1 + int64_t{peer.said},
                  .ack = peer.iss + 1 + int64_t{peer.heard},
                  .flags = wire::kAck,
                  .window = 65535});
  }
  bench.run_for(10s);
  EXPECT_EQ(ended(), 0U);
  for (Peer& peer : slow) EXPECT_TRUE(works(peer)) << peer.irs.raw();
}

// Not even an acknowledgement: the same as a closed window.
TEST_F(SlowReaderTest, WhoAcknowledgesNothingStallsToo) {
  for (uint16_t i = 0; i < 20; ++i) {
    Peer peer = open(static_cast<uint16_t>(40000 + i), kOther);
    say(peer, 1000, 65535);
  }
  EXPECT_EQ(bench.engine.stalled(), 0U);
  bench.keep = false;
  bench.run_for(60s);
  EXPECT_EQ(bench.engine.legs().size(), 8U);
  EXPECT_EQ(ended(), 12U);
}

// Fewer than the limits, but what they pin is nearly all there is: they go, and service goes on.
TEST_F(SlowReaderTest, WhenMemoryRunsShortTheyMakeRoom) {
  const unsigned before = test_mbufs_in_use();
  for (uint16_t i = 0; i < 35; ++i) {
    Peer peer = open(40000, IpAddress::v4(0x0b000001U + i));
    for (int k = 0; k < 60; ++k) say(peer, 130, 0);
    // Out of order as well, behind a hole that never closes.
    for (uint32_t k = 0; k < 60; ++k) say(peer, 1, 0, 100 + 2 * k);
  }
  EXPECT_LE(bench.engine.pipes().pinned(), bench.engine.pipes().pinned_max());
  EXPECT_GT(bench.engine.pipes().pinned(), bench.engine.pipes().pinned_max() / 4 * 3);
  Peer lawful = open(1000);
  EXPECT_TRUE(works(lawful)) << "the last quarter is for bytes in order";
  bench.keep = false;
  bench.run_for(10s);
  bench.keep = true;
  EXPECT_GT(ended(), 0U);
  EXPECT_LE(bench.engine.pipes().pinned(), bench.engine.pipes().pinned_max() / 4 * 3);
  EXPECT_TRUE(works(lawful));
  check_engine(bench.engine);
  EXPECT_LT(test_mbufs_in_use() - before, 1000U);
}

// A handshake and nothing more.
TEST_F(SlowReaderTest, ASourceMayLeaveSoManyConnectionsUnused) {
  Peer speaks = open(1000, kOther);
  EXPECT_TRUE(works(speaks));
  for (uint16_t i = 0; i < 30; ++i) open(static_cast<uint16_t>(40000 + i), kOther);
  open(41000, IpAddress::v4(0x0b000002));
  bench.run_for(1100ms);
  EXPECT_EQ(bench.engine.silent(), 31U) << "who has spoken does not count";
  EXPECT_EQ(bench.drops(DropReason::tcp_silent_ended), 0U) << "not before the grace";
  bench.run_for(5s);
  EXPECT_EQ(bench.drops(DropReason::tcp_silent_ended), 18U);
  EXPECT_EQ(bench.engine.silent(), 13U);
  EXPECT_NE(bench.leg(SegmentBench::flow(41000, IpAddress::v4(0x0b000002))), nullptr);
  EXPECT_TRUE(works(speaks));
  check_engine(bench.engine);
}

// Bare acknowledgements, and bytes that were never asked for, cost their sender nothing.
TEST_F(SlowReaderTest, WhoOnlyRepeatsItsAcknowledgementIsAsSilent) {
  std::vector<Peer> peers;
  for (uint16_t i = 0; i < 30; ++i) peers.push_back(open(static_cast<uint16_t>(40000 + i), kOther));
  for (int k = 0; k < 5; ++k) {
    bench.run_for(1s);
    for (Peer& peer : peers) {
      const int64_t garbage = k % 2;
      bench.arrive({.key = peer.flow,
                    .seq = peer.irs + 1 - garbage,
                    .ack = peer.iss + 1,
                    .flags = wire::kAck,
                    .window = 65535},
                   std::vector<uint8_t>(static_cast<size_t>(garbage), 'x'));
    }
  }
  EXPECT_EQ(bench.drops(DropReason::tcp_silent_ended), 18U);
  check_engine(bench.engine);
}

TEST_F(SlowReaderTest, WhoSpeaksAtLastIsNotSilentAnyMore) {
  std::vector<Peer> peers;
  for (uint16_t i = 0; i < 30; ++i) peers.push_back(open(static_cast<uint16_t>(40000 + i), kOther));
  bench.run_for(1500ms);
  for (Peer& peer : peers) EXPECT_TRUE(works(peer));
  bench.run_for(20s);
  EXPECT_EQ(bench.engine.silent(), 0U);
  EXPECT_EQ(bench.drops(DropReason::tcp_silent_ended), 0U);
  check_engine(bench.engine);
}

TEST_F(SlowReaderTest, AllSourcesMayLeaveSoManyConnectionsUnused) {
  Peer speaks = open(1000, kOther);
  EXPECT_TRUE(works(speaks));
  for (uint16_t i = 0; i < 100; ++i) open(50000, IpAddress::v4(0x0c000000U + i));
  bench.run_for(1100ms);
  EXPECT_EQ(bench.engine.silent(), 50U) << "beyond the limit they are not counted one by one";
  bench.run_for(10s);
  EXPECT_GE(bench.drops(DropReason::tcp_silent_ended), 51U);
  EXPECT_LT(bench.engine.silent(), 50U);
  EXPECT_TRUE(works(speaks));
  check_engine(bench.engine);
}

}  // namespace
}  // namespace understudy
