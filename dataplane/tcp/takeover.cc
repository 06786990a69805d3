// A mirrored leg finds its voice. Takeover touches no leg: it flips the group, and each leg wakes when a
// segment or the resume sweep reaches it, so promotion takes the same time with ten legs and with a million.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

bool Engine::moved_lately(const Connection& c, Instant now) const {
  constexpr uint32_t kLatelyMs = 5000;
  return engine_ms(now) - c.active_ms < kLatelyMs;
}

void Engine::take_over(GroupIndex index, Epoch epoch, Instant now, Duration reset_hold) {
  Group& group = groups_[index];
  group.epoch = epoch;
  group.reset_hold_until = now + reset_hold;
  resets_.clear();  // another owner may have used their numbers since
  // The former owner may have answered with cookies; there is nobody left to ask.
  if (settings_.syn_cookies != SynCookies::never) group.cookies_until = now + kCookieLife;
  group.voice = true;
  group.handed_over = false;
  sweep_ = {.active = true, .next = 0, .pass = 0};
}

void Engine::give_up(GroupIndex index) {
  groups_[index].voice = false;
}

void Engine::speak_again(GroupIndex index) {
  groups_[index].voice = true;
  groups_[index].speaks_again = true;
  sweep_ = {.active = true, .next = 0, .pass = 0};
}

// Deadlines that passed in silence woke nobody. And what came meanwhile was lost, a reset among it perhaps,
// which is said once: whoever moved lately gets a segment to answer.
void Engine::speak_again(Connection& c, uint32_t leg, Instant now) {
  const bool is_lively = is_synchronised(c.state) && c.state != State::time_wait && moved_lately(c, now);
  Soft* soft = is_lively ? soft_for(c, leg, now) : nullptr;
  if (soft != nullptr) soft->challenge_ack = true;
  if (c.soft != kNone) arm(c, soft_[c.soft]);
  if (c.soft != kNone || owes_data(c) || window_update_due(c)) want_output(leg);
}

bool Engine::owes_data(const Connection& c) const {
  return !is_synchronised(c.state) || our_fin_unacknowledged(c.state) ||
         (c.state != State::time_wait && c.tx != kNone && (pipes_[c.tx].held() > 0 || pipes_[c.tx].fin));
}

void Engine::hold_resets(Instant until) {
  for (Group& group : groups_)
    if (!group.always_local) group.reset_hold_until = std::max(group.reset_hold_until, until);
}

void Engine::discard_legs(GroupIndex index) {
  for (uint32_t leg = 0; leg < legs_.capacity(); ++leg)
    if (legs_.is_live(leg) && legs_[leg].group == index) free_leg(leg);
}

void Engine::resume(Connection& c, uint32_t leg, Instant now) {
  c.resumed = true;
  // Who has been in TIME-WAIT for a while has acknowledged the FIN, or will be asked for it once more.
  const bool owes_word = is_synchronised(c.state) && (c.state != State::time_wait || moved_lately(c, now));
  const bool planned = groups_[c.group].handed_over;  // without soft state nothing was in flight
  if (!planned && !timestamp_is_outdated(c, now)) c.active_ms = engine_ms(now);
  ++counters_.resumed;
  Soft* soft = soft_for(c, leg, now);
  if (soft == nullptr || sent_.taken() == sent_.capacity()) {
    c.resumed = false;  // no soft state left: the sweep or a later segment tries again
    return;
  }
  if (c.state == State::syn_sent) {
    c.snd.nxt = c.snd.iss;
    want_output(leg);
    return;
  }
  // What the record said is what the former owner may have promised: right edges are rounded up to the unit.
  c.rcv.committed = c.rcv.acked = c.rcv.nxt;
  c.rcv.committed_edge = c.rcv.edge;
  c.rcv.edge_sent = c.rcv.edge + (window_unit(c) - 1);
  c.snd.wl1 = c.rcv.nxt - 1;
  c.snd.wl2 = c.snd.una;
  if (planned) keep_unlogged(c);
  if (c.tx != kNone) {
    Pipe& tx = pipes_[c.tx];
    if (tx.sendable != UINT64_MAX) tx.sendable = tx.tail;
    // In flight as far as the record says and the bytes are here; everything in it is sent again.
    const Seq held_end =
        send_seq_of(c, std::max(tx.head, tx.tail)) + (tx.fin && we_have_closed(c.state) ? 1 : 0);
    if (c.snd.una != c.snd.iss) {
      c.snd.nxt = later_of(c.snd.una, earlier_of(c.snd.nxt, held_end));
      const auto in_flight = static_cast<uint32_t>(c.snd.nxt - c.snd.una);
      if (in_flight > 0) {
        record_sent(*soft, c.snd.una, in_flight, now);
        mark_lost(*soft, sent_[soft->sent_first]);
      }
    }
  }
  if (c.state == State::syn_received) {
    c.snd.nxt = c.snd.iss + 1;
    if (!c.active_open) bear(c, Burden::embryonic, now);
  }
  if (c.state == State::time_wait)
    planned ? await_end_of_time_wait(c, leg, now) : enter_time_wait(c, leg, now);
  // Acknowledge what is committed: a sender moves on without waiting for its timer.
  soft->challenge_ack = owes_word && !planned;
  want_output(leg);
  want_log(leg);
  tell_if_open(c, leg, now);
}

// The former owner may have gone before it told the application.
void Engine::tell_if_open(Connection& c, uint32_t leg, Instant now) {
  if (!is_synchronised(c.state) || c.opened) return;
  c.opened = true;
  if (const Service* service = find_service(c.service)) service->application->on_open(*this, leg, now);
}

// Legs with unacknowledged data first, then those that moved lately and those whose TIME-WAIT has to end;
// idle ones sleep until a segment comes.
bool Engine::sweep(Instant now, uint32_t legs) {
  constexpr uint32_t kSlotsPerLeg =
      16;  // looked at per leg that may be woken: a round of the worker stays short
  for (uint32_t slots = legs * kSlotsPerLeg; sweep_.active && legs > 0 && slots > 0; --slots) {
    if (sweep_.next == legs_.capacity()) {
      sweep_.next = 0;
      for (Group& group : groups_) group.speaks_again = false;
      if (sweep_.pass++ == 1) sweep_.active = false;
      continue;
    }
    const uint32_t leg = sweep_.next++;
    if (!legs_.is_live(leg)) continue;
    Connection& c = legs_[leg];
    if (!groups_[c.group].voice) continue;
    if (c.resumed) {
      if (!groups_[c.group].speaks_again) continue;
      speak_again(c, leg, now);
      --legs;
      continue;
    }
    const bool over = c.state == State::time_wait;
    const bool planned = groups_[c.group].handed_over;  // nobody waits for a sign of life
    const bool second = over || (!planned && moved_lately(c, now));
    if (!owes_data(c) && !(sweep_.pass == 1 && second)) continue;
    resume(c, leg, now);
    --legs;
  }
  return sweep_.active;
}

}  // namespace understudy::tcp
