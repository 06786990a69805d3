// What a SYN flood leaves to those who have a connection: the time that their segments take with a forged SYN
// after each of them, and without.
#include <array>
#include <chrono>
#include <cstring>

#include "common/check.h"
#include "dataplane/service/stream_applications.h"
#include "dataplane/tcp/engine.h"
#include "tests/bench/measure.h"

namespace understudy::bench {
namespace {

using Clock = std::chrono::steady_clock;

const IpAddress kServer = IpAddress::v4(0x0a0a000a);
constexpr uint32_t kPeers = 64;
constexpr uint32_t kPayload = 1448;
constexpr size_t kBurst = 32;

// Takes what the engine sends; remembers the number of the last SYN-ACK.
class Sink final : public tcp::SegmentSink {
 public:
  void transmit(rte_mbuf* frame, const FlowKey&) override {
    if (opening) {
      rte_pktmbuf_mtod(frame, wire::EthernetHeader*)->type = wire::ether_type_of_packet(frame);
      const auto parsed = wire::parse_frame(frame);
      if (const auto* s = std::get_if<wire::TcpSegment>(&parsed)) last = s->seq;
    }
    rte_pktmbuf_free(frame);
  }
  bool opening = true;
  Seq last;
};

// One engine that discards what established peers send, and strangers who send SYNs under ever new addresses.
class Scene {
 public:
  explicit Scene(rte_mempool* pool)
      : pool_(pool), engine_(settings(), Secret{{7}}, shards(), pool, sink_, now_) {
    engine_.add_group(GroupId(1), true);
    engine_.add_address(0, kServer);
    engine_.add_service({.id = ServiceId(1),
                         .addresses = {kServer},
                         .first_port = PortNumber(9),
                         .last_port = PortNumber(9),
                         .application = &discard_});
    for (uint32_t i = 0; i < kPeers; ++i) {
      give(build(
          {.key = peer(i), .seq = Seq(0), .flags = wire::kSyn, .window = 60000, .options = {.mss = 1460}},
          0));
      settle();
      give(build({.key = peer(i), .seq = Seq(1), .ack = sink_.last + 1, .flags = wire::kAck, .window = 60000},
                 0));
      settle();
      acks_[i] = sink_.last + 1;
    }
    sink_.opening = false;
    invariant(engine_.counters().established == kPeers, "bench: the peers do not connect");
  }

  // Nanoseconds of the engine for a burst of data, with as many forged segments among it or with none.
  double burst(uint8_t forged_flags) {
    std::array<rte_mbuf*, 2 * kBurst> frames;
    size_t count = 0;
    for (size_t i = 0; i < kBurst; ++i) {
      const uint32_t who = next_++ % kPeers;
      frames[count++] = build({.key = peer(who),
                               .seq = Seq(1 + said_[who]),
                               .ack = acks_[who],
                               .flags = wire::kAck,
                               .window = 60000},
                              kPayload);
      said_[who] += kPayload;
      if (forged_flags != 0) frames[count++] = stranger(forged_flags);
    }
    const auto begin = Clock::now();
    for (size_t i = 0; i < count; ++i) give(frames[i]);
    engine_.run_timers(now_);
    settle();
    const auto took = Clock::now() - begin;
    now_ += 20us;
    return std::chrono::duration<double, std::nano>(took).count();
  }
  uint64_t accepted() { return engine_.counters().payload_in; }
  uint64_t cookies() { return engine_.counters().cookies_sent; }

 private:
  static tcp::EngineSettings settings() {
    tcp::EngineSettings s;
    s.legs = s.active_legs = 8192;
    return s;
  }
  static const tcp::ShardMap& shards() {
    static const tcp::ShardMap map(64);
    return map;
  }
  static FlowKey peer(uint32_t i) {
    return {IpAddress::v4(0x0a0a0064), kServer, PortNumber(static_cast<uint16_t>(40000 + i)), PortNumber(9)};
  }
  rte_mbuf* stranger(uint8_t flags) {
    const uint32_t number = strangers_++;
    return build({.key = {IpAddress::v4(0x0b000000 + number), kServer, PortNumber(1024), PortNumber(9)},
                  .seq = Seq(number * 7919),
                  .ack = Seq(number),
                  .flags = flags,
                  .window = 1024},
                 0);
  }
  rte_mbuf* build(const wire::TcpSegmentToSend& segment, uint16_t payload) {
    rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
    invariant(frame != nullptr, "bench: no packet buffer");
    if (payload > 0) std::memset(rte_pktmbuf_append(frame, payload), 'x', payload);
    wire::build_tcp_frame(frame, segment);
    rte_pktmbuf_mtod(frame, wire::EthernetHeader*)->type = wire::ether_type_of_packet(frame);
    return frame;
  }
  void give(rte_mbuf* frame) {
    const auto parsed = wire::parse_frame(frame);
    const auto* segment = std::get_if<wire::TcpSegment>(&parsed);
    invariant(segment != nullptr, "bench: a frame that does not parse");
    engine_.receive(frame, *segment, now_);
  }
  void settle() {
    engine_.commit_pending();
    engine_.flush(now_);
  }

  rte_mempool* pool_;
  Instant now_{1s};
  Sink sink_;
  service::Discard discard_;
  tcp::Engine engine_;
  std::array<uint32_t, kPeers> said_{};
  std::array<Seq, kPeers> acks_{};
  uint32_t next_ = 0;
  uint32_t strangers_ = 0;
};

}  // namespace

Metrics bench_flood(const Options& options) {
  const int bursts = options.smoke ? 50 : options.quick ? 5000 : 20'000;
  constexpr uint8_t kFin = wire::kFin | wire::kAck;
  Scene scene(options.pool);
  for (int i = 0; i < 100; ++i) scene.burst(wire::kSyn);  // from here on the answers are cookies
  Sample quiet, syns, acks, fins;
  const auto segments = static_cast<double>(bursts) * kBurst;
  const auto rate = [&](double nanoseconds) { return 1e9 * segments / nanoseconds; };
  for (int pair = 0; pair < options.pairs(); ++pair) {
    double alone = 0, among_syns = 0, among_acks = 0, among_fins = 0;
    const uint64_t accepted = scene.accepted();
    const uint64_t cookies = scene.cookies();
    for (int i = 0; i < bursts; ++i) {
      alone += scene.burst(0);
      among_syns += scene.burst(wire::kSyn);
      among_acks += scene.burst(wire::kAck);
      among_fins += scene.burst(kFin);
    }
    invariant(scene.accepted() - accepted == 4 * static_cast<uint64_t>(segments) * kPayload,
              "bench: data was not taken");
    invariant(2 * (scene.cookies() - cookies) >= static_cast<uint64_t>(segments),
              "bench: the flood was not met by cookies");
    quiet.values.push_back(rate(alone));
    syns.values.push_back(rate(among_syns));
    acks.values.push_back(rate(among_acks));
    fins.values.push_back(rate(among_fins));
  }
  const auto flooded = [&](const std::string& name, const Sample& sample, const std::string& note) {
    return Metric{.name = name,
                  .sample = sample,
                  .unit = "segments/s",
                  .note = note,
                  .reference = "established_segments",
                  .ratio = ratios(sample, quiet)};
  };
  return {{.name = "established_segments",
           .sample = quiet,
           .unit = "segments/s",
           .note = "1448 bytes each, 64 connections, received, discarded and acknowledged by one engine"},
          flooded("established_segments_among_syns", syns,
                  "with a forged SYN after each, answered with a cookie"),
          flooded("established_segments_among_acks", acks, "with an ACK of no connection after each"),
          flooded("established_segments_among_fins", fins, "with a FIN of no connection after each")};
}

}  // namespace understudy::bench
