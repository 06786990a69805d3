// Whether a segment is looked at: the first four steps of RFC 9293 section 3.10.7.4 and RFC 7323, and what is
// answered where it is not.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

// RFC 7323 section 5.3 (PAWS). RSTs are exempt. What lacks the option passes, although section 3.2 would have
// it dropped (SHOULD): a path that takes options off some segments would end the connection.
bool Engine::check_timestamps(Connection& c, const wire::TcpSegment& s, Instant now) {
  if (!c.timestamps || !s.options.timestamps || s.has(wire::kRst)) return true;
  if (static_cast<int32_t>(s.options.timestamps->value - c.ts_recent) >= 0) return true;
  if (timestamp_is_outdated(c, now)) return true;
  challenge(c, soft_[c.soft].leg, now);
  return false;
}

// RFC 7323 section 5.5: what has been silent for 24 days may have gone half around its clock, which ticks
// every millisecond at most.
bool Engine::timestamp_is_outdated(const Connection& c, Instant now) const {
  constexpr uint32_t kLifeMs = 24U * 24 * 3600 * 1000;
  return c.timestamps && engine_ms(now) - c.active_ms > kLifeMs;
}

// First: sequence number (section 3.4, the four cases). What is unacceptable is answered with an ACK, unless
// RST.
bool Engine::segment_acceptable(Connection& c, const wire::TcpSegment& s, Instant now) {
  const uint32_t length = s.length();
  const int32_t window = std::max(0, receive_limit(c) - c.rcv.nxt);
  const auto window_length = static_cast<uint32_t>(window);
  const bool starts_inside = within(s.seq, c.rcv.nxt, window_length);
  bool acceptable = false;
  if (length == 0)
    acceptable = window == 0 ? s.seq == c.rcv.nxt : starts_inside || s.seq == c.rcv.nxt;
  else
    acceptable = window != 0 && (starts_inside || within(s.seq + (length - 1), c.rcv.nxt, window_length));
  if (acceptable) return true;
  if (s.has(wire::kRst)) return false;
  // A peer that has filled the window acknowledges from its edge.
  if (length == 0 && s.seq == c.rcv.nxt + window) return true;
  Soft& soft = soft_[c.soft];
  if (length == 0 || !before(s.seq, c.rcv.nxt)) {
    challenge(c, soft.leg, now);  // a keepalive or window probe, an old duplicate, or a guess
    return false;
  }
  ++soft.duplicate_acks_owed;  // waits until what it duplicates is committed
  soft.duplicate_ack_at = c.rcv.nxt;
  if (c.rx != kNone && s.payload_length > 0) {
    const uint64_t begin = receive_offset_of(c, s.seq, pipes_[c.rx].tail);
    note_duplicate(c, soft, begin, begin + s.payload_length);
  }
  if (c.state == State::time_wait && s.has(wire::kFin)) c.active_ms = engine_ms(now);  // waits anew
  want_output(soft.leg);
  return false;
}

// Second: RST, with RFC 5961 section 3: only the exact number resets. While the gate holds an acknowledgement
// back, the number that the peer takes from our segments is the last one that we acknowledged.
bool Engine::check_reset(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now) {
  if (!s.has(wire::kRst)) return true;
  if (s.seq != c.rcv.nxt && s.seq != c.rcv.acked) {
    drops_.count(DropReason::tcp_reset_challenged);
    challenge(c, leg, now);
    return false;
  }
  // RFC 1337: an old duplicate's reset must not end TIME-WAIT before its time.
  if (c.state == State::time_wait) {
    drops_.count(DropReason::tcp_reset_ignored);
    return false;
  }
  ++counters_.resets_in;
  // A peer that has sent its FIN, and is gone when an adopted leg speaks to it, has as a rule closed in the
  // ordinary way: it got our FIN from the former owner, whose record of that did not arrive. Its partner is
  // not to suffer for that; should it have been a real reset after a half-close, what the partner still sends
  // is consumed.
  const bool had_finished = c.state == State::close_wait && c.adopted;
  if (c.state == State::closing || c.state == State::last_ack || had_finished)
    close(leg, CloseReason::finished, now);
  else if (c.state == State::syn_received && c.active_open)
    close(leg, CloseReason::refused, now);  // section 3.10.7.4: as in SYN-SENT
  else
    close(leg, CloseReason::reset_by_peer, now);
  return false;
}

// Fourth: SYN, with RFC 5961 section 4: never a reset, always a challenge.
bool Engine::check_syn(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now) {
  if (!s.has(wire::kSyn)) return true;
  challenge(c, leg, now);
  return false;
}

// RFC 5961 section 7, per connection and never for all together: a global limit could be observed from
// outside. Without a limit two ends that disagree would answer each other for ever, and a flood in a peer's
// name would be passed on to it. Keepalives and window probes come less often.
void Engine::challenge(Connection& c, uint32_t leg, Instant now) {
  Soft& soft = soft_[c.soft];
  if (soft.was_challenged(now)) return;
  soft.challenged_at = now;
  soft.challenge_ack = true;
  ++counters_.challenge_acks;
  want_output(leg);
}

}  // namespace understudy::tcp
