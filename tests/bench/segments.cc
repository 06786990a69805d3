// What one segment costs the engine, in cycles of the processor's time stamp counter: reading it, receiving
// data, receiving an acknowledgement, sending data. No ports, no mirror.
#include <array>
#include <vector>

#include <rte_cycles.h>

#include "common/check.h"
#include "dataplane/service/stream_applications.h"
#include "dataplane/tcp/engine.h"
#include "tests/bench/measure.h"
#include "tests/support/plain_frame.h"

namespace understudy::bench {
namespace {

constexpr IpAddress kServer = IpAddress::v4(0x0a0a000a);
constexpr IpAddress kPeer = IpAddress::v4(0x0a0a0064);
constexpr uint16_t kSink = 9, kSource = 19;
constexpr uint32_t kPayload = 1448;  // with timestamps
constexpr size_t kBatch = 32;

// Writes what the benchmark tells it to.
class Writer final : public tcp::Application {
 public:
  std::string_view name() const override { return "writer"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override { return engine.give_pipes(leg); }
};

class Rig final : private tcp::SegmentSink {
 public:
  struct Cycles {
    uint64_t parse = 0, receive = 0, acknowledge = 0, send = 0;
    uint64_t received = 0, acknowledged = 0, sent = 0;  // segments
  };

  explicit Rig(const Options& options)
      : pool_(options.pool), engine_(settings(), Secret{{1, 2}}, shards_, options.pool, *this, now_) {
    engine_.add_group(GroupId(1), true);
    engine_.add_address(0, kServer);
    serve(kSink, discard_, 1);
    serve(kSource, writer_, 2);
    connect(kSink);
    connect(kSource);
  }
  ~Rig() override {
    for (uint32_t leg = 0; leg < engine_.legs().capacity(); ++leg)
      if (engine_.legs().is_live(leg)) engine_.erase_mirrored(leg);
  }

  void receive_batch(Cycles& cycles) {
    std::array<rte_mbuf*, kBatch> frames;
    for (rte_mbuf*& frame : frames) {
      frame = build(kSink, wire::kAck, kPayload);
      next_ += kPayload;
    }
    cycles.parse += timed_parse(frames);
    const uint64_t begin = rte_rdtsc_precise();
    for (size_t i = 0; i < kBatch; ++i) engine_.receive(frames[i], parsed_[i], now_);
    cycles.receive += rte_rdtsc_precise() - begin;
    cycles.received += kBatch;
    settle();
  }

  void send_batch(Cycles& cycles) {
    const tcp::Connection& c = leg(kSource);
    const uint32_t index = engine_.legs().find(c.key);
    invariant(engine_.write(index, std::vector<uint8_t>(kBatch * kPayload, 0x5a)), "bench: no room to write");
    engine_.commit_pending();
    sent_ = 0;
    const uint64_t begin = rte_rdtsc_precise();
    engine_.flush(now_);
    cycles.send += rte_rdtsc_precise() - begin;
    cycles.sent += sent_;
    // Every second segment is acknowledged.
    std::array<rte_mbuf*, kBatch> frames;
    size_t count = 0;
    for (Seq at = c.snd.una; before(at, c.snd.nxt) && count < kBatch;) {
      at = earlier_of(at + 2 * int64_t{kPayload}, c.snd.nxt);
      acknowledgement_ = at;
      frames[count++] = build(kSource, wire::kAck, 0);
    }
    timed_parse({frames.data(), count});
    now_ += 1ms;
    const uint64_t middle = rte_rdtsc_precise();
    for (size_t i = 0; i < count; ++i) engine_.receive(frames[i], parsed_[i], now_);
    cycles.acknowledge += rte_rdtsc_precise() - middle;
    cycles.acknowledged += count;
    settle();
  }

 private:
  static tcp::EngineSettings settings() {
    tcp::EngineSettings s;
    s.legs = s.active_legs = 64;
    s.receive_buffer = 1 << 20;
    return s;
  }

  void serve(uint16_t port, tcp::Application& application, uint16_t id) {
    engine_.add_service({.id = ServiceId(id),
                         .addresses = {kServer},
                         .first_port = PortNumber(port),
                         .last_port = PortNumber(port),
                         .application = &application});
  }

  static FlowKey flow(uint16_t port) { return {kPeer, kServer, PortNumber(40000), PortNumber(port)}; }

  tcp::Connection& leg(uint16_t port) {
    const FlowKey key = flow(port);
    return engine_.legs()[engine_.legs().find({key.remote, key.local, key.remote_port, key.local_port})];
  }

  rte_mbuf* build(uint16_t port, uint8_t flags, uint32_t payload) {
    rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
    invariant(frame != nullptr, "bench: no buffers are left");
    if (payload > 0) std::memset(rte_pktmbuf_append(frame, static_cast<uint16_t>(payload)), 0x5a, payload);
    wire::TcpSegmentToSend segment{.key = flow(port), .seq = port == kSink ? next_ : Seq(1001)};
    segment.flags = flags;
    segment.window = 65535;
    if (flags & wire::kAck) segment.ack = port == kSink ? leg(port).snd.nxt : acknowledgement_;
    segment.options.timestamps = {++clock_, 0};
    if (flags & wire::kSyn) {
      segment.seq = Seq(1000);
      segment.options.mss = 1460;
      segment.options.window_scale = 7;
      segment.options.sack_permitted = true;
    }
    wire::build_tcp_frame(frame, segment);
    put_plain_ethernet(frame);
    return frame;
  }

  uint64_t timed_parse(std::span<rte_mbuf* const> frames) {
    std::array<wire::ParsedFrame, kBatch> parsed;
    const uint64_t begin = rte_rdtsc_precise();
    for (size_t i = 0; i < frames.size(); ++i) parsed[i] = wire::parse_frame(frames[i]);
    const uint64_t took = rte_rdtsc_precise() - begin;
    for (size_t i = 0; i < frames.size(); ++i) parsed_[i] = std::get<wire::TcpSegment>(parsed[i]);
    return took;
  }

  void connect(uint16_t port) {
    rte_mbuf* syn = build(port, wire::kSyn, 0);
    timed_parse({&syn, 1});
    engine_.receive(syn, parsed_[0], now_);
    settle();
    next_ = Seq(1001);
    acknowledgement_ = leg(port).snd.nxt;
    rte_mbuf* ack = build(port, wire::kAck, 0);
    timed_parse({&ack, 1});
    engine_.receive(ack, parsed_[0], now_);
    settle();
    invariant(leg(port).state == tcp::State::established, "bench: no connection");
  }

  void settle() {
    engine_.commit_pending();
    engine_.flush(now_);
    now_ += 100us;
    engine_.run_timers(now_);
  }

  void transmit(rte_mbuf* frame, const FlowKey&) override {
    ++sent_;
    rte_pktmbuf_free(frame);
  }

  rte_mempool* pool_;
  Instant now_{1s};
  tcp::ShardMap shards_{4};
  service::Discard discard_;
  Writer writer_;
  tcp::Engine engine_;
  std::array<wire::TcpSegment, kBatch> parsed_;
  Seq next_{1001};          // of the stream that we send to kSink
  Seq acknowledgement_{0};  // of what kSource sends
  uint32_t clock_ = 100;
  uint64_t sent_ = 0;
};

}  // namespace

Metrics bench_segments(const Options& options) {
  const int batches = options.smoke ? 5 : options.quick ? 3000 : 20'000;
  Sample parse, receive, acknowledge, send;
  for (int i = 0; i < options.pairs(); ++i) {
    Rig rig(options);
    Rig::Cycles cycles;
    for (int batch = 0; batch < batches; ++batch) {
      rig.receive_batch(cycles);
      rig.send_batch(cycles);
    }
    const auto per = [](uint64_t all, uint64_t count) {
      return static_cast<double>(all) / static_cast<double>(count);
    };
    parse.values.push_back(per(cycles.parse, cycles.received));
    receive.values.push_back(per(cycles.receive, cycles.received));
    acknowledge.values.push_back(per(cycles.acknowledge, cycles.acknowledged));
    send.values.push_back(per(cycles.send, cycles.sent));
  }
  const std::string data = "a segment of 1448 bytes in a batch of 32, timestamps on";
  return {
      {.name = "segment_parse", .sample = parse, .unit = "cycles", .note = data + ", both checksums"},
      {.name = "segment_receive", .sample = receive, .unit = "cycles", .note = data + ", in order, consumed"},
      {.name = "segment_acknowledge",
       .sample = acknowledge,
       .unit = "cycles",
       .note = "an acknowledgement of two segments, timestamps on"},
      {.name = "segment_send", .sample = send, .unit = "cycles", .note = data + ", copied and checksummed"}};
}

}  // namespace understudy::bench
