// Two engines and a wire that the fuzzer rules: whatever it loses, repeats, reorders and damages, and
// whatever a stranger who cannot see the connection throws in, every byte arrives, once and right.
#include <cstdio>

#include "common/check.h"
#include "tests/fuzz/input.h"
#include "tests/support/engine_invariants.h"
#include "tests/support/hostile_wire.h"
#include "tests/support/mbuf_pool.h"

using namespace understudy;

namespace {

tcp::EngineSettings settings(uint8_t how) {
  tcp::EngineSettings s;
  s.legs = s.active_legs = 8;
  s.chunks = s.sent_segments = 256;
  s.receive_buffer = how & 1 ? 100'000 : how & 2 ? 3000 : 16'000;
  s.reassembly_max = 32;
  s.time_wait = 1s;
  s.syn_cookies = how & 4 ? tcp::SynCookies::always : tcp::SynCookies::automatic;
  s.congestion = how & 8 ? tcp::CongestionAlgorithm::new_reno : tcp::CongestionAlgorithm::cubic;
  if (how & 16) s.mtu = 576;
  return s;
}

void forge(HostileWire& wire, HostileWire::Side to, FuzzInput& input) {
  const tcp::Connection* c = wire.connection(to);
  if (c == nullptr) return;
  wire::TcpSegmentToSend s;
  constexpr uint8_t kFlags[] = {wire::kRst, wire::kAck, wire::kSyn, wire::kAck | wire::kFin};
  s.flags = kFlags[input.below(4)];
  if (input.below(4) == 0) s.flags |= input.byte();
  s.seq = input.below(2) ? Seq(input.number32()) : c->rcv.nxt + static_cast<int16_t>(input.word());
  s.ack = input.below(2) ? Seq(input.number32()) : c->snd.nxt + static_cast<int16_t>(input.word());
  s.window = input.word();
  if (c->timestamps) s.options.timestamps = {input.number32(), input.number32()};
  wire.forge(to, s, std::vector<uint8_t>(input.byte(), 'z'));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  const unsigned before = test_mbufs_in_use();
  {
    HostileWire::Settings s;
    s.client = settings(input.byte() & ~4);
    s.server = settings(input.byte());
    s.bytes_from_client = input.word();
    s.bytes_from_server = input.word();
    HostileWire wire(s);
    // Too long a silence ends a connection by right: neither end is to give up in what the fuzzer may play.
    Duration silence = 0s;
    for (int steps = 0; steps < 400 && !input.empty(); ++steps) {
      const uint8_t what = input.byte();
      const auto to = what & 0x80 ? HostileWire::Side::client : HostileWire::Side::server;
      const uint8_t at = what >> 4 & 7;
      switch (what & 15) {
        case 0:
          wire.lose(to, at);
          break;
        case 1:
          wire.repeat(to, at);
          break;
        case 2:
          wire.damage(to, at, input.word());
          break;
        case 3:
          wire.set_reading(to, at & 1);
          break;
        case 4:
        case 5:
          forge(wire, to, input);
          break;
        case 6: {
          const Duration length = Duration(1ms) * (1 + input.word() % (at == 7 ? 3000 : 100));
          if ((silence += length) < 20s) wire.pass_time(length);
          break;
        }
        default:
          wire.deliver(to, at > 4 ? 0 : at);
      }
      check_engine(wire.engine(HostileWire::Side::client));
      check_engine(wire.engine(HostileWire::Side::server));
    }
    if (!wire.ends_well(600s)) {
      std::fprintf(stderr, "%s\n", wire.describe().c_str());
      invariant(false, "the streams do not arrive as they were sent");
    }
  }
  invariant(test_mbufs_in_use() == before, "buffers do not come back");
  return 0;
}
