// Opening connections, both ways (RFC 9293 section 3.5).
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

// RFC 6528: a keyed hash of the tuple plus a clock that ticks every 4 µs; and RFC 7323 section 5.4: a random
// offset per connection on the timestamps. The clock is the group's, so that a successor goes on from it.
void Engine::choose_numbers(Connection& c, Instant now) {
  const uint64_t hash = siphash(secret_, &c.key, sizeof c.key);
  const uint64_t clock_us = groups_[c.group].clock.micros(now);
  c.snd.iss = Seq(static_cast<uint32_t>(hash) + static_cast<uint32_t>(clock_us / 4));
  c.snd.una = c.snd.nxt = c.snd.iss;
  c.ts_offset = static_cast<uint32_t>(hash >> 32);
  c.receive_buffer = settings_.receive_buffer;
  c.rcv_scale = own_window_shift() & 0xf;
}

uint8_t Engine::own_window_shift() const {
  const uint32_t largest = std::max(settings_.receive_buffer, settings_.receive_buffer_max);
  uint8_t shift = 0;
  while (shift < 14 && (65535U << shift) < largest) ++shift;
  return shift;
}

void Engine::apply_syn_options(Connection& c, const wire::TcpSegment& s, Instant now) {
  const auto& o = s.options;
  c.mss_agreed = static_cast<uint16_t>(
      std::clamp<uint32_t>(o.mss.value_or(mss_unsaid(c.key.local)), 64, mss_to_offer(c)));
  settle_mss(c, path_mtus_.find(c.key.remote, now));
  c.window_scaling = settings_.window_scaling && o.window_scale.has_value();
  c.snd_scale = std::min<uint8_t>(o.window_scale.value_or(0), 14) & 0xf;  // RFC 7323 section 2.3
  if (!c.window_scaling) c.rcv_scale = 0;
  c.sack = settings_.sack && o.sack_permitted;
  c.timestamps = settings_.timestamps && o.timestamps.has_value();
  // RFC 3168 section 6.1.1: an answer that sets both bits only repeats what it got.
  c.ecn = s.has(wire::kAck)
              ? s.has(wire::kEce) && !s.has(wire::kCwr) && c.soft != kNone && requests_ecn(c, soft_[c.soft])
              : grants_ecn(s);
  if (c.timestamps) c.ts_recent = o.timestamps->value;
  c.rcv.irs = s.seq;
  c.rcv.nxt = s.seq + 1;
  c.rcv.committed = c.rcv.acked = s.seq;  // the SYN itself waits for its commit
  c.rcv.edge = c.rcv.nxt + std::min<int64_t>(c.receive_buffer, int64_t{65535} << c.rcv_scale);
  c.rcv.committed_edge = c.rcv.edge_sent = c.rcv.nxt;
  c.snd.wnd = c.snd.wnd_max = s.window;  // never scaled on a SYN
  c.snd.wl1 = s.seq;
  c.snd.wl2 = s.ack;
}

void Engine::open_passively(Arrival& arrival, const FlowKey& key, GroupIndex group, const Service& service) {
  const uint32_t leg = begin_passively(key, group, service, arrival.segment, arrival.now);
  if (leg == kNone) return drop(arrival, DropReason::tcp_table_full);
  soft_[legs_[leg].soft].origin = arrival.origin;
  ++counters_.passive_opens;
  want_log(leg);
  want_output(leg);
}

// A leg in SYN-RECEIVED, made from what the peer's SYN said. kNone: no room.
uint32_t Engine::begin_passively(const FlowKey& key, GroupIndex group, const Service& service,
                                 const wire::TcpSegment& syn, Instant now) {
  const uint32_t leg = insert_leg(key, now);
  if (leg == kNone) return kNone;
  Connection& c = legs_[leg];
  c.group = group;
  c.service = service.id;
  c.protect = service.protect;
  c.nagle = service.nagle;
  count_leg(c);
  c.state = State::syn_received;
  c.shard = shards_.shard_of(key);
  note_heard(c, now);
  choose_numbers(c, now);
  apply_syn_options(c, syn, now);
  if (soft_for(c, leg, now) == nullptr || !service.application->attach(*this, leg)) {
    free_leg(leg);
    return kNone;
  }
  bear(c, Burden::embryonic, now);
  return leg;
}

void Engine::become_established(Connection& c, uint32_t leg, Instant now) {
  c.state = State::established;
  ++counters_.established;
  relieve(c);
  if (Soft* soft = soft_for(c, leg, now)) {
    soft->retransmissions = 0;
    soft->congestion.set_mss(c.mss);
    if (const Service* service = find_service(c.service)) soft->user_timeout = service->user_timeout;
  }
  want_log(leg);
  if (!c.opened) {
    c.opened = true;
    const LegId id = legs_.id_of(leg);
    if (const Service* service = find_service(c.service)) service->application->on_open(*this, leg, now);
    if (!legs_.is_live(id)) return;
  }
  // What came with the SYN of a peer that opened at the same time. It left no gap, so it is acknowledged as
  // any other data.
  if (c.soft == kNone || soft_[c.soft].reassembly_first == kNone) return;
  deliver_reassembled(c, soft_[c.soft]);
  deliver(c, leg, now);
}

// RFC 9293 section 3.10.7.3.
void Engine::receive_in_syn_sent(Connection& c, uint32_t leg, Arrival& arrival) {
  const wire::TcpSegment& s = arrival.segment;
  const bool acks_syn = s.has(wire::kAck) && s.ack == c.snd.iss + 1;
  if (s.has(wire::kAck) && !acks_syn) {
    if (!s.has(wire::kRst)) send_reset(c.key, s.ack, Seq(0), wire::kRst);
    return drop(arrival, DropReason::tcp_ack_unacceptable);
  }
  if (s.has(wire::kRst)) {
    ++counters_.resets_in;
    if (acks_syn) close(leg, CloseReason::refused, arrival.now);
    return;
  }
  if (!s.has(wire::kSyn)) return drop(arrival, DropReason::tcp_not_acceptable);
  Soft* soft = soft_for(c, leg, arrival.now);
  if (soft == nullptr) return drop(arrival, DropReason::tcp_table_full);
  const Seq una = c.snd.una;
  apply_syn_options(c, s, arrival.now);
  soft->congestion.start(settings_.congestion, c.mss);
  if (!acks_syn) {  // simultaneous open
    c.snd.una = una;
    c.state = State::syn_received;
    if (soft->sent_first != kNone) mark_lost(*soft, sent_[soft->sent_first]);
    want_log(leg);
    want_output(leg);
    return process_text(c, leg, arrival);
  }
  acknowledge(c, leg, s.ack, 0, arrival.now);
  soft->ack_now = true;
  const LegId id = legs_.id_of(leg);
  become_established(c, leg, arrival.now);
  if (!legs_.is_live(id)) return;
  want_output(leg);
  process_text(c, leg, arrival);
}

// A new SYN for a tuple in TIME-WAIT: RFC 6191 and RFC 1122 section 4.2.2.13. True if the old connection is
// over. The new one is admitted as any other: also this SYN may be a stranger's.
bool Engine::reopen_time_wait(uint32_t leg, Arrival& arrival) {
  Connection& c = legs_[leg];
  const wire::TcpSegment& s = arrival.segment;
  if ((s.flags & (wire::kSyn | wire::kAck | wire::kRst | wire::kFin)) != wire::kSyn) return false;
  const bool newer_timestamp = c.timestamps && s.options.timestamps &&
                               static_cast<int32_t>(s.options.timestamps->value - c.ts_recent) > 0;
  if (!newer_timestamp && !after(s.seq, c.rcv.nxt)) return false;
  const FlowKey key = c.key;
  const GroupIndex group = c.group;
  const Service* service = find_listener(key.local, key.local_port);
  if (service == nullptr || !groups_[group].accepts) return false;
  close(leg, CloseReason::finished, arrival.now);
  admit(arrival, key, group, *service);
  return true;
}

}  // namespace understudy::tcp
