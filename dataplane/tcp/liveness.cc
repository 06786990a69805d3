// Whether the peer is still there: keep-alive probes on idle connections (RFC 9293 section 3.8.4), and how
// long what was sent may stay unanswered (sections 3.8.3 and 3.8.6.1).
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

uint16_t Engine::engine_s(Instant now) const {
  return static_cast<uint16_t>(to_ms(now - start_) / 1000);
}

void Engine::note_heard(Connection& c, Instant now) {
  c.active_ms = engine_ms(now);
  c.probed_s = engine_s(now);
  c.keepalive_probes = 0;
}

Silence Engine::silence_of(const Connection& c, Instant now) const {
  return {.unused_ms = engine_ms(now) - c.active_ms,
          .unanswered_s = static_cast<uint16_t>(engine_s(now) - c.probed_s),
          .probes = c.keepalive_probes};
}

void Engine::set_silence(Connection& c, const Silence& silence, Instant now) {
  c.active_ms = engine_ms(now) - silence.unused_ms;
  c.probed_s = static_cast<uint16_t>(engine_s(now) - silence.unanswered_s);
  c.keepalive_probes = silence.probes & 0xf;
}

// An answer to a keep-alive probe says that the peer is there, not that anybody uses the connection: idle
// timeouts go on. So they do while nobody has ever used it (note_first_use).
void Engine::note_arrival(Connection& c, const wire::TcpSegment& s, Instant now) {
  const bool only_answers = c.keepalive_probes > 0 && s.length() == 0 && !s.has(wire::kRst) &&
                            s.ack == c.snd.una && s.seq == c.rcv.nxt;
  const uint32_t used_ms = c.active_ms;
  note_heard(c, now);
  if (only_answers || has_only_opened(c)) c.active_ms = used_ms;
}

void Engine::note_first_use(Connection& c, Instant now) {
  if (has_only_opened(c)) c.active_ms = engine_ms(now);
}

// Called about once a second. True when the leg is gone. Of the probes that were sent a standby hears in a
// snapshot and in a hand-over only: who takes over from the dead begins with a first one, at once where
// nothing was recorded for that long.
bool Engine::keep_alive(Connection& c, uint32_t leg, const Service& service, Instant now) {
  const KeepAlive& keepalive = service.keepalive;
  if (keepalive.idle == Duration::zero()) return false;
  const bool may_idle =
      c.state == State::established || c.state == State::close_wait || c.state == State::fin_wait_2;
  const Duration wait = c.keepalive_probes == 0 ? keepalive.idle : keepalive.interval;
  if (!may_idle || static_cast<uint16_t>(engine_s(now) - c.probed_s) < to_ms(wait) / 1000) return false;
  if (!c.resumed) resume(c, leg, now);
  // What is in flight has a timer of its own (MUST-27), and nothing may be said before the SYN's commit.
  if (!c.resumed || c.snd.una != c.snd.nxt || !after(c.rcv.committed, c.rcv.irs)) return false;
  if (c.keepalive_probes >= keepalive.probes) {
    ++counters_.keepalive_timeouts;
    give_up(c, leg, now);
    return true;
  }
  Soft* soft = c.soft == kNone ? nullptr : &soft_[c.soft];
  if (!send_empty(c, soft, c.snd.nxt - 1, wire::kAck, now)) return false;
  ++counters_.keepalive_probes;
  c.keepalive_probes = (c.keepalive_probes + 1U) & 0xf;
  c.probed_s = engine_s(now);
  return false;
}

void Engine::start_user_timeout(Soft& soft, Instant now) {
  soft.give_up_at = soft.user_timeout == Duration::zero() ? kNever : now + soft.user_timeout;
}

// The peer has acknowledged something, or has answered a window probe: while it does, the connection stays
// (MUST-37).
void Engine::note_progress(Soft& soft, Instant now) {
  soft.retransmissions = 0;
  soft.soft_error = false;
  if (soft.sent_first == kNone && soft.persist_at == kNever)
    soft.give_up_at = kNever;
  else
    start_user_timeout(soft, now);
}

// One more retransmission or window probe: would it be beyond R2 (RFC 9293 section 3.8.3)? A user timeout
// takes the place of that number, as RFC 5482 has it.
bool Engine::out_of_retries(const Connection& c, Soft& soft) {
  const uint8_t retries = is_synchronised(c.state)         ? settings_.data_retries
                          : c.state == State::syn_received ? settings_.answer_retries
                                                           : settings_.syn_retries;
  const bool counted = !is_synchronised(c.state) || soft.user_timeout == Duration::zero();
  if (counted && soft.retransmissions >= retries) return true;
  if (soft.retransmissions < UINT8_MAX) ++soft.retransmissions;
  return false;
}

void Engine::give_up(Connection& c, uint32_t leg, Instant now) {
  if (is_synchronised(c.state)) send_reset(c, now);
  // What the network said meanwhile explains it (RFC 9293 section 3.9.2.2).
  const bool unreachable = c.soft != kNone && soft_[c.soft].soft_error;
  close(leg, unreachable ? CloseReason::unreachable : CloseReason::timed_out, now);
}

}  // namespace understudy::tcp
