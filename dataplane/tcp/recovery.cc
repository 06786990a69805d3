// Loss detection and recovery of the sender: RACK-TLP (RFC 8985), PRR (RFC 6937), RTO (RFC 6298).
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

// RFC 8985 section 6.2, step 2: the most recently sent segment that has been delivered.
void Engine::rack_update(Soft& soft, const SentSegment& sent, Instant now) {
  const Duration rtt = now - sent.sent_at;
  // The acknowledgement may be for the original of a segment that was sent again just now.
  if (sent.retransmitted && rtt < soft.rtt.rtt_min && soft.rtt.rtt_min != Duration::max()) return;
  const bool newer = sent.sent_at > soft.rack.xmit_ts ||
                     (sent.sent_at == soft.rack.xmit_ts && after(sent.end(), soft.rack.end_seq));
  if (!newer) return;
  soft.rack.xmit_ts = sent.sent_at;
  soft.rack.end_seq = sent.end();
  soft.rack.rtt = rtt;
}

// RFC 8985 section 6.2, step 3: delivered after something that was sent later, and without being sent again.
void Engine::rack_detect_reordering(Soft& soft, const SentSegment& sent) {
  if (soft.sacked_bytes == 0 || sent.retransmitted || !before(sent.end(), soft.rack.fack_before)) return;
  soft.rack.reordering_seen = true;
  soft.rack.reordering_bytes =
      std::max(soft.rack.reordering_bytes, static_cast<uint32_t>(soft.rack.fack_before - sent.begin));
}

void Engine::mark_lost(Soft& soft, SentSegment& sent) {
  if (sent.lost || sent.sacked) return;
  sent.lost = true;
  soft.in_flight -= sent.length;
  ++soft.lost_segments;
}

// RFC 8985 section 6.2, step 5: what was sent sufficiently before something delivered is lost.
void Engine::rack_detect_loss(Connection& c, Soft& soft, Instant now) {
  soft.reorder_at = kNever;
  if (soft.sacked_bytes == 0 && !soft.recovery.active) return;
  Duration reorder_window = 0ms;
  const bool many_sacked = soft.sacked_bytes >= 3U * c.mss;
  if (soft.rack.reordering_seen || (!soft.recovery.active && !many_sacked)) {
    const Duration quarter = soft.rtt.rtt_min == Duration::max() ? Duration(1ms) : soft.rtt.rtt_min / 4;
    reorder_window = std::min(quarter, soft.rtt.srtt);
  }
  Duration wait = 0ms;
  bool any_lost = false;
  for (uint32_t at = soft.sent_first; at != kNone; at = sent_[at].next) {
    SentSegment& sent = sent_[at];
    if (sent.sacked || sent.lost) continue;
    const bool sent_before = sent.sent_at < soft.rack.xmit_ts ||
                             (sent.sent_at == soft.rack.xmit_ts && before(sent.end(), soft.rack.end_seq));
    if (!sent_before) continue;
    const Duration remaining = sent.sent_at + soft.rack.rtt + reorder_window - now;
    if (remaining <= Duration::zero()) {
      mark_lost(soft, sent);
      any_lost = true;
    } else {
      wait = std::max(wait, remaining);
    }
  }
  if (wait > Duration::zero()) soft.reorder_at = now + wait;
  if (any_lost) {
    if (!soft.recovery.active) enter_recovery(c, soft);
    want_output(soft.leg);
  }
}

void Engine::enter_recovery(Connection& c, Soft& soft) {
  ++counters_.fast_recoveries;
  const auto flight = static_cast<uint32_t>(std::max(0, c.snd.nxt - c.snd.una));
  if (!c.ecn || !has_reduced(c, soft)) soft.congestion.on_loss(flight);
  note_reduction(c, soft);
  soft.recovery = {.active = true,
                   .after_timeout = false,
                   .point = c.snd.nxt,
                   .flight_size = std::max(flight, uint32_t{c.mss}),
                   .delivered = 0,
                   .out = 0};
  soft.congestion.set_cwnd(soft.in_flight + c.mss);  // the first retransmission, whatever follows
}

// RFC 6937: cwnd becomes what may leave now on top of what is in flight. The slow-start reduction bound is
// for acknowledgements that are `safe`, that is, advance snd.una and report no further loss; otherwise the
// conservative bound holds (RFC 9937 section 6.2).
void Engine::prr_update(Connection& c, Soft& soft, uint32_t delivered, bool safe) {
  auto& r = soft.recovery;
  r.delivered += delivered;
  const uint32_t ssthresh = soft.congestion.ssthresh();
  int64_t send = 0;
  if (soft.in_flight > ssthresh) {
    send = static_cast<int64_t>((static_cast<uint64_t>(r.delivered) * ssthresh + r.flight_size - 1) /
                                r.flight_size) -
           r.out;
  } else {
    const int64_t limit =
        std::max<int64_t>(static_cast<int64_t>(r.delivered) - r.out, delivered) + (safe ? c.mss : 0);
    send = std::min<int64_t>(static_cast<int64_t>(ssthresh) - soft.in_flight, limit);
  }
  // The first retransmission leaves at once (RFC 6675 section 5, step 4.3).
  if (r.out == 0) send = std::max<int64_t>(send, c.mss);
  soft.congestion.set_cwnd(soft.in_flight + static_cast<uint32_t>(std::max<int64_t>(send, 0)));
}

void Engine::after_ack(Connection& c, Soft& soft, uint32_t delivered, bool una_advanced, Instant now) {
  const uint32_t flight_before = soft.in_flight + delivered;
  const uint32_t lost_before = soft.lost_segments;
  rack_detect_loss(c, soft, now);
  const bool safe = una_advanced && soft.lost_segments <= lost_before;
  auto& r = soft.recovery;
  if (r.active && una_advanced && at_or_after(c.snd.una, r.point)) {
    if (!r.after_timeout) soft.congestion.on_recovery_done();
    r.active = false;
  } else if (r.active && !r.after_timeout) {
    if (!c.sack && una_advanced && soft.sent_first != kNone)
      mark_lost(soft, sent_[soft.sent_first]);  // RFC 6582
    prr_update(c, soft, delivered, safe);
  } else if (una_advanced && delivered > 0 &&
             (r.after_timeout || 2 * flight_before >= soft.congestion.cwnd())) {
    soft.congestion.on_ack(delivered, soft.rtt.srtt, now);
  }
  rearm_retransmission(c, soft, now);
  want_output(soft.leg);
}

// RFC 5681 section 3.2, for peers without SACK.
void Engine::count_duplicate_ack(Connection& c, Soft& soft, Instant now) {
  ++soft.duplicate_acks;
  if (soft.recovery.active) {
    if (!soft.recovery.after_timeout) {
      prr_update(c, soft, c.mss, false);
      want_output(soft.leg);
    }
    return;
  }
  want_output(soft.leg);
  if (soft.duplicate_acks < 3) return;
  mark_lost(soft, sent_[soft.sent_first]);
  enter_recovery(c, soft);
  rearm_retransmission(c, soft, now);
}

void Engine::rearm_retransmission(Connection& c, Soft& soft, Instant now) {
  soft.probe_at = kNever;
  if (soft.sent_first == kNone) {
    soft.retransmit_at = kNever;
    return;
  }
  soft.retransmit_at = now + soft.rtt.rto();
  schedule_probe(c, soft, now);
}

// RFC 8985 section 7.2: on every acknowledgement, and on every new segment, or the probe would come too late
// (or, for what was a lone segment, with the wrong delay).
void Engine::schedule_probe(const Connection& c, Soft& soft, Instant now) {
  const bool may_probe = c.sack && !soft.recovery.active && !soft.tlp.outstanding && soft.sacked_bytes == 0 &&
                         soft.sent_first != kNone && soft.rtt.srtt > Duration::zero() &&
                         is_synchronised(c.state);
  soft.probe_at = kNever;
  if (!may_probe) return;
  // A lone segment may wait for the peer's delayed acknowledgement.
  const bool lone = soft.sent_first == soft.sent_last;
  const Duration probe = 2 * soft.rtt.srtt + (lone ? Duration(40ms) : Duration(2ms));
  if (now + probe < soft.retransmit_at) soft.probe_at = now + probe;
}

// RFC 8985 section 7.3: new data if there is some, otherwise the last segment again.
void Engine::send_tail_loss_probe(Connection& c, Soft& soft, Instant now) {
  soft.probe_at = kNever;
  if (soft.sent_last == kNone || soft.recovery.active) return;
  ++counters_.tail_loss_probes;
  const Seq nxt = c.snd.nxt;
  const uint32_t cwnd = soft.congestion.cwnd();
  soft.congestion.set_cwnd(soft.in_flight + c.mss);
  send_new(c, soft.leg, soft, now);
  soft.congestion.set_cwnd(cwnd);
  soft.tlp.was_retransmission = c.snd.nxt == nxt;
  if (soft.tlp.was_retransmission) {
    SentSegment& last = sent_[soft.sent_last];
    if (last.sacked || last.lost) return;
    const Pipe& tx = pipes_[c.tx];
    const bool fin = tx.fin && last.end() == send_seq_of(c, tx.tail) + 1;
    const uint32_t length = last.length - (fin ? 1 : 0);
    const bool ends_data = length > 0 && last.begin + length == send_seq_of(c, tx.send_end());
    const uint8_t flags = (fin ? wire::kFin : 0) | (ends_data && !c.more_follows ? wire::kPsh : 0);
    if (!send_data(c, soft, last.begin, length, flags, now)) return;
    ++counters_.retransmitted;
    last.retransmitted = true;
    last.sent_at = now;
  }
  soft.tlp.outstanding = true;
  soft.tlp.end_seq = c.snd.nxt;
  soft.retransmit_at = now + soft.rtt.rto();
}

// RFC 8985 section 7.4.2: what the answer to a probe says. One that repeated a segment has repaired a loss
// only if nothing shows that the peer got that segment twice before it acknowledges what was sent afterwards.
void Engine::process_probe_answer(Connection& c, Soft& soft, const wire::TcpSegment& s) {
  if (!soft.tlp.outstanding || before(s.ack, soft.tlp.end_seq)) return;
  const bool tells_of_duplicate = s.options.sack_count > 0 && s.options.sack[0].right == soft.tlp.end_seq;
  const bool duplicates = s.ack == c.snd.una && s.length() == 0 && s.options.sack_count == 0;
  const bool repaired = soft.tlp.was_retransmission && !tells_of_duplicate && after(s.ack, soft.tlp.end_seq);
  if (soft.tlp.was_retransmission && !tells_of_duplicate && !repaired && !duplicates) return;
  soft.tlp.outstanding = false;
  if (!repaired || soft.recovery.active) return;
  soft.congestion.on_loss(static_cast<uint32_t>(std::max(0, c.snd.nxt - c.snd.una)));
  note_reduction(c, soft);
  soft.congestion.on_recovery_done();
}

// RFC 6298 (5.4) to (5.7).
void Engine::retransmission_timeout(Connection& c, uint32_t leg, Soft& soft, Instant now) {
  ++counters_.timeouts;
  const bool opening = !is_synchronised(c.state);
  if (out_of_retries(c, soft)) return give_up(c, leg, now);
  constexpr uint8_t kR1 = 3;  // RFC 9293 section 3.8.3, MUST-20 and SHLD-10
  if (soft.retransmissions == kR1) sink_.doubt(c.key);
  if (soft.retransmissions == kR1) suspect_black_hole(c, leg, soft, now);
  if (soft.retransmissions == kR1 + 1) acquit_path(c, leg, now);
  if (soft.retransmissions >= kR1) note_stall(c, now);
  if (soft.sent_first != kNone && sent_[soft.sent_first].sacked) {
    // The peer has dropped what it had SACKed (RFC 2018 section 8): forget its promises.
    for (uint32_t at = soft.sent_first; at != kNone; at = sent_[at].next) {
      if (sent_[at].sacked) soft.in_flight += sent_[at].length;
      sent_[at].sacked = false;
    }
    soft.sacked_bytes = 0;
  }
  const auto flight = static_cast<uint32_t>(std::max(0, c.snd.nxt - c.snd.una));
  for (uint32_t at = soft.sent_first; at != kNone; at = sent_[at].next) mark_lost(soft, sent_[at]);
  if (!opening) {
    if (soft.retransmissions == 1) {
      soft.congestion.on_timeout(flight);
      note_reduction(c, soft);
    }
    soft.congestion.set_cwnd(c.mss);
    soft.recovery = {.active = true,
                     .after_timeout = true,
                     .point = c.snd.nxt,
                     .flight_size = flight,
                     .delivered = 0,
                     .out = 0};
  }
  soft.tlp.outstanding = false;
  soft.duplicate_acks = 0;
  if (soft.rtt.backoff < 10) ++soft.rtt.backoff;
  soft.retransmit_at = now + soft.rtt.rto();
  soft.probe_at = soft.reorder_at = kNever;
  want_output(leg);
}

}  // namespace understudy::tcp
