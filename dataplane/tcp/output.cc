// What leaves at the end of a burst: retransmissions, new data, acknowledgements, in this order.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

void Engine::flush(Instant now) {
  while (!output_pending_.empty()) {
    output_round_.swap(output_pending_);
    for (const uint32_t leg : output_round_) {
      if (!legs_.is_live(leg) || !legs_[leg].output_pending) continue;
      legs_[leg].output_pending = false;
      output(leg, now);
    }
    output_round_.clear();
  }
}

void Engine::output(uint32_t leg, Instant now) {
  Connection& c = legs_[leg];
  if (!groups_[c.group].voice) return;
  if (!c.resumed)
    return resume(c, leg, now);  // its partner has something for it; comes back here in the next round
  Soft* soft = soft_for(c, leg, now);
  if (soft == nullptr) return;
  if (!is_synchronised(c.state)) {
    send_syn(c, leg, *soft, now);
    // RFC 9293 section 3.10.7.4 challenges a guess in SYN-RECEIVED, too.
    const bool answers = soft->challenge_ack && c.state == State::syn_received;
    soft->challenge_ack = false;
    if (answers && after(c.rcv.committed, c.rcv.irs)) send_empty(c, soft, c.snd.nxt, wire::kAck, now);
    arm(c, *soft);
    return;
  }
  // A segment always carries an acknowledgement, and ours may not even acknowledge the SYN before its commit.
  if (!after(c.rcv.committed, c.rcv.irs)) return;
  if (soft->lost_segments > 0) retransmit_lost(c, *soft, now);
  if (c.tx != kNone && c.state != State::time_wait) send_new(c, leg, *soft, now);
  send_acknowledgements(c, *soft, now);
  // TIME-WAIT lasts long and needs nothing but an answer now and then: its soft state serves others
  // meanwhile, unless it has to remember that an answer was given (upkeep takes it later).
  if (c.state == State::time_wait && soft->is_quiet() && !soft->was_challenged(now)) return release_soft(c);
  arm(c, *soft);
}

void Engine::send_syn(Connection& c, uint32_t, Soft& soft, Instant now) {
  const bool first = soft.sent_first == kNone;
  if (!first && !sent_[soft.sent_first].lost) return;
  const bool is_answer = c.state == State::syn_received;
  if (is_answer && !after(c.rcv.committed, c.rcv.irs)) return;  // OPEN is not committed yet
  const bool recordable = !first || sent_.taken() < sent_.capacity();
  if (!recordable ||
      !send_empty(c, &soft, c.snd.iss, is_answer ? wire::kSyn | wire::kAck : wire::kSyn, now)) {
    if (soft.retransmit_at == kNever) soft.retransmit_at = now + soft.rtt.rto();  // nothing else tries again
    return;
  }
  c.snd.nxt = later_of(c.snd.nxt, c.snd.iss + 1);
  if (first) {
    record_sent(soft, c.snd.iss, 1, now);
  } else {
    SentSegment& syn = sent_[soft.sent_first];
    syn.lost = false;
    syn.retransmitted = true;
    syn.sent_at = now;
    soft.in_flight += syn.length;
    --soft.lost_segments;
    ++counters_.retransmitted;
  }
  if (soft.retransmit_at == kNever || soft.retransmit_at <= now) soft.retransmit_at = now + soft.rtt.rto();
}

uint32_t Engine::mss_to_offer(const FlowKey& key, const Service* service) const {
  const uint32_t most = mss_for_peer(key);
  return service == nullptr || service->segment_max == 0 ? most
                                                         : std::min<uint32_t>(most, service->segment_max);
}

uint32_t Engine::segment_payload_max(const Connection& c) const {
  return c.mss - (c.timestamps ? 12U : 0U);
}

uint32_t Engine::send_allowance(const Connection& c, const Soft& soft) const {
  uint32_t cwnd = soft.congestion.cwnd();
  // RFC 3042: the first two duplicate acknowledgements each let one new segment out. With SACK what they
  // stand for has left the flight already.
  if (!c.sack && !soft.recovery.active) cwnd += std::min(soft.duplicate_acks, 2U) * segment_payload_max(c);
  return cwnd > soft.in_flight ? cwnd - soft.in_flight : 0;
}

void Engine::retransmit_lost(Connection& c, Soft& soft, Instant now) {
  const Pipe& tx = pipes_[c.tx];
  const uint32_t payload_max = segment_payload_max(c);
  uint32_t previous = kNone;  // sent again just before
  for (uint32_t at = soft.sent_first; at != kNone && soft.lost_segments > 0; at = sent_[at].next) {
    if (!sent_[at].lost) continue;
    const bool has_fin = tx.fin && sent_[at].end() == send_seq_of(c, tx.tail) + 1;
    uint32_t payload = sent_[at].length - (has_fin ? 1 : 0);
    bool fin = has_fin;
    if (payload > payload_max) {  // a resumed leg lists all that was in flight as one segment
      if (!split_sent(soft, at, payload_max)) return;
      payload = payload_max;
      fin = false;
    }
    if (send_allowance(c, soft) < std::min(payload, uint32_t{c.mss}) && soft.in_flight > 0) return;
    SentSegment& sent = sent_[at];
    const bool ends_data =
        payload > 0 && !c.more_follows && sent.begin + payload == send_seq_of(c, tx.send_end());
    const bool ends_run = sent.pushed && sent.previous != kNone && sent.previous == previous;
    const uint8_t flags = (fin ? wire::kFin : 0) | (ends_data || ends_run ? wire::kPsh : 0);
    if (!send_data(c, soft, sent.begin, payload, flags, now)) return;
    previous = at;
    sent.lost = false;
    sent.retransmitted = true;
    sent.sent_at = now;
    soft.in_flight += sent.length;
    --soft.lost_segments;
    ++counters_.retransmitted;
    if (soft.retransmit_at == kNever) rearm_retransmission(c, soft, now);
  }
}

// Our FIN answers the peer's and must acknowledge it: who acknowledges the one has seen the other
// acknowledged, and this leg may go.
bool Engine::may_finish(const Connection& c) const {
  const Pipe& tx = pipes_[c.tx];
  return tx.fin && tx.send_end() == tx.tail && (c.state != State::close_wait || c.rcv.committed == c.rcv.nxt);
}

// How much the next segment of new data may carry, whose first byte is at `offset` of the stream and behind
// `planned` bytes that are about to leave. 0: nothing may.
uint32_t Engine::next_payload(const Connection& c, const Soft& soft, uint64_t offset,
                              uint32_t planned) const {
  const uint64_t end = pipes_[c.tx].send_end();
  if (offset >= end) return 0;
  const uint64_t available = end - offset;
  const uint32_t payload_max = segment_payload_max(c);
  const int32_t window =
      c.snd.una + static_cast<int64_t>(c.snd.wnd) - (c.snd.nxt + static_cast<int64_t>(planned));
  const uint32_t allowance = send_allowance(c, soft);
  const uint32_t allowed =
      std::min(static_cast<uint32_t>(std::max(0, window)), allowance > planned ? allowance - planned : 0);
  const auto length = static_cast<uint32_t>(std::min<uint64_t>({available, allowed, payload_max}));
  if (length == payload_max) return length;
  // RFC 9293 section 3.8.6.2.1: no silly small segments only because a window ends here.
  const bool whole = length == available || 2 * length >= c.snd.wnd_max;
  if (!whole && soft.in_flight + planned > 0) return 0;
  // RFC 9293 section 3.7.4: while something is unacknowledged, less than a full segment waits.
  if (c.nagle && (c.snd.una != c.snd.nxt || planned > 0) && !may_finish(c)) return 0;
  return length;
}

void Engine::send_new(Connection& c, uint32_t leg, Soft& soft, Instant now) {
  const Pipe& tx = pipes_[c.tx];
  if (we_have_closed(c.state)) return;
  if (settings_.restart_after_idle && soft.sent_first == kNone && soft.last_sent_at + soft.rtt.rto() < now)
    soft.congestion.on_idle_restart();
  uint64_t offset = send_offset_of(c, c.snd.nxt, tx.head);
  const Seq nxt = c.snd.nxt;
  uint32_t run = 0;
  uint32_t length = next_payload(c, soft, offset, 0);
  while (length > 0) {
    const uint32_t following = next_payload(c, soft, offset + length, length);
    const bool fin = may_finish(c) && offset + length == tx.tail;
    const bool pushed = settings_.push_every > 0 && ++run % settings_.push_every == 0;
    // RFC 9293 section 3.9.1.2: what stands last is pushed.
    const bool ends_data = offset + length == tx.send_end() && !c.more_follows;
    const uint8_t flags = (fin ? wire::kFin : 0) | (pushed || ends_data ? wire::kPsh : 0);
    if (!send_data(c, soft, c.snd.nxt, length, flags, now)) return;
    record_sent(soft, c.snd.nxt, length + (fin ? 1 : 0), now);
    sent_[soft.sent_last].pushed = pushed;
    c.snd.nxt += length + (fin ? 1 : 0);
    offset += length;
    length = following;
    if (fin) note_fin_sent(c, leg);
    if (soft.retransmit_at == kNever || soft.sent_first == soft.sent_last) rearm_retransmission(c, soft, now);
  }
  if (may_finish(c) && offset == tx.tail && !we_have_closed(c.state)) send_fin(c, leg, soft, now);
  if (c.snd.nxt != nxt) schedule_probe(c, soft, now);
  if (offset < tx.send_end() && soft.in_flight == 0 && soft.lost_segments == 0) await_window(c, soft, now);
}

void Engine::send_fin(Connection& c, uint32_t leg, Soft& soft, Instant now) {
  if (!send_data(c, soft, c.snd.nxt, 0, wire::kFin, now)) return;
  record_sent(soft, c.snd.nxt, 1, now);
  c.snd.nxt += 1;
  note_fin_sent(c, leg);
  if (soft.retransmit_at == kNever) rearm_retransmission(c, soft, now);
}

void Engine::note_fin_sent(Connection& c, uint32_t leg) {
  c.state = c.state == State::close_wait ? State::last_ack : State::fin_wait_1;
  want_log(leg);
}

bool Engine::send_data(Connection& c, Soft& soft, Seq seq, uint32_t length, uint8_t flags, Instant now) {
  // New bytes need a record too, or nothing would send them again.
  const bool recordable = seq != c.snd.nxt || sent_.taken() < sent_.capacity();
  rte_mbuf* frame = recordable ? rte_pktmbuf_alloc(pool_) : nullptr;
  if (frame == nullptr) {
    drops_.count(DropReason::mbuf_pool_empty);
    if (soft.retransmit_at == kNever) soft.retransmit_at = now + soft.rtt.rto();
    return false;
  }
  flags |= wire::kAck;
  if (length > 0) {
    const Pipe& tx = pipes_[c.tx];
    const uint64_t offset = send_offset_of(c, seq, tx.head);
    ReadCursor once;
    const bool sequential = seq == c.snd.nxt;
    pipes_.copy_out(tx, offset, length,
                    reinterpret_cast<uint8_t*>(rte_pktmbuf_append(frame, static_cast<uint16_t>(length))),
                    sequential ? soft.cursor : once);
    counters_.payload_out += length;
  }
  if (soft.recovery.active) soft.recovery.out += length;
  emit(c, &soft, frame, seq, flags, now);
  soft.last_sent_at = now;
  return true;
}

bool Engine::window_update_due(const Connection& c) const {
  if (c.fin_received) return false;  // nothing will come into it
  const int32_t gain = c.rcv.committed_edge - c.rcv.edge_sent;
  if (gain <= 0) return false;
  const int32_t left = c.rcv.edge_sent - c.rcv.nxt;
  const auto mss = static_cast<int32_t>(mss_for_peer(c.key));
  // RFC 9293 section 3.8.6.2.2, receiver's side: at once when the peer is about to stop, in good portions
  // otherwise.
  return left < 2 * mss ? gain >= mss : gain >= static_cast<int32_t>(c.receive_buffer / 4);
}

void Engine::send_acknowledgements(Connection& c, Soft& soft, Instant now) {
  const int32_t unacknowledged = c.rcv.committed - c.rcv.acked;
  uint32_t copies = 0;
  if (soft.duplicate_acks_owed > 0 && at_or_after(c.rcv.committed, soft.duplicate_ack_at)) {
    // Peers with SACK read the blocks of one; the others count.
    copies = c.sack ? 1 : std::min(soft.duplicate_acks_owed, 16U);
    soft.duplicate_acks_owed = 0;
  } else if (soft.challenge_ack) {
    copies = 1;
  } else if (unacknowledged > 0) {
    const bool enough =
        unacknowledged > static_cast<int32_t>(mss_for_peer(c.key)) || soft.segments_since_ack >= 2;
    if (soft.ack_now || (soft.ack_soon && enough) || !soft.ack_soon) copies = 1;
  }
  if (copies == 0 && window_update_due(c)) copies = 1;
  soft.challenge_ack = false;
  for (; copies > 0; --copies)
    if (!send_empty(c, &soft, c.snd.nxt, wire::kAck, now)) break;
}

void Engine::record_sent(Soft& soft, Seq seq, uint32_t length, Instant now) {
  const uint32_t at = sent_.take();
  invariant(at != kNone, "a segment was sent without a free record");
  SentSegment& sent = sent_[at];
  sent.begin = seq;
  sent.length = length;
  sent.sent_at = now;
  sent.previous = soft.sent_last;
  if (soft.sent_last == kNone) {
    soft.sent_first = at;
    start_user_timeout(soft, now);
  } else {
    sent_[soft.sent_last].next = at;
  }
  soft.sent_last = at;
  soft.in_flight += length;
}

// Cuts a record after `length`; both parts keep its marks.
bool Engine::split_sent(Soft& soft, uint32_t at, uint32_t length) {
  const uint32_t rest = sent_.take();
  if (rest == kNone) return false;
  SentSegment& whole = sent_[at];
  SentSegment& tail = sent_[rest];
  tail = whole;
  tail.begin = whole.begin + length;
  tail.length = whole.length - length;
  tail.previous = at;
  whole.length = length;
  whole.next = rest;
  if (tail.next == kNone)
    soft.sent_last = rest;
  else
    sent_[tail.next].previous = rest;
  if (whole.lost) ++soft.lost_segments;
  return true;
}

}  // namespace understudy::tcp
