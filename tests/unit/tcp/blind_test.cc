// Strangers who know the addresses and ports of a connection but do not see its segments (RFC 5961): whatever
// they send in a peer's name, no connection ends and no byte changes.
//
//   BLIND_SEGMENTS=100000000 build/tests/unit/tcp/unit-tcp --gtest_filter=Blind.*
#include <cstdlib>
#include <map>

#include <gtest/gtest.h>

#include "common/random.h"
#include "tests/support/engine_invariants.h"
#include "tests/support/segment_bench.h"

namespace understudy {
namespace {

uint32_t segments_to_send() {
  const char* wanted = std::getenv("BLIND_SEGMENTS");
  return wanted == nullptr ? 1'000'000 : static_cast<uint32_t>(std::strtoul(wanted, nullptr, 10));
}

// Keeps what it hears until the test takes it.
class Holder final : public tcp::Application {
 public:
  std::string_view name() const override { return "holder"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override { return engine.give_pipes(leg); }
  void on_closed(tcp::Engine&, uint32_t, tcp::CloseReason, Instant) override { ++closed; }
  int closed = 0;
};

uint8_t byte_at(uint32_t stream, uint64_t offset) {
  return static_cast<uint8_t>(stream * 37 + offset * 11 + (offset >> 8));
}

std::vector<uint8_t> bytes_of(uint32_t stream, uint64_t from, size_t length) {
  std::vector<uint8_t> bytes(length);
  for (size_t i = 0; i < length; ++i) bytes[i] = byte_at(stream, from + i);
  return bytes;
}

// What a connection is in the middle of when the stranger comes.
enum class Situation : uint8_t { idle, data_in_flight, hole, window_closed, they_finished, we_finished };
constexpr uint8_t kSituations = 6;

// All that an attack must leave as it is.
struct Picture {
  tcp::State state;
  Seq una, nxt, wl1, wl2, rcv_nxt, edge, edge_sent;
  uint32_t wnd, wnd_max, ts_recent;
  uint64_t head, tail;
  uint32_t early;
  bool fin;
  friend bool operator==(const Picture&, const Picture&) = default;
};

struct Blind : testing::Test {
  static constexpr uint32_t kBuffer = 40'000;
  static constexpr uint32_t kEach = 4;  // families, with timestamps and without
  static constexpr uint32_t kPeers = kSituations * kEach;

  static tcp::EngineSettings settings() {
    tcp::EngineSettings s;
    s.legs = s.active_legs = 64;
    s.chunks = s.sent_segments = 1024;
    s.receive_buffer = kBuffer;
    return s;
  }

  // The lawful peer of one connection.
  struct Peer {
    FlowKey flow;
    Situation situation;
    bool timestamps;
    uint32_t stream;
    Seq irs, iss;
    uint32_t ts = 1000;
    uint64_t said = 0;
    Picture before{};
  };

  Blind() : bench(settings()) {
    bench.serve(80, holder);
    for (uint32_t i = 0; i < kPeers; ++i) {
      const auto& from = i & 1 ? SegmentBench::kStrangerV6 : SegmentBench::kStranger;
      peers.push_back({.flow = SegmentBench::flow(static_cast<uint16_t>(40000 + i), from),
                       .situation = static_cast<Situation>(i / kEach),
                       .timestamps = (i & 2) != 0,
                       .stream = i,
                       .irs = Seq(static_cast<uint32_t>(random.next())),
                       .iss = {}});
      prepare(peers.back());
    }
    bench.keep = false;
  }

  tcp::Connection& leg(const Peer& peer) { return *bench.leg(peer.flow); }
  uint32_t index_of(const Peer& peer) { return bench.engine.legs().find(leg(peer).key); }

  void say(Peer& peer, uint64_t offset, std::span<const uint8_t> bytes, uint8_t flags = wire::kAck) {
    wire::TcpSegmentToSend s{.key = peer.flow,
                             .seq = peer.irs + 1 + static_cast<int64_t>(offset),
                             .ack = leg(peer).snd.una,
                             .flags = flags,
                             .window = 1000};
    if (peer.timestamps) s.options.timestamps = {peer.ts += 1, 0};
    bench.arrive(s, bytes);
  }
  void say_next(Peer& peer, size_t length) {
    say(peer, peer.said, bytes_of(peer.stream, peer.said, length));
    peer.said += length;
  }

  void prepare(Peer& peer) {
    wire::TcpOptions options{.mss = 1400, .window_scale = 6, .sack_permitted = peer.timestamps};
    if (peer.timestamps) options.timestamps = {peer.ts, 0};
    peer.iss = bench.connect(peer.flow, peer.irs, options);
    say_next(peer, 1000);
    switch (peer.situation) {
      case Situation::idle:
        break;
      case Situation::data_in_flight:
        bench.engine.write(index_of(peer), bytes_of(peer.stream + 100, 0, 3000));
        bench.settle();
        break;
      case Situation::hole:
        say(peer, peer.said + 500, bytes_of(peer.stream, peer.said + 500, 700));
        break;
      case Situation::window_closed:
        while (peer.said < kBuffer) say_next(peer, 1000);
        break;
      case Situation::they_finished:
        say(peer, peer.said, {}, wire::kAck | wire::kFin);
        break;
      case Situation::we_finished:
        bench.engine.finish_writing(index_of(peer));
        bench.settle();
        break;
    }
  }

  Picture picture(const Peer& peer) {
    const tcp::Connection& c = leg(peer);
    const tcp::Pipe& rx = bench.engine.pipes()[c.rx];
    const tcp::Soft* soft = bench.engine.soft_of(c);
    return {.state = c.state,
            .una = c.snd.una,
            .nxt = c.snd.nxt,
            .wl1 = c.snd.wl1,
            .wl2 = c.snd.wl2,
            .rcv_nxt = c.rcv.nxt,
            .edge = c.rcv.edge,
            .edge_sent = c.rcv.edge_sent,
            .wnd = c.snd.wnd,
            .wnd_max = c.snd.wnd_max,
            .ts_recent = c.ts_recent,
            .head = rx.head,
            .tail = rx.tail,
            .early = soft == nullptr ? 0 : soft->reassembly_count,
            .fin = rx.fin};
  }

  // Numbers from everywhere, and from where they do the most harm.
  Seq guess(Seq first, uint32_t window) {
    switch (random.below(4)) {
      case 0:
        return first + random.below(std::max(1U, window));
      case 1:
        return first - static_cast<int64_t>(random.below(70'000));
      case 2:
        return first + window + random.below(70'000);
      default:
        return Seq(static_cast<uint32_t>(random.next()));
    }
  }

  wire::TcpSegmentToSend forged(const Peer& peer) {
    constexpr uint8_t kFlags[] = {wire::kRst,
                                  wire::kRst | wire::kAck,
                                  wire::kSyn,
                                  wire::kSyn | wire::kAck,
                                  wire::kAck,
                                  wire::kAck | wire::kPsh,
                                  wire::kAck | wire::kFin,
                                  wire::kFin,
                                  0};
    const tcp::Connection& c = leg(peer);
    wire::TcpSegmentToSend s;
    s.key = peer.flow;
    s.flags = kFlags[random.below(std::size(kFlags))];
    if (random.chance(1, 16)) s.flags = static_cast<uint8_t>(random.next());
    s.seq = guess(c.rcv.nxt, static_cast<uint32_t>(std::max(0, c.rcv.edge - c.rcv.nxt)));
    s.ack = guess(c.snd.una, static_cast<uint32_t>(c.snd.nxt - c.snd.una));
    s.window = static_cast<uint16_t>(random.next());
    s.urgent_pointer = (s.flags & wire::kUrg) != 0 ? static_cast<uint16_t>(random.next()) : uint16_t{0};
    if (random.chance(1, 2))
      s.options.timestamps = {static_cast<uint32_t>(random.next()), static_cast<uint32_t>(random.next())};
    if ((s.flags & wire::kSyn) != 0) s.options.mss = static_cast<uint16_t>(random.next());
    return s;
  }

  // Right by chance: who does not see the connection meets such numbers once in more than 2^31 attempts, or,
  // for data in the window, once in 2^64 / (window * largest window of the peer) (RFC 5961 sections 3 to 5).
  bool lucky(const Peer& peer, const wire::TcpSegmentToSend& s, uint32_t payload) {
    const tcp::Connection& c = leg(peer);
    if ((s.flags & wire::kRst) != 0) return s.seq == c.rcv.nxt || s.seq == c.rcv.acked;
    if ((s.flags & wire::kSyn) != 0 || (s.flags & wire::kAck) == 0) return false;
    if (before(s.ack, c.snd.una - static_cast<int64_t>(c.snd.wnd_max)) || after(s.ack, c.snd.nxt))
      return false;
    const Seq end = s.seq + payload + ((s.flags & wire::kFin) != 0 ? 1 : 0);
    return at_or_after(end, c.rcv.nxt) && at_or_before(s.seq, later_of(c.rcv.edge, c.rcv.edge_sent));
  }

  Random random{4711};
  Holder holder;
  SegmentBench bench;
  std::vector<Peer> peers;
};

TEST_F(Blind, ForgedSegmentsNeitherEndNorChangeAConnection) {
  const uint32_t total = segments_to_send();
  for (Peer& peer : peers) peer.before = picture(peer);
  const Instant start = bench.now;
  uint32_t by_chance = 0;
  uint32_t resets = 0, syns = 0, others = 0;
  const uint64_t challenges_before = bench.engine.counters().challenge_acks;
  std::vector<uint8_t> junk(1400, 0xee);
  for (uint32_t sent = 0; sent < total;) {
    Peer& peer = peers[random.below(kPeers)];
    const uint32_t payload = random.chance(1, 2) ? random.below(1400) : 0;
    const wire::TcpSegmentToSend s = forged(peer);
    if (lucky(peer, s, payload)) {
      ++by_chance;
      continue;
    }
    ++sent;
    ++((s.flags & wire::kRst) != 0 ? resets : (s.flags & wire::kSyn) != 0 ? syns : others);
    bench.take_in(s, {junk.data(), payload});
    ASSERT_NE(bench.leg(peer.flow), nullptr) << "segment " << sent << " ended a connection";
    ASSERT_EQ(picture(peer), peer.before)
        << "segment " << sent << ", situation " << static_cast<int>(peer.situation) << ", flags "
        << static_cast<int>(s.flags) << " seq " << s.seq - leg(peer).rcv.nxt << " ack "
        << s.ack - leg(peer).snd.una << " payload " << payload;
    if (sent % 32 == 0) {
      bench.engine.run_timers(bench.now);
      bench.engine.upkeep(bench.now, 16);
      bench.settle();
      check_engine(bench.engine);
    }
    bench.now += 10us;
  }
  bench.settle();
  const auto tenths = static_cast<uint64_t>((bench.now - start) / 100ms) + 1;
  const uint64_t challenges = bench.engine.counters().challenge_acks - challenges_before;
  EXPECT_LE(challenges, kPeers * tenths) << "each connection has its own limit of ten a second";
  EXPECT_GE(challenges, kPeers * tenths / 2) << "and under fire it is used";
  EXPECT_EQ(holder.closed, 0);
  EXPECT_EQ(bench.engine.legs().size(), kPeers);
  std::printf(
      "%u resets, %u SYNs, %u others forged; %u left out as right by chance; %lu challenges in %lu ms\n",
      resets, syns, others, by_chance, static_cast<unsigned long>(challenges),
      static_cast<unsigned long>(tenths * 100));

  // And each of them goes on with the peer that sees it.
  for (Peer& peer : peers) {
    const tcp::Connection& c = leg(peer);
    const uint32_t index = index_of(peer);
    const tcp::Pipe& rx = bench.engine.pipes()[c.rx];
    if (peer.situation == Situation::they_finished) {
      EXPECT_EQ(c.state, tcp::State::close_wait);
    } else if (peer.situation == Situation::window_closed) {
      EXPECT_EQ(rx.tail, kBuffer);
    } else {
      say_next(peer, 1000);  // closes the hole
      if (peer.situation == Situation::hole) peer.said += 200;
    }
    ASSERT_EQ(rx.tail, peer.said) << peer.stream;
    std::vector<uint8_t> heard(peer.said);
    tcp::ReadCursor cursor;
    bench.engine.pipes().copy_out(rx, 0, static_cast<uint32_t>(peer.said), heard.data(), cursor);
    EXPECT_EQ(heard, bytes_of(peer.stream, 0, peer.said)) << peer.stream;
    bench.engine.consume(index, peer.said);
    bench.settle();
  }
}

// The limit belongs to the connection: what strangers do to one changes nothing for another, and cannot be
// seen from there (Cao et al. 2016 counted a limit that was common to all).
TEST_F(Blind, AChallengeIsLimitedPerConnection) {
  const auto challenge = [&](Peer& peer) {
    bench.sent.clear();
    bench.arrive({.key = peer.flow, .seq = leg(peer).rcv.nxt + 10, .flags = wire::kRst});
    return bench.sent.size();
  };
  bench.keep = true;
  bench.now += 1s;
  EXPECT_EQ(challenge(peers[0]), 1U);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(challenge(peers[0]), 0U);
  EXPECT_EQ(challenge(peers[1]), 1U);
  bench.now += 100ms;
  EXPECT_EQ(challenge(peers[0]), 1U);
}

// A flood in a peer's name is not reflected to it: what has no payload, and what PAWS refuses, shares the
// limit.
TEST_F(Blind, AFloodOfOldSegmentsIsNotAnsweredOneByOne) {
  Peer& peer = peers[2];  // idle, with timestamps
  ASSERT_TRUE(leg(peer).timestamps);
  bench.now += 1s;
  const uint64_t before = bench.segments_sent;
  for (int i = 0; i < 1000; ++i) {
    bench.arrive(
        {.key = peer.flow, .seq = leg(peer).rcv.nxt - 1, .ack = leg(peer).snd.una, .flags = wire::kAck});
    wire::TcpSegmentToSend old{
        .key = peer.flow, .seq = leg(peer).rcv.nxt, .ack = leg(peer).snd.una, .flags = wire::kAck};
    old.options.timestamps = {peer.ts - 1000, 0};
    bench.arrive(old);
    bench.arrive(
        {.key = peer.flow, .seq = leg(peer).rcv.edge + 1000, .ack = leg(peer).snd.una, .flags = wire::kAck},
        bytes_of(0, 0, 10));
  }
  EXPECT_EQ(bench.segments_sent - before, 1U);
  bench.now += 100ms;
  bench.arrive(
      {.key = peer.flow, .seq = leg(peer).rcv.nxt - 1, .ack = leg(peer).snd.una, .flags = wire::kAck});
  EXPECT_EQ(bench.segments_sent - before, 2U) << "a keepalive is answered";
}

// The other half of RFC 5961: what a peer that has forgotten the connection answers to a challenge ends it.
TEST_F(Blind, TheExactResetStillEndsAConnection) {
  for (Peer& peer : peers) {
    bench.now += 1s;
    bench.keep = true;
    bench.sent.clear();
    bench.arrive({.key = peer.flow, .seq = leg(peer).rcv.nxt + 77, .flags = wire::kSyn, .window = 1000});
    ASSERT_FALSE(bench.sent.empty());
    const Seq ack = bench.sent.back().segment.ack;
    EXPECT_TRUE(bench.sent.back().segment.has(wire::kAck));
    bench.arrive({.key = peer.flow, .seq = ack, .flags = wire::kRst});
    EXPECT_EQ(bench.leg(peer.flow), nullptr) << peer.stream;
  }
  EXPECT_EQ(holder.closed, static_cast<int>(kPeers));
}

}  // namespace
}  // namespace understudy
