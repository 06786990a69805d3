// Who gets a place in the table, and who has to make room. What a stranger can make us keep is bounded, and
// an established connection is never given up for a newcomer.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

// A SYN for a service. Beyond what may be half open, its answer is a cookie.
void Engine::admit(Arrival& arrival, const FlowKey& key, GroupIndex group, const Service& service) {
  const bool crowded = embryonic_.size() >= settings_.half_open_max ||
                       sources_.count(key.remote, Burden::embryonic) >= settings_.half_open_per_source_max;
  if (settings_.syn_cookies == SynCookies::always ||
      (settings_.syn_cookies == SynCookies::automatic && crowded))
    return answer_with_cookie(arrival, key, group);
  if (crowded) return drop(arrival, DropReason::tcp_half_open_limit);
  open_passively(arrival, key, group, service);
}

// The only segment that acknowledges a SYN without its record at the standby: what it promises stands in its
// number, which any node of the cluster can read. All else waits until the leg's OPEN is committed.
void Engine::answer_with_cookie(Arrival& arrival, const FlowKey& key, GroupIndex index) {
  const wire::TcpSegment& s = arrival.segment;
  Group& group = groups_[index];
  wire::TcpOptions offered = s.options;
  offered.sack_permitted &= settings_.sack;
  if (!settings_.timestamps) offered.timestamps.reset();
  if (!settings_.window_scaling) offered.window_scale.reset();
  wire::TcpSegmentToSend answer;
  answer.key = key;
  answer.flags = wire::kSyn | wire::kAck;
  answer.seq = make_cookie(secret_, key, s.seq, offered, group.clock.micros(arrival.now));
  answer.ack = s.seq + 1;
  answer.window = static_cast<uint16_t>(std::min(settings_.receive_buffer, 65535U));
  answer.option_order = settings_.syn_options;
  answer.options.mss = static_cast<uint16_t>(mss_to_offer(key, find_listener(key.local, key.local_port)));
  if (offered.window_scale) answer.options.window_scale = own_window_shift();
  answer.options.sack_permitted = offered.sack_permitted;
  if (offered.timestamps) {
    Connection numbers;  // the offset that a leg under this key has
    numbers.key = key;
    numbers.group = index;
    choose_numbers(numbers, arrival.now);
    answer.options.timestamps = {group.clock.millis(arrival.now) + numbers.ts_offset,
                                 offered.timestamps->value};
  }
  group.cookies_until = arrival.now + kCookieLife;
  // If its first segment is lost, a peer's second one is all that we hear of a connection made so: no reset.
  group.reset_hold_until = std::max(group.reset_hold_until, group.cookies_until);
  ++counters_.cookies_sent;
  send_without_leg(answer);
}

// An ACK for no connection that we know: made from its cookie, if it brings one back, the leg stands in
// SYN-RECEIVED and the ACK goes on as any other. False: no cookie.
bool Engine::open_from_cookie(Arrival& arrival, const FlowKey& key, GroupIndex group) {
  const wire::TcpSegment& s = arrival.segment;
  if (!s.has(wire::kAck) || s.has(wire::kSyn)) return false;
  const Service* service = find_listener(key.local, key.local_port);
  if (service == nullptr) return false;
  const Seq irs = s.seq - 1;
  const Seq iss = s.ack - 1;
  const auto read = read_cookie(secret_, key, irs, iss, groups_[group].clock.micros(arrival.now));
  if (!read) return false;
  if (!groups_[group].accepts) {
    drop(arrival, DropReason::tcp_not_accepting);
    return true;
  }
  wire::TcpSegment syn = s;
  syn.seq = irs;
  syn.flags = wire::kSyn;
  syn.options.mss = read->mss;
  syn.options.window_scale = read->window_scale;
  syn.options.sack_permitted = read->sack;
  const uint32_t leg = begin_passively(key, group, *service, syn, arrival.now);
  if (leg == kNone) {  // the peer says it again, and its cookie holds a while
    drop(arrival, DropReason::tcp_table_full);
    return true;
  }
  Connection& c = legs_[leg];
  c.snd.iss = c.snd.una = iss;
  c.snd.nxt = iss + 1;
  c.rcv.acked = c.rcv.nxt;
  c.rcv.edge_sent = c.rcv.nxt + std::min<int64_t>(settings_.receive_buffer, 65535);
  ++counters_.passive_opens;
  ++counters_.cookies_accepted;
  want_log(leg);
  receive_on(leg, arrival);
  return true;
}

bool Engine::brings_cookie(const wire::TcpSegment& s, Instant now) const {
  const int index = find_group(s.destination);
  if (index < 0 || !s.has(wire::kAck) || s.has(wire::kSyn)) return false;
  const Group& group = groups_[static_cast<size_t>(index)];
  const FlowKey key{s.destination, s.source, s.destination_port, s.source_port};
  return now < group.cookies_until &&
         read_cookie(secret_, key, s.seq - 1, s.ack - 1, group.clock.micros(now)).has_value();
}

// Gives up what nobody will miss: the oldest half-open connection, then, for a place in the table, the oldest
// in TIME-WAIT.
bool Engine::make_room(Instant now) {
  if (const uint32_t oldest = embryonic_.oldest(); oldest != kNone) {
    drops_.count(DropReason::tcp_half_open_evicted);
    close(soft_[oldest].leg, CloseReason::aborted, now);
    return true;
  }
  if (soft_.taken() == soft_.capacity()) return false;
  while (time_wait_count_ > 0)
    if (end_oldest_time_wait(now)) {
      drops_.count(DropReason::tcp_time_wait_evicted);
      return true;
    }
  return false;
}

// A place in the table, and a soft state to go with it. kNone when all are taken by connections that live.
uint32_t Engine::insert_leg(const FlowKey& key, Instant now) {
  if ((legs_.size() == legs_.capacity() || soft_.taken() == soft_.capacity()) && !make_room(now))
    return kNone;
  return legs_.insert(key);
}

void Engine::bear(Connection& c, Burden burden, Instant now) {
  Soft::BurdenLink& link = soft_[c.soft].burden;
  if (link.kind == burden) return;
  relieve(c);
  link.kind = burden;
  link.since = now;
  queue_of(burden).push(c.soft);
  sources_.add(c.key.remote, burden);
}

void Engine::relieve(Connection& c) {
  if (c.soft == kNone) return;
  Soft::BurdenLink& link = soft_[c.soft].burden;
  if (!link.kind) return;
  queue_of(*link.kind).remove(c.soft);
  sources_.remove(c.key.remote, *link.kind);
  link = Soft::BurdenLink();
}

// The peer leaves what we hold for it: its window stays closed, or it has stopped to acknowledge. That pins
// our memory for as long as it likes (sockstress); but so does a slow reader that means well, who is left
// alone as long as there is room. Backends are ours.
void Engine::note_stall(Connection& c, Instant now) {
  if (!c.active_open && is_synchronised(c.state) && c.soft != kNone) bear(c, Burden::stalled, now);
}

// A byte now and then is no progress: the window must take a full segment, or as much as it ever did.
void Engine::note_progress(Connection& c, const Soft& soft) {
  if (soft.burden.kind != Burden::stalled || soft.retransmissions > 0) return;
  if (c.snd.wnd >= std::min(segment_payload_max(c), std::max(1U, c.snd.wnd_max))) relieve(c);
}

bool Engine::stalls_too_long(const Connection& c, Instant now) const {
  if (c.soft == kNone) return false;
  const Soft::BurdenLink& burden = soft_[c.soft].burden;
  if (burden.kind != Burden::stalled || now - burden.since < settings_.stalled_grace) return false;
  return stalled_.size() > settings_.stalled_max ||
         sources_.count(c.key.remote, Burden::stalled) > settings_.stalled_per_source_max ||
         pipes_.pinned() > pipes_.pinned_max() / 4 * 3;
}

// A peer that opens a connection and then neither says nor acknowledges anything (sockstress at its
// cheapest).
bool Engine::has_only_opened(const Connection& c) const {
  return c.snd.una == c.snd.iss + 1 && !c.active_open && c.state == State::established && c.rx != kNone &&
         pipes_[c.rx].tail == 0;
}

// Called about once a second: the books lag by so much, and segments need not keep them. Such a connection
// holds a place in the table and, with a proxy, one at a backend, and no soft state: it is counted by leg.
// Beyond silent_max they are not counted one by one. Bare acknowledgements do not help it (note_arrival):
// they cost their sender nothing. MUST-37 of RFC 9293 section 3.8.6.1, that a peer who answers probes keeps
// its connection, is about a closed window before data, and even there leaves it to us to end connections
// when resources are short (RFC 6429); here no data waits, and below the limits nothing ends. What a dead
// owner left behind counts from when it wakes.
bool Engine::is_silent_too_long(const Connection& c, uint32_t leg, uint32_t quiet_ms) {
  if (!c.resumed || !has_only_opened(c)) {
    forget_silence(c, leg);
    return false;
  }
  if (!is_silent_[leg] && silent_ < settings_.silent_max) {
    is_silent_[leg] = true;
    ++silent_;
    sources_.add(c.key.remote, Burden::silent);
  }
  if (quiet_ms < to_ms(settings_.silent_grace)) return false;
  return silent_ >= settings_.silent_max ||
         sources_.count(c.key.remote, Burden::silent) > settings_.silent_per_source_max;
}

void Engine::forget_silence(const Connection& c, uint32_t leg) {
  if (!is_silent_[leg]) return;
  is_silent_[leg] = false;
  --silent_;
  sources_.remove(c.key.remote, Burden::silent);
}

}  // namespace understudy::tcp
