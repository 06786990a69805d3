// Deadlines of a leg: the wheel holds the earliest, and firing looks which are due.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {
namespace {
constexpr uint32_t kTimersPerRun = 4096;
// A connection in TIME-WAIT whose group is silent is looked at again after this.
constexpr Duration kSilentTimeWait = 10ms;
}  // namespace

void Engine::arm(Connection& c, Soft& soft) {
  const Instant earliest = std::min({soft.retransmit_at, soft.probe_at, soft.reorder_at, soft.persist_at,
                                     soft.delayed_ack_at, soft.give_up_at});
  if (earliest == kNever)
    return;  // an armed entry fires in vain once; cheaper than to cancel and arm per segment
  if (!wheel_.is_armed(c.soft) || wheel_.deadline(c.soft) > earliest) wheel_.arm(c.soft, earliest);
}

void Engine::run_timers(Instant now) {
  wheel_.advance(now, kTimersPerRun, [&](uint32_t entry) { on_timer(entry, now); });
  for (uint32_t closed = 0;
       closed < kTimersPerRun && time_wait_count_ > 0 && time_wait_[time_wait_head_].until <= now; ++closed) {
    const LegId id = time_wait_[time_wait_head_].leg;
    const bool waits = legs_.is_live(id) && legs_[id.index].state == State::time_wait;
    const Duration waited =
        waits ? Duration(1ms) * (engine_ms(now) - legs_[id.index].active_ms) : Duration(0);
    // A group that has just fallen silent may be on its way to another node: then nothing of it ends here.
    const bool is_silent = waits && legs_[id.index].resumed && !groups_[legs_[id.index].group].voice;
    if (!waits || (waited >= settings_.time_wait && !is_silent)) {
      end_oldest_time_wait(now);
      continue;
    }
    // One entry per connection, however often its peer repeats its FIN: it goes to the end of the ring.
    time_wait_head_ = (time_wait_head_ + 1) % time_wait_.size();
    time_wait_[(time_wait_head_ + time_wait_count_ - 1) % time_wait_.size()] = {
        id, now + std::max<Duration>(settings_.time_wait - waited, kSilentTimeWait)};
  }
}

// Takes the oldest entry off the ring. True if that ended a connection.
bool Engine::end_oldest_time_wait(Instant now) {
  const LegId oldest = time_wait_[time_wait_head_].leg;
  time_wait_head_ = (time_wait_head_ + 1) % time_wait_.size();
  --time_wait_count_;
  if (!legs_.is_live(oldest) || legs_[oldest.index].state != State::time_wait) return false;
  // Since a planned hand-over this leg mirrors its successor's, which says when it ends.
  if (legs_[oldest.index].adopted && !legs_[oldest.index].resumed) return false;
  close(oldest.index, CloseReason::finished, now);
  return true;
}

Instant Engine::next_deadline() const {
  const Instant wheel = wheel_.next_deadline();
  return time_wait_count_ == 0 ? wheel : std::min(wheel, time_wait_[time_wait_head_].until);
}

void Engine::on_timer(uint32_t soft_index, Instant now) {
  Soft& soft = soft_[soft_index];
  const uint32_t leg = soft.leg;
  Connection& c = legs_[leg];
  if (!groups_[c.group].voice) return;
  const LegId id = legs_.id_of(leg);
  if (soft.give_up_at <= now) {
    ++counters_.user_timeouts;
    return give_up(c, leg, now);
  }
  if (soft.delayed_ack_at <= now) {
    soft.delayed_ack_at = kNever;
    soft.ack_now = true;
    want_output(leg);
  }
  if (soft.reorder_at <= now) {
    rack_detect_loss(c, soft, now);
  }
  if (soft.probe_at <= now) send_tail_loss_probe(c, soft, now);
  if (soft.persist_at <= now) {
    if (soft.in_flight == 0 && out_of_retries(c, soft)) return give_up(c, leg, now);
    send_window_probe(c, soft, now);
  }
  if (soft.retransmit_at <= now) {
    if (soft.sent_first == kNone)
      soft.retransmit_at = kNever;  // a buffer shortage left nothing on record: output tries again
    else
      retransmission_timeout(c, leg, soft, now);
    if (!legs_.is_live(id)) return;
    want_output(leg);
  }
  arm(c, soft);
}

// RFC 9293 section 3.8.6.1: the window is closed, data waits, and nothing in flight would bring an answer.
void Engine::await_window(Connection& c, Soft& soft, Instant now) {
  note_stall(c, now);
  if (soft.persist_at != kNever) return;
  const Duration wait = std::min<Duration>(
      soft.rtt.rto() * (int64_t{1} << std::min<int>(soft.persist_backoff, 8)), RttEstimator::kRtoMax);
  soft.persist_at = now + wait;
  if (soft.give_up_at == kNever) start_user_timeout(soft, now);
  arm(c, soft);
}

// A segment just below the window: every stack answers it with its current window.
void Engine::send_window_probe(Connection& c, Soft& soft, Instant now) {
  soft.persist_at = kNever;
  if (soft.in_flight > 0) return;
  send_empty(c, &soft, c.snd.una - 1, wire::kAck, now);
  if (soft.persist_backoff < 8) ++soft.persist_backoff;
  await_window(c, soft, now);
}

void Engine::enter_time_wait(Connection& c, uint32_t leg, Instant now) {
  c.state = State::time_wait;
  c.active_ms = engine_ms(now);
  want_log(leg);
  await_end_of_time_wait(c, leg, now);
}

// What is left of it. The ring is looked at from its head: after a hand-over of many, one with less left may
// wait for one with more.
void Engine::await_end_of_time_wait(Connection& c, uint32_t leg, Instant now) {
  const Duration waited =
      std::min<Duration>(Duration(1ms) * (engine_ms(now) - c.active_ms), settings_.time_wait);
  if (time_wait_count_ == time_wait_.size() && end_oldest_time_wait(now))
    drops_.count(DropReason::tcp_time_wait_evicted);
  time_wait_[(time_wait_head_ + time_wait_count_) % time_wait_.size()] = {legs_.id_of(leg),
                                                                          now + settings_.time_wait - waited};
  ++time_wait_count_;
}

}  // namespace understudy::tcp
