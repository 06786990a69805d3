// The engine as a state machine: a few flows, segments near and far from what it expects, an application that
// reads, writes, finishes and aborts, and time. After each step the engine's own books must balance.
#include "common/check.h"
#include "dataplane/service/stream_applications.h"
#include "tests/fuzz/input.h"
#include "tests/support/engine_invariants.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/segment_bench.h"

using namespace understudy;

namespace {

tcp::EngineSettings settings(uint8_t how) {
  tcp::EngineSettings s;
  s.legs = s.active_legs = 8;
  s.chunks = s.sent_segments = 64;
  s.receive_buffer = how & 1 ? 200'000 : 8000;
  s.half_open_max = 3;
  s.reassembly_max = 8;
  s.time_wait = 2s;
  s.pinned_max = 60 * 2304;
  s.syn_cookies = how & 2 ? tcp::SynCookies::always : tcp::SynCookies::automatic;
  s.congestion = how & 4 ? tcp::CongestionAlgorithm::new_reno : tcp::CongestionAlgorithm::cubic;
  return s;
}

// An application whose reading and writing the fuzzer decides upon.
class Puppet final : public tcp::Application {
 public:
  std::string_view name() const override { return "puppet"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override { return engine.give_pipes(leg); }
  void on_data(tcp::Engine& engine, uint32_t leg, Instant) override {
    if (reading) engine.consume(leg, engine.pipes()[engine.legs()[leg].rx].tail);
  }
  bool reading = true;
};

class Play {
 public:
  Play(FuzzInput& input, uint8_t how) : input_(input), bench_(settings(how)) {
    bench_.serve(80, puppet_, ServiceId(1));
    bench_.serve(7, echo_, ServiceId(2));
    bench_.keep = false;
  }

  void step() {
    switch (input_.below(8)) {
      case 0:
        bench_.run_for(Duration(1ms) * input_.word());
        break;
      case 1:
        application();
        break;
      case 2:
        connect();
        break;
      default:
        segment();
    }
    check_engine(bench_.engine);
  }
  void finish() {
    bench_.run_for(10s);
    check_engine(bench_.engine);
  }

 private:
  // Ports 1 to 3 go to the puppet, 0 to the echo.
  FlowKey flow() {
    const uint32_t number = input_.below(4);
    return SegmentBench::flow(static_cast<uint16_t>(40000 + number), SegmentBench::kStranger,
                              number == 0 ? 7 : 80);
  }

  void connect() {
    const FlowKey key = flow();
    const FlowKey ours{key.remote, key.local, key.remote_port, key.local_port};
    if (bench_.engine.legs().find(ours) != tcp::kNone) return;
    const uint32_t leg = bench_.engine.connect(0, ours, bench_.engine.find_service(ServiceId(1)), bench_.now);
    if (leg != tcp::kNone && !puppet_.attach(bench_.engine, leg)) bench_.engine.abort(leg, bench_.now);
    bench_.settle();
  }

  void application() {
    const tcp::Connection* c = bench_.leg(flow());
    const uint32_t what = input_.below(8);
    if (what == 0) puppet_.reading = !puppet_.reading;
    if (c == nullptr || c->service != ServiceId(1)) return;
    const uint32_t leg = bench_.engine.legs().find(c->key);
    if (what == 1)
      bench_.engine.consume(leg, bench_.engine.pipes()[c->rx].tail);
    else if (what == 2)
      bench_.engine.finish_writing(leg);
    else if (what == 3)
      bench_.engine.abort(leg, bench_.now);
    else if (!bench_.engine.pipes()[c->tx].fin)
      bench_.engine.write(leg, std::vector<uint8_t>(input_.word() % 5000, 'x'));
    bench_.settle();
  }

  // Near what the connection expects, or anywhere.
  Seq near(Seq expected, uint32_t window) {
    switch (input_.below(8)) {
      case 0:
        return Seq(input_.number32());
      case 1:
        return expected + int64_t{window};
      case 2:
        return expected + static_cast<int8_t>(input_.byte());
      case 3:
        return expected + static_cast<int16_t>(input_.word());
      default:
        return expected;
    }
  }

  void segment() {
    wire::TcpSegmentToSend s;
    s.key = flow();
    const tcp::Connection* c = bench_.leg(s.key);
    constexpr uint8_t kUsual[] = {wire::kAck,
                                  wire::kAck | wire::kPsh,
                                  wire::kSyn,
                                  wire::kAck | wire::kFin,
                                  wire::kRst,
                                  wire::kSyn | wire::kAck,
                                  wire::kRst | wire::kAck};
    const uint32_t flags = input_.below(8);
    s.flags = flags < 7 ? kUsual[flags] : input_.byte();
    if (c != nullptr) {
      s.seq = near(c->rcv.nxt, static_cast<uint32_t>(std::max(0, c->rcv.edge - c->rcv.nxt)));
      s.ack = near(input_.below(2) ? c->snd.nxt : c->snd.una, c->snd.wnd);
    } else {
      s.seq = Seq(input_.byte());
      s.ack = near(cookie_, 0);
    }
    s.window = input_.below(2) ? 0xffff : input_.word();
    s.urgent_pointer = input_.below(16) == 1 ? input_.word() : uint16_t{0};
    s.type_of_service = input_.byte();
    options(s.options, s.flags & wire::kSyn, c);
    const uint16_t length = input_.below(3) == 0 ? input_.word() % 1460 : uint16_t{0};
    bench_.keep = (s.flags & wire::kSyn) != 0;
    bench_.sent.clear();
    bench_.arrive(s, std::vector<uint8_t>(length, 'y'));
    if (!bench_.sent.empty()) cookie_ = bench_.sent.back().segment.seq + 1;
  }

  void options(wire::TcpOptions& o, bool is_syn, const tcp::Connection* c) {
    const uint8_t which = input_.byte();
    if (is_syn) {
      if (which & 1) o.mss = input_.word();
      if (which & 2) o.window_scale = input_.byte();
      o.sack_permitted = which & 4;
      if (which & 8) o.timestamps = {input_.number32(), 0};
      return;
    }
    if (c != nullptr && c->timestamps && (which & 3) != 3)
      o.timestamps = {which & 4 ? c->ts_recent + input_.byte() : input_.number32(), input_.number32()};
    if ((which & 0x30) != 0x10 || c == nullptr) return;
    o.sack_count = static_cast<uint8_t>(1 + input_.below(3));
    for (uint8_t i = 0; i < o.sack_count; ++i) {
      o.sack[i].left = near(c->snd.una + input_.word() % 4096, 0);
      o.sack[i].right = near(o.sack[i].left + input_.word() % 4096, 0);
    }
  }

  FuzzInput& input_;
  Puppet puppet_;
  service::Echo echo_;
  SegmentBench bench_;
  Seq cookie_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  const unsigned before = test_mbufs_in_use();
  {
    Play play(input, input.byte());
    for (int steps = 0; steps < 200 && !input.empty(); ++steps) play.step();
    play.finish();
  }
  invariant(test_mbufs_in_use() == before, "buffers do not come back");
  return 0;
}
