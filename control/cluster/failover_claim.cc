#include <algorithm>

#include <fmt/format.h>

#include "control/cluster/failover.h"

// The part of the failover machine that decides: by witnesses, or by asking the arbiter.

namespace understudy::cluster {
namespace {

constexpr Duration kPromotionReminder = 1s;
constexpr size_t kTakeoversMax = 16;
constexpr int kDenialsCounted = 8;

std::string text_of(const Epoch& epoch) {
  return fmt::format("{}.{}", epoch.counter, epoch.node.value());
}

}  // namespace

// The owner has stopped after its last word, and we hold all of it: no witness is needed, and nobody waits.
void FailoverMachine::take_handed(Turn& turn) {
  candidacy_ = Candidacy();
  candidacy_.began = candidacy_.last_heartbeat = candidacy_.turn = turn.input.now;
  candidacy_.next_probe = turn.input.now + settings_.probe_interval;
  candidacy_.handed = true;
  why_ = fmt::format("{} hands it over", followed_->name);
  candidacy_.why = why_;
  decide(false, turn);
}

void FailoverMachine::try_claim(Turn& turn) {
  const Instant now = turn.input.now;
  candidacy_.pressed = now;
  if (turn.around.obstacle) candidacy_.hindered = now;
  let_holders_go_first(turn);
  if (now < candidacy_.turn) return;
  // An answer from long ago says nothing of our networks now.
  const bool witnessed = candidacy_.witnessed && now - *candidacy_.witnessed < settings_.dead_after;
  // A witness says which of two nodes is cut off. A majority says it, too; then one without witnesses only
  // lets those go first who have some.
  const bool waited = settings_.asks && now >= candidacy_.turn + settings_.dead_after;
  if (witnessed || waited || candidacy_.released || candidacy_.handed || !settings_.has_witnesses) {
    decide(false, turn);
  } else if (candidacy_.boot && now >= candidacy_.turn + settings_.lone_after) {
    decide(true, turn);
  } else if (!candidacy_.told_no_witness && now >= candidacy_.turn + settings_.dead_after) {
    candidacy_.told_no_witness = true;
    event(LogLevel::warning,
          "no gateway and no backend answers, so it may be this node that is cut off; not claiming yet",
          turn);
  }
}

// Who holds the connections needs the arbiter, too: while nobody could ask, nobody's time was running out.
void FailoverMachine::let_holders_go_first(const Turn& turn) {
  const bool has_nothing = !candidacy_.boot && !holds_legs();
  if (candidacy_.released || candidacy_.handed || !(turn.around.better_holder || has_nothing)) return;
  candidacy_.turn =
      std::max(candidacy_.turn, std::max(candidacy_.began, candidacy_.hindered) + settings_.cold_after);
}

void FailoverMachine::decide(bool lone, Turn& turn) {
  const Epoch highest = std::max({turn.around.highest_epoch, epoch_, refused_});
  const bool in_the_dark = lone && highest.counter == 0;
  const Epoch ballot{in_the_dark ? kLoneCounter : std::max(highest.counter, kLoneCounter) + 1,
                     settings_.self};
  if (!settings_.asks)
    claim(ballot, lone, turn);
  else if (turn.around.obstacle)
    tell_denial(*turn.around.obstacle, turn);
  else
    ask(ballot, turn);
}

void FailoverMachine::ask(const Epoch& ballot, Turn& turn) {
  candidacy_.ballot = ballot;
  candidacy_.asked = turn.input.now;
  set_state(GroupState::requesting, fmt::format("asks under {}: {}", text_of(ballot), candidacy_.why), turn);
  turn.actions.push_back(Claim{.group = settings_.group,
                               .ballot = ballot,
                               .followed = followed_ ? followed_->epoch : Epoch(),
                               .in_sync = holds_legs(),
                               .cold = !holds_legs()});
}

// A candidate that was away: the owner may live, and may have gone on without us. Where the arbiter knows who
// is in sync, what we hold is worth what it was; only those who live are to be heard before we ask again.
void FailoverMachine::doubt(Turn& turn) {
  if (!settings_.asks) return learn_again(turn);
  candidacy_.turn = std::max(candidacy_.turn, turn.input.now + settings_.dead_after);
  candidacy_.handed = false;
  if (state_ == GroupState::requesting)
    set_state(GroupState::suspecting, fmt::format("{}; {}", candidacy_.why, turn.input.why), turn);
}

bool FailoverMachine::is_about_our_claim(const Turn& turn) const {
  return turn.input.ballot != Epoch() && turn.input.ballot == candidacy_.ballot;
}

void FailoverMachine::take_granted(Turn& turn) {
  if (!is_about_our_claim(turn)) return;
  claim(candidacy_.ballot, false, turn);
}

// Denied is denied for now. What this node holds decides what it may ask for next.
void FailoverMachine::take_denied(Turn& turn) {
  if (!is_about_our_claim(turn)) return;
  const Instant now = turn.input.now;
  refused_ = std::max(refused_, turn.input.highest);
  candidacy_.denials = std::min(candidacy_.denials + 1, kDenialsCounted);
  candidacy_.turn = now + candidacy_.denials * chance_delay();
  if (turn.input.out_of_sync && holds_legs()) {
    report_.readiness = Readiness::stale;
    candidacy_.handed = false;
    candidacy_.turn = std::max(candidacy_.turn, candidacy_.began + settings_.cold_after);
    turn.actions.push_back(DropCopies{settings_.group});
  }
  if (turn.around.better_holder && !candidacy_.released) candidacy_.hindered = now;
  let_holders_go_first(turn);
  set_state(GroupState::suspecting, fmt::format("{}; not granted: {}", candidacy_.why, turn.input.why), turn);
  tell_denial(turn.input.why, turn);
}

Duration FailoverMachine::chance_delay() {
  const auto most = static_cast<uint32_t>(3 * settings_.ask_again_after.count());
  return settings_.ask_again_after + Duration(random_.below(most + 1));
}

// Once for each reason, however often it is asked.
void FailoverMachine::tell_denial(std::string why, Turn& turn) {
  if (why == denial_) return;
  denial_ = std::move(why);
  event(LogLevel::notice, fmt::format("not granted: {}", denial_), turn);
}

void FailoverMachine::withdraw(Turn& turn) {
  if (!settings_.asks) return;
  ballot_is_over_ = true;
  turn.actions.push_back(Withdraw{settings_.group});
}

Consent FailoverMachine::consent(bool lone) const {
  if (settings_.asks) return Consent::voted;
  if (candidacy_.handed) return Consent::handed;
  if (candidacy_.released) return Consent::released;
  if (lone) return Consent::alone;
  return candidacy_.witnessed ? Consent::witnessed : Consent::unasked;
}

Takeover& FailoverMachine::note_takeover(Turn& turn) {
  Takeover& takeover = takeovers_.emplace_back();
  if (takeovers_.size() > kTakeoversMax) takeovers_.pop_front();
  takeover.epoch = epoch_;
  takeover.decided = turn.input.now;
  if (settings_.asks) {
    takeover.consent = Consent::voted;
    takeover.verdict = turn.input.why;
    if (candidacy_.asked) takeover.asked = candidacy_.asked;
  }
  return takeover;
}

void FailoverMachine::claim(const Epoch& ballot, bool lone, Turn& turn) {
  epoch_ = ballot;
  ballot_is_over_ = false;
  denial_.clear();
  const bool cold = !holds_legs();
  const uint32_t lost = candidacy_.boot ? report_.legs
                        : cold          ? std::max(candidacy_.evidence.legs, report_.legs)
                                        : candidacy_.evidence.unprotected;
  Takeover& takeover = note_takeover(turn);
  ++takeovers_total_;
  legs_lost_total_ += lost;
  takeover.from = followed_ ? followed_->node : NodeId();
  takeover.from_name = followed_ ? followed_->name : std::string();
  takeover.why = candidacy_.why;
  takeover.last_heartbeat = candidacy_.last_heartbeat;
  takeover.suspected = candidacy_.began;
  takeover.witnessed = candidacy_.witnessed;
  takeover.handed = candidacy_.handed;
  takeover.cold = cold;
  takeover.legs_lost = lost;
  takeover.consent = consent(lone);
  takeover.held = report_.readiness;
  takeover.legs_held = report_.legs;
  takeover.evidence = candidacy_.evidence;
  std::string sentence = fmt::format("claimed with epoch {}: {}", text_of(epoch_), candidacy_.why);
  if (cold && !candidacy_.boot)
    sentence += fmt::format("; cold, {} connections are lost: our copies were not up to date", lost);
  else if (lost > 0)
    sentence += fmt::format("; {} connections were not protected and are lost", lost);
  if (lone) sentence += "; no gateway, no backend and no other node answers: serving alone";
  // It is enough that one worker's copies are stale, or that it has none; the others have some that look
  // whole. What was handed over is whole, whatever workers have told of it so far.
  if (report_.readiness == Readiness::stale || (cold && !candidacy_.handed))
    turn.actions.push_back(DropCopies{settings_.group});
  report_.readiness = Readiness::none;  // from now on: of our standby, and there is none yet
  set_state(GroupState::claiming, fmt::format("epoch {}: {}", text_of(epoch_), takeover.why), turn);
  patience_ends_ = turn.input.now + kPromotionReminder;
  turn.actions.push_back(Promote{settings_.group, epoch_, candidacy_.handed});
  turn.actions.push_back(SendOwnership{});
  event(lost > 0 || lone ? LogLevel::warning : LogLevel::notice, std::move(sentence), turn);
}

// ---- an owner whose lease is over

void FailoverMachine::fence_after_lease(Turn& turn) {
  fence(turn.input.why, turn);
  event(LogLevel::warning, fmt::format("{}; silent until it has a lease again", turn.input.why), turn);
}

// Under the same ballot as long as nobody has promised a higher one: then everything goes on where it
// stopped. Who cannot be granted it does not ask: its question might keep the others from what they could be.
void FailoverMachine::ask_for_lease(Turn& turn) {
  if (turn.around.obstacle) {
    patience_ends_ = turn.input.now + settings_.ask_again_after;
    return;
  }
  const Epoch highest = std::max({turn.around.highest_epoch, epoch_, refused_});
  const bool needs_higher = ballot_is_over_ || highest > epoch_;
  candidacy_.ballot = needs_higher ? Epoch{highest.counter + 1, settings_.self} : epoch_;
  candidacy_.asked = turn.input.now;
  patience_ends_ = kNever;
  turn.actions.push_back(Claim{.group = settings_.group,
                               .ballot = candidacy_.ballot,
                               .followed = epoch_,
                               .in_sync = true,
                               .cold = false});
}

// Others may want it, too: a while is theirs.
void FailoverMachine::be_patient(Turn& turn) {
  if (!is_about_our_claim(turn)) return;
  refused_ = std::max(refused_, turn.input.highest);
  patience_ends_ = turn.input.now + 2 * settings_.dead_after + chance_delay();
  tell_denial(turn.input.why, turn);
  if (turn.input.out_of_sync) give_up_connections(turn);
}

// Somebody has owned it since this node fell silent. If that one is not heard within the time after which
// nobody's copies count any more, nobody has any.
void FailoverMachine::give_up_connections(Turn& turn) {
  turn.actions.push_back(Demote{settings_.group, refused_});
  withdraw(turn);
  followed_.reset();
  report_.readiness = Readiness::stale;
  set_state(GroupState::learning, fmt::format("another node has owned it since: {}", turn.input.why), turn);
  patience_ends_ = turn.input.now + std::max(settings_.learn_for, settings_.cold_after);
  turn.actions.push_back(SendSolicit{});
}

void FailoverMachine::take_lease(Turn& turn) {
  if (!is_about_our_claim(turn)) return;
  denial_.clear();
  if (candidacy_.ballot == epoch_) {
    speak_again(turn.input.why, turn);
    return;
  }
  epoch_ = candidacy_.ballot;
  ballot_is_over_ = false;
  followed_.reset();
  report_.readiness = Readiness::none;
  const Instant now = turn.input.now;
  Takeover& takeover = note_takeover(turn);
  takeover.from = settings_.self;
  takeover.from_name = "itself";
  takeover.why = why_;
  takeover.last_heartbeat = takeover.suspected = since_;
  takeover.held = Readiness::synced;
  takeover.legs_held = report_.legs;
  set_state(GroupState::claiming, fmt::format("epoch {}: owns it again", text_of(epoch_)), turn);
  patience_ends_ = now + kPromotionReminder;
  turn.actions.push_back(Promote{settings_.group, epoch_, false});
  turn.actions.push_back(SendOwnership{});
  event(LogLevel::notice, fmt::format("owner again, with epoch {}", text_of(epoch_)), turn);
}

}  // namespace understudy::cluster
