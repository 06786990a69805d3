#include "tests/support/segment_bench.h"

#include "tests/support/mbuf_pool.h"
#include "tests/support/plain_frame.h"

namespace understudy {
namespace {

const tcp::ShardMap& shards() {
  static const tcp::ShardMap map(4);
  return map;
}

}  // namespace

SegmentBench::SegmentBench(tcp::EngineSettings settings)
    : engine(settings, Secret{{4, 5, 6}}, shards(), test_mbuf_pool(), *this, now) {
  engine.add_group(GroupId(1), true);
  engine.add_address(0, kServer);
  engine.add_address(0, kServerV6);
  engine.group(0).clock.advance_to(1'000'000'000, now);
}

void SegmentBench::serve(uint16_t port, tcp::Application& application, ServiceId id) {
  engine.add_service({.id = id,
                      .addresses = {kServer, kServerV6},
                      .first_port = PortNumber(port),
                      .last_port = PortNumber(port),
                      .application = &application});
}

void SegmentBench::take_in(const wire::TcpSegmentToSend& segment, std::span<const uint8_t> payload) {
  rte_mbuf* frame = mbuf_from(payload);
  wire::build_tcp_frame(frame, segment);
  put_plain_ethernet(frame);
  const auto parsed = wire::parse_frame(frame);
  if (const auto* s = std::get_if<wire::TcpSegment>(&parsed))
    engine.receive(frame, *s, now);
  else
    rte_pktmbuf_free(frame);
}

void SegmentBench::arrive(const wire::TcpSegmentToSend& segment, std::span<const uint8_t> payload) {
  take_in(segment, payload);
  settle();
}

void SegmentBench::settle() {
  for (int round = 0; round < 8; ++round) {
    engine.commit_pending();
    engine.flush(now);
    if (engine.log_pending().empty()) break;
  }
}

void SegmentBench::run_for(Duration length) {
  const Instant end = now + length;
  while (now < end) {
    now = std::min(end, std::max(now + 1ms, std::min(engine.next_deadline(), now + 100ms)));
    engine.run_timers(now);
    engine.upkeep(now, 64);
    settle();
  }
}

Seq SegmentBench::connect(const FlowKey& flow, Seq irs, const wire::TcpOptions& options, uint16_t window) {
  sent.clear();
  arrive({.key = flow, .seq = irs, .flags = wire::kSyn, .window = window, .options = options});
  if (sent.empty()) return Seq(0);
  const wire::TcpSegment answer = sent.back().segment;
  wire::TcpOptions later;
  if (options.timestamps && answer.options.timestamps)
    later.timestamps = {options.timestamps->value + 1, answer.options.timestamps->value};
  arrive({.key = flow,
          .seq = irs + 1,
          .ack = answer.seq + 1,
          .flags = wire::kAck,
          .window = window,
          .options = later});
  return answer.seq;
}

tcp::Connection* SegmentBench::leg(const FlowKey& flow) {
  const uint32_t index = engine.legs().find({flow.remote, flow.local, flow.remote_port, flow.local_port});
  return index == tcp::kNone ? nullptr : &engine.legs()[index];
}

void SegmentBench::transmit(rte_mbuf* frame, const FlowKey&) {
  ++segments_sent;
  if (keep) {
    put_plain_ethernet(frame);
    const auto parsed = wire::parse_frame(frame);
    const auto* s = std::get_if<wire::TcpSegment>(&parsed);
    invariant(s != nullptr, "the engine sends a frame that does not parse");
    const auto* payload = rte_pktmbuf_mtod_offset(frame, const uint8_t*, s->payload_offset);
    sent.push_back({*s, {payload, payload + s->payload_length}});
  }
  rte_pktmbuf_free(frame);
}

}  // namespace understudy
