#include "tests/support/hostile_wire.h"

#include <utility>

#include "tests/support/mbuf_pool.h"
#include "tests/support/plain_frame.h"

namespace understudy {
namespace {

const IpAddress kAddress[] = {IpAddress::v4(0x0a0a0064), IpAddress::v4(0x0a0a000a)};
constexpr uint16_t kPort[] = {40000, 80};
// More would be a memory test: what comes beyond is lost.
constexpr size_t kWireMost = 256;

const tcp::ShardMap& shards() {
  static const tcp::ShardMap map(4);
  return map;
}

}  // namespace

HostileWire::End::End(HostileWire& w, Side s, tcp::EngineSettings settings, Instant start, uint64_t say,
                      uint64_t bytes, uint64_t hear)
    : wire(w),
      side(s),
      engine(settings, Secret{{9, 8, static_cast<uint8_t>(s)}}, shards(), test_mbuf_pool(), *this, start),
      peer(say, bytes, hear) {
  engine.add_group(GroupId(1), true);
  engine.group(0).clock.advance_to(1'000'000'000, start);
  const size_t own = static_cast<size_t>(s);
  engine.add_address(0, kAddress[own]);
  engine.add_service({.id = ServiceId(1),
                      .addresses = {kAddress[own]},
                      .first_port = PortNumber(kPort[1]),
                      .last_port = PortNumber(kPort[1]),
                      .application = &peer});
}

void HostileWire::End::transmit(rte_mbuf* frame, const FlowKey&) {
  put_plain_ethernet(frame);
  auto& to = wire.wire_[index(other(side))];
  if (to.size() == kWireMost) {
    rte_pktmbuf_free(to.front().mbuf);
    to.pop_front();
  }
  to.push_back({frame, false});
}

HostileWire::HostileWire(const Settings& settings) {
  ends_[0] =
      std::make_unique<End>(*this, Side::client, settings.client, now_, 1, settings.bytes_from_client, 2);
  ends_[1] =
      std::make_unique<End>(*this, Side::server, settings.server, now_, 2, settings.bytes_from_server, 1);
  End& client = *ends_[0];
  const uint32_t leg =
      client.engine.connect(0, {kAddress[0], kAddress[1], PortNumber(kPort[0]), PortNumber(kPort[1])},
                            client.engine.find_service(ServiceId(1)), now_);
  invariant(leg != tcp::kNone && client.peer.attach(client.engine, leg), "no room for one connection");
  settle(client);
}

HostileWire::~HostileWire() {
  for (auto& frames : wire_)
    for (const Frame& frame : frames) rte_pktmbuf_free(frame.mbuf);
}

rte_mbuf* HostileWire::take(Side to, size_t at) {
  auto& frames = wire_[index(to)];
  if (frames.empty()) return nullptr;
  const auto it = frames.begin() + static_cast<std::ptrdiff_t>(at % frames.size());
  rte_mbuf* frame = it->mbuf;
  frames.erase(it);
  return frame;
}

void HostileWire::receive(Side to, rte_mbuf* frame) {
  End& end = *ends_[index(to)];
  const auto parsed = wire::parse_frame(frame);
  if (const auto* segment = std::get_if<wire::TcpSegment>(&parsed))
    end.engine.receive(frame, *segment, now_);
  else
    rte_pktmbuf_free(frame);
  settle(end);
}

void HostileWire::deliver(Side to, size_t at) {
  if (rte_mbuf* frame = take(to, at)) receive(to, frame);
}

void HostileWire::lose(Side to, size_t at) {
  if (rte_mbuf* frame = take(to, at)) rte_pktmbuf_free(frame);
}

void HostileWire::repeat(Side to, size_t at) {
  auto& frames = wire_[index(to)];
  if (frames.empty() || frames.size() >= kWireMost) return;
  const Frame& frame = frames[at % frames.size()];
  rte_mbuf* copy = rte_pktmbuf_copy(frame.mbuf, test_mbuf_pool(), 0, UINT32_MAX);
  if (copy != nullptr) frames.push_back({copy, frame.damaged});
}

// One bit: the checksums of IPv4 and TCP see it wherever it is.
void HostileWire::damage(Side to, size_t at, uint32_t bit) {
  auto& frames = wire_[index(to)];
  if (frames.empty()) return;
  auto& [frame, damaged] = frames[at % frames.size()];
  if (std::exchange(damaged, true)) return;
  const uint32_t bits = 8U * (frame->data_len - static_cast<uint32_t>(sizeof(wire::EthernetHeader)));
  const uint32_t place = bit % bits;
  rte_pktmbuf_mtod(frame, uint8_t*)[sizeof(wire::EthernetHeader) + place / 8] ^=
      static_cast<uint8_t>(1U << place % 8);
}

void HostileWire::settle(End& end) {
  for (int round = 0; round < 8; ++round) {
    end.peer.pump(end.engine);
    end.engine.commit_pending();
    end.engine.flush(now_);
    if (end.engine.log_pending().empty()) break;
  }
}

void HostileWire::pass_time(Duration length) {
  const Instant end = now_ + length;
  while (now_ < end) {
    Instant next = end;
    for (const auto& one : ends_) next = std::min(next, one->engine.next_deadline());
    now_ = std::min(end, std::max(next, now_ + 1ms));
    for (auto& one : ends_) {
      one->engine.run_timers(now_);
      one->engine.upkeep(now_, 16);
      settle(*one);
    }
  }
}

void HostileWire::set_reading(Side side, bool reading) {
  End& end = *ends_[index(side)];
  end.peer.reading = reading;
  if (!reading || !end.engine.legs().is_live(end.peer.leg)) return;
  if (end.engine.legs()[end.peer.leg.index].rx != tcp::kNone)
    end.peer.on_data(end.engine, end.peer.leg.index, now_);
  settle(end);
}

const tcp::Connection* HostileWire::connection(Side side) const {
  const End& end = *ends_[index(side)];
  return end.engine.legs().is_live(end.peer.leg) ? &end.engine.legs()[end.peer.leg.index] : nullptr;
}

bool HostileWire::is_blind(Side to, const wire::TcpSegmentToSend& s, size_t payload) const {
  const tcp::Connection* c = connection(to);
  if (c == nullptr || !tcp::is_synchronised(c->state)) return false;
  const Seq limit = later_of(c->rcv.edge, c->rcv.edge_sent);
  const uint32_t length = static_cast<uint32_t>(payload) + ((s.flags & wire::kFin) != 0 ? 1U : 0U);
  const bool beside_window = before(s.seq + length, c->rcv.nxt) || after(s.seq, limit);
  if ((s.flags & wire::kRst) != 0) return s.seq != c->rcv.nxt && s.seq != c->rcv.acked;
  if ((s.flags & wire::kSyn) != 0) return c->state != tcp::State::time_wait;
  // RFC 5961 section 5: what lies in the window needs an acknowledgement from the last window of ours.
  const bool beside_acks =
      before(s.ack, c->snd.una - static_cast<int64_t>(c->snd.wnd_max)) || after(s.ack, c->snd.nxt);
  return beside_window || beside_acks || (s.flags & wire::kAck) == 0;
}

void HostileWire::forge(Side to, wire::TcpSegmentToSend segment, std::span<const uint8_t> payload) {
  const size_t own = index(other(to));
  const size_t peer = index(to);
  segment.key = {kAddress[own], kAddress[peer], PortNumber(kPort[own]), PortNumber(kPort[peer])};
  if (!is_blind(to, segment, payload.size())) return;
  rte_mbuf* frame = mbuf_from(payload);
  wire::build_tcp_frame(frame, segment);
  put_plain_ethernet(frame);
  receive(to, frame);
}

bool HostileWire::done() const {
  return ends_[0]->peer.peer_finished && ends_[1]->peer.peer_finished;
}

bool HostileWire::has_failed() const {
  for (const auto& end : ends_)
    if (end->peer.wrong > 0 || (end->peer.closed > 0 && end->peer.reason != tcp::CloseReason::finished))
      return true;
  return false;
}

bool HostileWire::ends_well(Duration limit) {
  set_reading(Side::client, true);
  set_reading(Side::server, true);
  for (const Instant end = now_ + limit; now_ < end && !done() && !has_failed();) {
    for (const Side side : {Side::client, Side::server})
      for (size_t frames = waiting(side); frames > 0; --frames) deliver(side);
    pass_time(5ms);
  }
  return done() && !has_failed();
}

std::string HostileWire::describe() const {
  std::string text;
  for (const auto& end : ends_) {
    const StreamPeer& peer = end->peer;
    text += std::string(end->side == Side::client ? "client" : "server") + " sent " +
            std::to_string(peer.sent) + " received " + std::to_string(peer.received) + " wrong " +
            std::to_string(peer.wrong) + (peer.peer_finished ? " peer finished" : "");
    if (peer.closed > 0) text += " closed: " + std::string(name_of(peer.reason));
    if (const tcp::Connection* c = connection(end->side)) text += " in " + std::string(name_of(c->state));
    text += "; ";
  }
  return text;
}

}  // namespace understudy
