// Segment arrival: the steps of RFC 9293 section 3.10.7.4 as functions, in its order.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {
namespace {

wire::TcpSegment behind_syn(const wire::TcpSegment& s) {
  wire::TcpSegment behind = s;
  behind.flags = static_cast<uint8_t>(s.flags & ~wire::kSyn);
  behind.seq = s.seq + 1;
  if (s.urgent_pointer > 0) --behind.urgent_pointer;
  return behind;
}

}  // namespace

void Engine::drop(Arrival& arrival, DropReason reason) {
  drops_.count(reason);
  if (arrival.frame != nullptr) rte_pktmbuf_free(arrival.frame);
  arrival.frame = nullptr;
}

void Engine::receive(rte_mbuf* frame, const wire::TcpSegment& segment, Instant now, Origin origin) {
  ++counters_.segments_in;
  Arrival arrival{frame, segment, now, origin};
  const FlowKey key{segment.destination, segment.source, segment.destination_port, segment.source_port};
  const uint32_t leg = legs_.find(key);
  if (leg == kNone || legs_[leg].state == State::syn_received) {
    stranger_ = &key;
    stranger_origin_ = origin;
  }
  if (leg == kNone) {
    receive_without_connection(arrival, key);
  } else if (!groups_[legs_[leg].group].voice) {
    drop(arrival, DropReason::tcp_group_not_owned);
  } else {
    receive_on(leg, arrival);
  }
  stranger_ = nullptr;
  if (arrival.frame != nullptr) rte_pktmbuf_free(arrival.frame);
}

// Sections 3.10.7.1 and 3.10.7.2: CLOSED and LISTEN.
void Engine::receive_without_connection(Arrival& arrival, const FlowKey& key) {
  const wire::TcpSegment& s = arrival.segment;
  const int group_index = find_group(key.local);
  if (group_index < 0) return drop(arrival, DropReason::ip_not_for_us);
  const Group& group = groups_[static_cast<size_t>(group_index)];
  if (!group.voice) return drop(arrival, DropReason::tcp_group_not_owned);
  if (s.has(wire::kRst)) return drop(arrival, DropReason::tcp_no_connection);
  DropReason reason = DropReason::tcp_no_connection;
  const auto group_number = static_cast<GroupIndex>(group_index);
  if (s.has(wire::kSyn) && !s.has(wire::kAck)) {
    const Service* service = find_listener(key.local, key.local_port);
    if (service != nullptr) {
      if (!group.accepts) return drop(arrival, DropReason::tcp_not_accepting);
      return admit(arrival, key, group_number, *service);
    }
    reason = DropReason::tcp_no_listener;
  } else if (arrival.now < group.cookies_until && open_from_cookie(arrival, key, group_number)) {
    return;
  } else if (arrival.now < reset_hold_until(group) && !resets_.contains(key)) {
    return drop(arrival, DropReason::tcp_reset_suppressed);
  }
  // Section 3.10.7.2, fourth: what is neither RST nor ACK nor SYN says nothing to a listener.
  if (!s.has(wire::kAck) && !s.has(wire::kSyn) && find_listener(key.local, key.local_port) != nullptr)
    return drop(arrival, DropReason::tcp_ack_missing);
  if (!reset_limit_.admits(arrival.now)) return drop(arrival, DropReason::tcp_reset_limited);
  if (s.has(wire::kAck))
    send_reset(key, s.ack, Seq(0), wire::kRst);
  else
    send_reset(key, Seq(0), s.seq + s.length(), wire::kRst | wire::kAck);
  drop(arrival, reason);
}

// Last.ACK.sent of RFC 7323 section 4.3, for TS.Recent: the acknowledgement that was decided upon in the last
// round of the log. It may still wait for its commit; but in a steady stream every segment begins beyond the
// last one that has left, and TS.Recent would stand still.
Seq Engine::last_ack_decided(const Connection& c) const {
  if (!c.mirrored || c.rx == kNone) return c.rcv.committed;
  return receive_seq_of(c, pipes_[c.rx].logged) + (c.fin_received ? 1 : 0);
}

void Engine::receive_on(uint32_t leg, Arrival& arrival) {
  Connection& c = legs_[leg];
  const wire::TcpSegment& s = arrival.segment;
  const Instant now = arrival.now;
  duplicate_noted_ = false;
  if (!c.resumed) {
    resume(c, leg, now);
    if (!legs_.is_live(leg)) return;
  }
  const bool outdated = timestamp_is_outdated(c, now);  // until a segment that is believed brings a new one
  if (c.state != State::time_wait && !outdated) note_arrival(c, s, now);
  if (c.state == State::syn_sent) return receive_in_syn_sent(c, leg, arrival);
  if (c.state == State::time_wait && reopen_time_wait(leg, arrival)) return;
  Soft* soft = soft_for(c, leg, now);
  if (soft == nullptr) return drop(arrival, DropReason::tcp_table_full);

  if (c.state == State::syn_received && s.has(wire::kSyn) && s.seq == c.rcv.irs && !s.has(wire::kRst)) {
    // Our SYN-ACK was lost: send it again; a simultaneous open goes on below with the ACK it carries.
    if (soft->sent_first != kNone && !sent_[soft->sent_first].lost) mark_lost(*soft, sent_[soft->sent_first]);
    want_output(leg);
    if (c.ecn && !s.has(wire::kAck) && !grants_ecn(s)) {  // RFC 3168 section 6.1.1.1: it tries without
      c.ecn = false;
      c.terms_changed = true;
      want_log(leg);
    }
    if (!s.has(wire::kAck)) return drop(arrival, DropReason::tcp_duplicate);
  } else {
    if (!check_timestamps(c, s, now)) return drop(arrival, DropReason::tcp_paws);
    if (!segment_acceptable(c, s, now)) return drop(arrival, DropReason::tcp_not_acceptable);
    if (!check_reset(c, leg, s, now)) return;
    if (!check_syn(c, leg, s, now)) return drop(arrival, DropReason::tcp_syn_in_window);
  }
  if (!s.has(wire::kAck)) return drop(arrival, DropReason::tcp_ack_missing);
  const Seq last_ack = last_ack_decided(c);
  if (!process_ack(c, leg, s, now)) return;
  // RFC 7323 section 4.3, but only with an acknowledgement that makes sense: who guesses a sequence number
  // could otherwise have every later segment of the peer dropped as old.
  if (c.timestamps && s.options.timestamps && at_or_before(s.seq, last_ack)) {
    const uint32_t value = s.options.timestamps->value;
    if (outdated || static_cast<int32_t>(value - c.ts_recent) > 0) c.ts_recent = value;
    if (outdated) note_arrival(c, s, now);
  }
  // Fifth, TIME-WAIT: only the peer's FIN is expected here, and what is not its last acknowledgement once
  // more shows that it has not heard of ours. That last one is not answered, or two ends in TIME-WAIT would
  // go on for ever; two that disagree do so at most ten times a second, and until one of them has waited long
  // enough.
  if (c.state == State::time_wait && (s.length() > 0 || s.seq != c.rcv.nxt)) challenge(c, leg, now);
  process_window(c, s);
  if (c.snd.wnd == 0)
    note_progress(soft_[c.soft], now);  // closed, perhaps over what is in flight: it may stay so
  process_text(c, leg, arrival);
}

// Sixth to eighth: what the segment brings. A SYN stands before it in sequence space.
void Engine::process_text(Connection& c, uint32_t leg, Arrival& arrival) {
  if (arrival.segment.has(wire::kSyn)) {
    const wire::TcpSegment behind = behind_syn(arrival.segment);
    Arrival rest{arrival.frame, behind, arrival.now, arrival.origin};
    process_text(c, leg, rest);
    arrival.frame = rest.frame;
    return;
  }
  const wire::TcpSegment& s = arrival.segment;
  const LegId id = legs_.id_of(leg);
  process_urgent(c, leg, s, arrival.now);
  if (!legs_.is_live(id)) return;
  if (c.ecn) note_mark(soft_[c.soft], s);
  process_data(c, leg, arrival);
  if (!legs_.is_live(id)) return;
  process_fin(c, leg, s, arrival.now);
  if (legs_.is_live(id) && c.soft != kNone) arm(c, soft_[c.soft]);
}

// Fifth: ACK. False when the segment ends here or the leg is gone.
bool Engine::process_ack(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now) {
  if (c.state == State::syn_received) {
    const bool acceptable = after(s.ack, c.snd.una) && (at_or_before(s.ack, c.snd.nxt) || believe(c, s.ack));
    if (!acceptable) {
      send_reset(c.key, s.ack, Seq(0), wire::kRst);
      drops_.count(DropReason::tcp_ack_unacceptable);
      return false;
    }
    const LegId id = legs_.id_of(leg);
    c.snd.wnd = static_cast<uint32_t>(s.window) << c.snd_scale;
    c.snd.wnd_max = std::max(c.snd.wnd_max, c.snd.wnd);
    c.snd.wl1 = s.seq;
    c.snd.wl2 = s.ack;
    acknowledge(c, leg, s.ack, 0, now);
    if (!legs_.is_live(id)) return false;
    become_established(c, leg, now);
    return legs_.is_live(id);
  }
  Soft& soft = soft_[c.soft];
  if (after(s.ack, c.snd.nxt)) {
    if (!believe(c, s.ack)) {
      drops_.count(DropReason::tcp_ack_unacceptable);
      challenge(c, leg, now);
      return false;
    }
    ++counters_.believed;
    // The peer ignores segments whose SEQ is behind what it has received: say again what we owe, from there.
    soft.challenge_ack = true;
    want_output(leg);
  } else if (before(s.ack, c.snd.una - static_cast<int64_t>(c.snd.wnd_max))) {
    drops_.count(DropReason::tcp_ack_unacceptable);  // RFC 5961 section 5.2
    challenge(c, leg, now);
    return false;
  }
  if (c.ecn && s.has(wire::kEce) && !s.has(wire::kSyn)) process_congestion_echo(c, soft, s);
  if (soft.sent_first == kNone) note_progress(soft, now);  // an answer to a window probe
  const LegId id = legs_.id_of(leg);
  soft.rack.fack_before = soft.sacked_bytes > 0 ? soft.highest_sacked : c.snd.una;
  process_probe_answer(c, soft, s);
  const uint32_t sacked = process_sack(c, soft, s, now);
  if (after(s.ack, c.snd.una)) {
    acknowledge(c, leg, s.ack, sacked, now);
    if (!legs_.is_live(id)) return false;
  } else {
    const bool duplicate = s.ack == c.snd.una && s.length() == 0 && soft.sent_first != kNone &&
                           (static_cast<uint32_t>(s.window) << c.snd_scale) == c.snd.wnd;
    if (duplicate && !c.sack) count_duplicate_ack(c, soft, now);
    if (sacked > 0 || soft.sacked_bytes > 0) after_ack(c, soft, sacked, false, now);
  }
  return true;
}

// Still fifth: the send window (section 3.10.7.4, SND.WL1 and SND.WL2).
void Engine::process_window(Connection& c, const wire::TcpSegment& s) {
  // An acknowledgement that moves snd.una must bring its window along, also on a retransmission below wl1:
  // the right edge would move by what was acknowledged, beyond what the peer has offered.
  const bool newer =
      after(s.ack, c.snd.wl2) || after(s.seq, c.snd.wl1) || (s.seq == c.snd.wl1 && s.ack == c.snd.wl2);
  if (!newer || before(s.ack, c.snd.una)) return;
  const uint32_t window = static_cast<uint32_t>(s.window) << (s.has(wire::kSyn) ? 0 : c.snd_scale);
  const bool opened = window > c.snd.wnd;
  c.snd.wnd = window;
  c.snd.wnd_max = std::max(c.snd.wnd_max, window);
  c.snd.wl1 = s.seq;
  c.snd.wl2 = s.ack;
  Soft& soft = soft_[c.soft];
  note_progress(c, soft);
  if (!opened) return;
  soft.persist_at = kNever;
  soft.persist_backoff = 0;
  if (soft.sent_first == kNone) soft.give_up_at = kNever;
  want_output(soft.leg);
  want_log(soft.leg);
}

// Seventh: the payload. Whatever is not stored here is not acknowledged either. In SYN-RECEIVED, after an
// open from both sides, it waits among what came too early (section 3.10.7.3): nobody is to see it before the
// peer has shown that it is there.
void Engine::process_data(Connection& c, uint32_t leg, Arrival& arrival) {
  const wire::TcpSegment& s = arrival.segment;
  if (s.payload_length == 0) return;
  Soft& soft = soft_[c.soft];
  const bool opening = c.state == State::syn_received;
  if (c.fin_received || (!opening && c.state != State::established && c.state != State::fin_wait_1 &&
                         c.state != State::fin_wait_2))
    return drop(arrival, DropReason::tcp_data_after_close);
  Pipe& rx = pipes_[c.rx];
  uint64_t begin = receive_offset_of(c, s.seq, rx.tail);
  uint32_t length = s.payload_length;
  const uint64_t limit = receive_offset_of(c, receive_limit(c), rx.tail);
  if (begin + length > limit) length = begin < limit ? static_cast<uint32_t>(limit - begin) : 0;
  const bool all_old = static_cast<int64_t>(begin + length - rx.tail) <= 0;
  if (length == 0) return drop(arrival, DropReason::tcp_window_exceeded);
  if (begin < rx.tail) note_duplicate(c, soft, begin, std::min(begin + length, rx.tail));
  if (all_old) {
    ++soft.duplicate_acks_owed;
    soft.duplicate_ack_at = c.rcv.nxt;
    want_output(leg);
    return drop(arrival, DropReason::tcp_duplicate);
  }
  if (payload_budget_ < length) return drop(arrival, DropReason::mirror_log_full);
  if (!pipes_.has_room()) return drop(arrival, DropReason::tcp_receive_memory);
  uint16_t data_offset = static_cast<uint16_t>(arrival.frame->data_off + s.payload_offset);
  if (begin < rx.tail || static_cast<int64_t>(begin) < 0) {  // the front is a duplicate
    soft.ack_now = true;                                     // who repeats is waiting
    const auto old = static_cast<uint32_t>(rx.tail - begin);
    begin += old;
    data_offset = static_cast<uint16_t>(data_offset + old);
    length -= old;
  }
  const bool in_order = begin == rx.tail && !opening;
  if (!in_order && soft.reassembly_count >= settings_.reassembly_max)
    return drop(arrival, DropReason::tcp_reassembly_full);
  if (!in_order && !pipes_.has_room_for_early()) return drop(arrival, DropReason::tcp_receive_memory);
  const uint32_t chunk = pipes_.make_chunk(arrival.frame, data_offset, static_cast<uint16_t>(length), begin);
  arrival.frame = nullptr;
  if (chunk == kNone) return drop(arrival, DropReason::tcp_receive_memory);
  payload_budget_ -= length;
  if (!in_order) {
    queue_out_of_order(c, soft, chunk);
    if (opening) return;
    ++soft.duplicate_acks_owed;
    soft.duplicate_ack_at = c.rcv.nxt;
    want_output(leg);
    return;
  }
  counters_.payload_in += length;
  note_first_use(c, arrival.now);
  pipes_.append(rx, chunk);
  deliver(c, leg, arrival.now);
}

// Eighth: FIN.
void Engine::process_fin(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now) {
  if (!s.has(wire::kFin) || c.fin_received || c.state == State::syn_received) return;
  Pipe& rx = pipes_[c.rx];
  const uint64_t fin_offset = receive_offset_of(c, s.seq, rx.tail) + s.payload_length;
  if (fin_offset == rx.tail) {
    accept_fin(c, leg, now);
  } else if (fin_offset > rx.tail && fin_offset <= receive_offset_of(c, receive_limit(c), rx.tail)) {
    Soft& soft = soft_[c.soft];
    soft.fin_out_of_order = true;
    soft.fin_offset = fin_offset;
    if (s.payload_length == 0) {  // as data that comes too early
      ++soft.duplicate_acks_owed;
      soft.duplicate_ack_at = c.rcv.nxt;
      want_output(leg);
    }
  }
}

void Engine::accept_fin(Connection& c, uint32_t leg, Instant now) {
  Pipe& rx = pipes_[c.rx];
  note_first_use(c, now);
  c.fin_received = true;
  c.rcv.nxt = receive_seq_of(c, rx.tail) + 1;
  rx.fin = true;
  if (Soft* soft = soft_for(c, leg, now)) {
    soft->ack_now = true;
    soft->fin_out_of_order = false;
  }
  want_log(leg);
  want_output(leg);
  if (c.state == State::established)
    c.state = State::close_wait;
  else if (c.state == State::fin_wait_1)
    c.state = State::closing;
  else if (c.state == State::fin_wait_2)
    enter_time_wait(c, leg, now);
  if (rx.sink == kNone) {
    if (const Service* service = find_service(c.service)) service->application->on_data(*this, leg, now);
    return;
  }
  // Belief may have acknowledged this very FIN to the former owner already.
  const uint32_t sink = rx.sink;
  Connection& sending = legs_[sink];
  if (rx.head > rx.tail) {
    rx.head = rx.tail;
    our_fin_acknowledged(sending, sink, now);
  } else {
    want_output(sink);
  }
}

}  // namespace understudy::tcp
