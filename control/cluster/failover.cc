#include "control/cluster/failover.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::cluster {
namespace {

constexpr size_t kHistoryMax = 32;
constexpr Duration kPromotionReminder = 1s;

std::string text_of(const Epoch& epoch) {
  return fmt::format("{}.{}", epoch.counter, epoch.node.value());
}

}  // namespace

FailoverMachine::FailoverMachine(FailoverSettings settings, LogSink log, Random random)
    : settings_(std::move(settings)), log_(std::move(log)), random_(random) {}

void FailoverMachine::start(Instant now, Actions& actions) {
  since_ = now;
  why_ = "started";
  patience_ends_ = now + settings_.learn_for;
  actions.push_back(SendSolicit{});
}

// The one place that writes the state.
void FailoverMachine::set_state(GroupState to, std::string why, Turn& turn) {
  if (log_)
    log_(LogLevel::info,
         fmt::format("group {}: {} -> {}: {}", settings_.name, name_of(state_), name_of(to), why),
         turn.input.now);
  history_.push_back({turn.input.now, state_, to, why});
  if (state_ == GroupState::requesting && to != GroupState::claiming) withdraw(turn);
  if (history_.size() > kHistoryMax) history_.pop_front();
  if (to != state_) since_ = turn.input.now;
  state_ = to;
  why_ = std::move(why);
  patience_ends_ = kNever;  // whoever enters a state with a deadline sets it afterwards
}

void FailoverMachine::event(LogLevel level, std::string sentence, Turn& turn) const {
  turn.actions.push_back(Event{level, fmt::format("group {}: {}", settings_.name, sentence)});
}

Instant FailoverMachine::deadline() const {
  if (state_ != GroupState::suspecting) return patience_ends_;
  const bool turn_is_ahead = candidacy_.turn > candidacy_.pressed;
  return turn_is_ahead ? std::min(candidacy_.turn, candidacy_.next_probe) : candidacy_.next_probe;
}

mirror::GroupRole FailoverMachine::role() const {
  switch (state_) {
    case GroupState::learning:
    case GroupState::maintenance:
      return mirror::GroupRole::idle;
    case GroupState::suspecting:
    case GroupState::requesting:
      return followed_ ? mirror::GroupRole::standby : mirror::GroupRole::idle;
    case GroupState::standby_syncing:
    case GroupState::standby_synced:
    case GroupState::standby_stale:
    case GroupState::standby_empty:
      return mirror::GroupRole::standby;
    case GroupState::claiming:
    case GroupState::owner_unprotected:
    case GroupState::owner_syncing:
    case GroupState::owner_protected:
      return mirror::GroupRole::owner;
    case GroupState::yielding:
      // In a hand-over the heir claims by what its mirror holds; nobody else is to try.
      return heir_ ? mirror::GroupRole::owner : mirror::GroupRole::releasing;
    case GroupState::fenced:
      return mirror::GroupRole::fenced;
  }
  return mirror::GroupRole::idle;
}

GroupState FailoverMachine::standby_state() const {
  switch (report_.readiness) {
    case Readiness::synced:
      return GroupState::standby_synced;
    case Readiness::stale:
      return GroupState::standby_stale;
    case Readiness::none:
      return GroupState::standby_empty;
    case Readiness::syncing:
      break;
  }
  return GroupState::standby_syncing;
}

GroupState FailoverMachine::owner_state() const {
  switch (report_.readiness) {
    case Readiness::synced:
      return GroupState::owner_protected;
    case Readiness::syncing:
      return GroupState::owner_syncing;
    case Readiness::none:
    case Readiness::stale:
      break;
  }
  return GroupState::owner_unprotected;
}

bool FailoverMachine::holds_connections() const {
  const bool wants =
      is_standby(state_) || state_ == GroupState::suspecting || state_ == GroupState::requesting;
  return state_ == GroupState::fenced || (wants && followed_ && holds_legs());
}

bool FailoverMachine::is_followed(const HeardOwner& owner) const {
  return followed_ && followed_->node == owner.node && followed_->boot == owner.boot &&
         followed_->epoch == owner.epoch;
}

// How many candidates go before us. At boot nobody knows yet who lives: then all count.
unsigned FailoverMachine::rank(const Surroundings& around) const {
  unsigned before = 0;
  for (const NodeId node : settings_.successors) {
    if (node == settings_.self) break;
    const bool lives = std::ranges::find(around.candidates, node) != around.candidates.end();
    if (!followed_ || (node != followed_->node && lives)) ++before;
  }
  return before;
}

bool FailoverMachine::may_claim_after_boot() const {
  const auto& order = settings_.successors;
  if (settings_.may_take_over) return std::find(order.begin(), order.end(), settings_.self) != order.end();
  return !order.empty() && order.front() == settings_.self;
}

// ---- learning and following

void FailoverMachine::end_learning(Turn& turn) {
  if (!may_claim_after_boot()) {
    set_state(GroupState::learning, "no owner was heard, and this node may not claim by itself", turn);
    return;
  }
  begin_candidacy("no owner was heard", turn);
}

void FailoverMachine::learn_again(Turn& turn) {
  // What we knew and what a witness said is as old as our absence was long.
  if (followed_) report_.readiness = Readiness::stale;
  set_state(GroupState::learning, turn.input.why, turn);
  patience_ends_ = turn.input.now + settings_.learn_for;
  turn.actions.push_back(SendSolicit{});
}

void FailoverMachine::follow(Turn& turn) {
  const HeardOwner& owner = turn.input.owner;
  const bool same = is_followed(owner);
  if (same && is_standby(state_)) return;
  // An owner whose epoch was superseded: whoever holds live legs of the newer one does not bow to it, and
  // nobody does where an arbiter has granted the newer one.
  if (followed_ && owner.epoch < followed_->epoch && (settings_.asks || holds_legs())) return;
  if (!same) {
    if (followed_) report_.readiness = Readiness::stale;  // mirrored from somebody else
    if (!followed_ && report_.readiness != Readiness::stale) report_.readiness = Readiness::syncing;
    refusal_told_ = false;
    turn.actions.push_back(Follow{settings_.group, owner.epoch});
  }
  followed_ = owner;
  set_state(standby_state(), fmt::format("{} owns it, epoch {}", owner.name, text_of(owner.epoch)), turn);
}

void FailoverMachine::owner_is_back(Turn& turn) {
  // Whoever hands a group over says that it owns it until its heir does.
  if (candidacy_.handed && is_followed(turn.input.owner)) return;
  const GroupState before = state_;
  follow(turn);
  if (before != state_)
    event(LogLevel::notice, fmt::format("{} is heard again; not claiming", turn.input.owner.name), turn);
}

void FailoverMachine::note_owner(Turn& turn) {
  if (!is_followed(turn.input.owner)) turn.actions.push_back(Follow{settings_.group, turn.input.owner.epoch});
  followed_ = turn.input.owner;
}

void FailoverMachine::go_stale(Turn& turn) {
  report_.readiness = Readiness::stale;
  set_state(GroupState::standby_stale, turn.input.why, turn);
}

void FailoverMachine::note_readiness(Turn& turn) {
  report_ = turn.input.report;
}

void FailoverMachine::note_standby_readiness(Turn& turn) {
  report_ = turn.input.report;
  if (standby_state() != state_)
    set_state(standby_state(), fmt::format("the mirror is {}", name_of(report_.readiness)), turn);
}

void FailoverMachine::note_owner_readiness(Turn& turn) {
  report_ = turn.input.report;
  const GroupState before = state_;
  if (owner_state() == before) return;
  set_state(owner_state(), fmt::format("the standby is {}", name_of(report_.readiness)), turn);
  if (before == GroupState::owner_protected)
    event(LogLevel::warning,
          fmt::format("no longer protected: {} of {} connections would be lost with this node",
                      report_.legs_unprotected, report_.legs),
          turn);
}

void FailoverMachine::rest(Turn& turn) {
  set_state(GroupState::maintenance, "told to retire", turn);
}

void FailoverMachine::serve_again(Turn& turn) {
  report_.readiness = followed_ ? Readiness::stale : Readiness::none;
  set_state(GroupState::learning, "told to serve", turn);
  patience_ends_ = turn.input.now + settings_.learn_for;
  turn.actions.push_back(SendSolicit{});
}

// ---- suspicion and claim

void FailoverMachine::suspect(Turn& turn) {
  if (!may_claim_after_boot() || !settings_.may_take_over) {
    if (refusal_told_) return;
    refusal_told_ = true;
    event(LogLevel::error,
          fmt::format("{} {}; this node does not take over (fail-over policy or successor order)",
                      followed_->name, turn.input.why),
          turn);
    return;
  }
  begin_candidacy(fmt::format("{} {}", followed_->name, turn.input.why), turn);
}

void FailoverMachine::take_released(Turn& turn) {
  if (state_ != GroupState::suspecting) {
    suspect(turn);
    return;
  }
  if (candidacy_.released) return;
  candidacy_.released = true;
  candidacy_.turn = turn.input.now + candidate_delay(turn);
  why_ = candidacy_.why = fmt::format("{} {}", followed_->name, turn.input.why);
  try_claim(turn);
}

// Rank decides who goes first, chance parts those who follow; neither vetoes. The first in line does not wait
// at all. Who holds nothing worth keeping lets those go first who do.
Duration FailoverMachine::candidate_delay(Turn& turn) {
  if (turn.around.better_holder) return settings_.cold_after;
  const auto jitter = Duration(random_.below(static_cast<uint32_t>(settings_.jitter_max.count()) + 1));
  const unsigned ahead = rank(turn.around);
  if (candidacy_.boot) return ahead == 0 ? Duration(0) : ahead * settings_.boot_rank_delay + jitter;
  const Duration by_rank = ahead * settings_.rank_delay;
  const Duration by_chance = ahead > 0 || !holds_legs() ? jitter : Duration(0);
  const Duration for_others = candidacy_.released ? settings_.dead_after : settings_.cold_after;
  return by_rank + by_chance + (holds_legs() ? Duration(0) : for_others);
}

void FailoverMachine::begin_candidacy(std::string why, Turn& turn) {
  const Instant now = turn.input.now;
  candidacy_ = Candidacy();
  candidacy_.began = now;
  candidacy_.boot = !followed_;
  candidacy_.released = turn.input.event == FailoverEvent::owner_released;
  const bool has_evidence = turn.input.event != FailoverEvent::deadline;
  candidacy_.last_heartbeat = has_evidence ? turn.input.last_heard : now;
  candidacy_.evidence = turn.input.evidence;
  candidacy_.turn = now + candidate_delay(turn);
  candidacy_.next_probe = now + settings_.probe_interval;
  candidacy_.pressed = now - 1ns;
  candidacy_.why = why;
  set_state(GroupState::suspecting, std::move(why), turn);
  turn.actions.push_back(ProbeWitnesses{settings_.group});
  try_claim(turn);
}

void FailoverMachine::note_witness(Turn& turn) {
  // Nobody answered at first: it was this node that was cut off. An owner that lives is heard any moment, and
  // has perhaps gone on without us. (Half of dead_after: one that was away itself listens for the whole of it
  // before it speaks again, and must hear of our claim by then.)
  const Instant since = candidacy_.witnessed.value_or(candidacy_.began);
  const Duration cut_off = candidacy_.witnessed ? settings_.dead_after : 2 * settings_.probe_interval;
  if (!candidacy_.released && turn.input.now - since > cut_off)
    candidacy_.turn = std::max(candidacy_.turn, turn.input.now + settings_.dead_after / 2);
  candidacy_.witnessed = turn.input.now;
  try_claim(turn);
}

void FailoverMachine::note_candidate_readiness(Turn& turn) {
  const bool held = holds_legs();
  report_ = turn.input.report;
  if (!held || holds_legs()) return;
  const bool is_over = candidacy_.released && !turn.around.better_holder;  // nobody holds anything
  candidacy_.turn =
      std::max(candidacy_.turn, candidacy_.began + (is_over ? settings_.dead_after : settings_.cold_after));
}

void FailoverMachine::press_on(Turn& turn) {
  const Instant now = turn.input.now;
  if (now >= candidacy_.next_probe) {
    candidacy_.next_probe = now + settings_.probe_interval;
    turn.actions.push_back(ProbeWitnesses{settings_.group});
  }
  try_claim(turn);
}

// The owner has stopped after its last word, and we hold all of it: no witness is needed, and nobody waits.
void FailoverMachine::remind_workers(Turn& turn) {
  patience_ends_ = turn.input.now + kPromotionReminder;
  event(LogLevel::error, "the workers have not confirmed the claim yet", turn);
}

void FailoverMachine::confirm_promotion(Turn& turn) {
  note_announced(epoch_, turn.input.now);
  followed_.reset();
  set_state(owner_state(), fmt::format("announced with epoch {}", text_of(epoch_)), turn);
}

void FailoverMachine::note_announced(const Epoch& epoch, Instant when) {
  if (takeovers_.empty() || takeovers_.back().epoch != epoch) return;
  if (!takeovers_.back().announced) takeovers_.back().announced = when;
}

void FailoverMachine::note_first_packet(Instant when) {
  if (!takeovers_.empty() && !takeovers_.back().first_packet) takeovers_.back().first_packet = when;
}

}  // namespace understudy::cluster
