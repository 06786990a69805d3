#include "tests/throughput/link.h"

#include <algorithm>

#include "common/check.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/plain_frame.h"

namespace understudy {
namespace {

const IpAddress kSender = *IpAddress::parse("10.0.0.1");
const IpAddress kReceiver = *IpAddress::parse("10.0.0.2");
constexpr uint64_t kQueueLeast = 65536;

tcp::EngineSettings settings_of(const LinkPlan& plan) {
  tcp::EngineSettings s;
  s.legs = s.active_legs = 16;
  s.chunks = 16384;
  s.sent_segments = 16384;
  s.receive_buffer = plan.receive_buffer;
  s.reassembly_max = std::max(512U, plan.receive_buffer / 1024);
  s.congestion = plan.algorithm;
  return s;
}

class Pipes : public tcp::Application {
 public:
  std::string_view name() const override { return "source"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override { return engine.give_pipes(leg); }
};

class Reader final : public Pipes {
 public:
  explicit Reader(uint64_t& bytes) : bytes_(bytes) {}
  void on_data(tcp::Engine& engine, uint32_t leg, Instant) override {
    bytes_ = engine.pipes()[engine.legs()[leg].rx].tail;
    engine.consume(leg, bytes_);
  }

 private:
  uint64_t& bytes_;
};

}  // namespace

struct Link::Host : tcp::SegmentSink {
  Host(Link& on, const tcp::EngineSettings& settings, uint8_t seed)
      : link(on), engine(settings, Secret{{seed, 2, 3}}, on.shards_, test_mbuf_pool(), *this, on.now_) {
    engine.add_group(GroupId(1), true);
  }
  void transmit(rte_mbuf* frame, const FlowKey&) override { link.carry(*this, frame); }

  Link& link;
  tcp::Engine engine;
};

Link::Link(const LinkPlan& plan)
    : plan_(plan),
      sink_application_(std::make_unique<Reader>(received_)),
      source_application_(std::make_unique<Pipes>()),
      sender_(std::make_unique<Host>(*this, settings_of(plan), 1)),
      receiver_(std::make_unique<Host>(*this, settings_of(plan), 2)) {
  if (plan.loss > 0) next_loss_ = static_cast<uint64_t>(1 / plan.loss);
  sender_->engine.add_address(0, kSender);
  receiver_->engine.add_address(0, kReceiver);
  receiver_->engine.add_service({.id = ServiceId(1),
                                 .addresses = {kReceiver},
                                 .first_port = PortNumber(80),
                                 .last_port = PortNumber(80),
                                 .application = sink_application_.get()});
  sender_->engine.add_service({.id = ServiceId(1), .application = source_application_.get()});
  leg_ = sender_->engine.connect(0, {kSender, kReceiver, PortNumber(4000), PortNumber(80)},
                                 sender_->engine.find_service(ServiceId(1)), now_);
  invariant(leg_ != tcp::kNone && source_application_->attach(sender_->engine, leg_),
            "throughput: the connection cannot be opened");
  settle(*sender_);
}

Link::~Link() {
  for (; !in_flight_.empty(); in_flight_.pop()) rte_pktmbuf_free(in_flight_.top().mbuf);
  sender_->engine.discard_legs(0);
  receiver_->engine.discard_legs(0);
}

void Link::carry(Host& from, rte_mbuf* mbuf) {
  const Duration way = plan_.round_trip / 2;
  if (&from == receiver_.get()) {  // acknowledgements are never in each other's way
    in_flight_.push({now_ + way, order_++, mbuf, sender_.get()});
    return;
  }
  const bool has_data = mbuf->pkt_len > 100;
  if (has_data && ++data_segments_ >= next_loss_) {
    next_loss_ = static_cast<uint64_t>(static_cast<double>(++losses_ + 1) / plan_.loss);
    return rte_pktmbuf_free(mbuf);
  }
  const auto seconds = [](Duration d) { return std::chrono::duration<double>(d).count(); };
  const double queue_most =
      std::max<double>(kQueueLeast, plan_.bits_per_second / 8 * seconds(plan_.round_trip));
  const Instant free_at = std::max(now_, busy_until_);
  if (seconds(free_at - now_) * plan_.bits_per_second / 8 > queue_most) return rte_pktmbuf_free(mbuf);
  busy_until_ = free_at + Duration(static_cast<int64_t>(mbuf->pkt_len * 8e9 / plan_.bits_per_second));
  in_flight_.push({busy_until_ + way, order_++, mbuf, receiver_.get()});
}

// There is always more to send.
void Link::fill() {
  if (!sender_->engine.legs().is_live(leg_)) return;
  static const std::vector<uint8_t> bytes(9000, 'y');
  const tcp::Connection& c = sender_->engine.legs()[leg_];
  while (sender_->engine.pipes()[c.tx].held() < plan_.receive_buffer + 65536)
    invariant(sender_->engine.write(leg_, bytes), "throughput: no buffers are left");
}

void Link::settle(Host& host) {
  if (&host == sender_.get() && leg_ != tcp::kNone) fill();
  host.engine.commit_pending();
  host.engine.flush(now_);
}

void Link::run_for(Duration duration) {
  const Instant end = now_ + duration;
  while (true) {
    const Instant arrival = in_flight_.empty() ? kNever : in_flight_.top().at;
    const Instant next =
        std::min({arrival, sender_->engine.next_deadline(), receiver_->engine.next_deadline()});
    if (next > end) break;
    now_ = std::max(now_, next);
    if (arrival <= now_) {
      const Frame frame = in_flight_.top();
      in_flight_.pop();
      put_plain_ethernet(frame.mbuf);
      const auto parsed = wire::parse_frame(frame.mbuf);
      frame.to->engine.receive(frame.mbuf, std::get<wire::TcpSegment>(parsed), now_);
      settle(*frame.to);
      continue;
    }
    for (Host* host : {sender_.get(), receiver_.get()}) {
      if (host->engine.next_deadline() > now_) continue;
      host->engine.run_timers(now_);
      settle(*host);
    }
  }
  now_ = end;
}

}  // namespace understudy
