#include <fmt/format.h>

#include "control/cluster/failover.h"

// The part of the failover machine that an owner goes through: rivals, pauses, and giving up.

namespace understudy::cluster {

void FailoverMachine::meet_rival(Turn& turn) {
  const HeardOwner& rival = turn.input.owner;
  if (rival.epoch < epoch_) {
    turn.actions.push_back(SendOwnership{});  // it does not know yet
    return;
  }
  const std::string why = fmt::format("{} owns it with the higher epoch {}.{}", rival.name,
                                      rival.epoch.counter, rival.epoch.node.value());
  fence(why, turn);
  event(LogLevel::warning, fmt::format("{}; this node falls silent", why), turn);
  step_down(rival, turn);
}

void FailoverMachine::step_down(const HeardOwner& owner, Turn& turn) {
  // Whoever has handed the group over holds what its successor began with, and confirms what follows.
  const bool handed = state_ == GroupState::yielding && heir_ && heir_->node == owner.node;
  turn.actions.push_back(Demote{settings_.group, owner.epoch, handed});
  withdraw(turn);
  followed_ = owner;
  heir_.reset();
  refusal_told_ = false;
  report_.readiness = handed ? Readiness::syncing : Readiness::stale;
  set_state(standby_state(), fmt::format("{} {}", handed ? "handed over to" : "replaced by", owner.name),
            turn);
  turn.actions.push_back(SendOwnership{});
}

void FailoverMachine::fence(std::string why, Turn& turn) {
  turn.actions.push_back(Mute{settings_.group});
  set_state(GroupState::fenced, std::move(why), turn);
  // Where nobody can be asked, silence is the answer.
  patience_ends_ = turn.input.now + (settings_.asks ? Duration(0) : settings_.dead_after);
}

void FailoverMachine::fence_after_stall(Turn& turn) {
  fence(turn.input.why, turn);
  event(LogLevel::warning, fmt::format("{}; silent until it is clear that nobody took over", turn.input.why),
        turn);
  turn.actions.push_back(SendSolicit{});
}

void FailoverMachine::listen_longer(Turn& turn) {
  patience_ends_ = turn.input.now + settings_.dead_after;
}

void FailoverMachine::unfence(Turn& turn) {
  // Where nobody is asked, somebody may have claimed with a lower epoch, who did not know ours. One voice: it
  // speaks, we do not. Where an arbiter is asked, who says so under a lower epoch has been replaced by us.
  if (turn.around.other_owner && !(settings_.asks && turn.around.other_owner->epoch < epoch_)) {
    step_down(*turn.around.other_owner, turn);
    event(LogLevel::warning, fmt::format("{} took over meanwhile", followed_->name), turn);
    return;
  }
  if (settings_.asks) return ask_for_lease(turn);
  if (turn.around.is_deaf) return listen_longer(turn);
  // Or with a higher one, and has fallen silent, too: what is here is older than what it has said.
  if (turn.around.later_owner) return step_down(*turn.around.later_owner, turn);
  speak_again("nobody took over meanwhile", turn);
}

void FailoverMachine::speak_again(std::string why, Turn& turn) {
  if (ballot_is_over_) return fence(std::move(why), turn);
  followed_.reset();
  turn.actions.push_back(Unmute{settings_.group});
  turn.actions.push_back(SendOwnership{});
  event(LogLevel::notice, fmt::format("{}; owner again, epoch unchanged", why), turn);
  set_state(owner_state(), std::move(why), turn);
}

void FailoverMachine::hand_over(Turn& turn) {
  if (state_ != GroupState::owner_protected || turn.input.owner.node == NodeId()) {
    event(LogLevel::error, "not handed over: there is no synced standby", turn);
    return;
  }
  rest_after_yielding_ = false;
  begin_hand_over(turn);
}

void FailoverMachine::hand_over_and_rest(Turn& turn) {
  rest_after_yielding_ = true;
  if (state_ == GroupState::yielding) return;
  if (state_ == GroupState::owner_protected && turn.input.owner.node != NodeId())
    begin_hand_over(turn);
  else
    offer("told to retire", turn);
}

void FailoverMachine::begin_hand_over(Turn& turn) {
  heir_ = turn.input.owner;
  turn.actions.push_back(HandOver{settings_.group, heir_->node, rest_after_yielding_});
  withdraw(turn);
  const std::string why =
      fmt::format("{}handing over to {}", rest_after_yielding_ ? "told to retire, " : "", heir_->name);
  set_state(GroupState::yielding, why, turn);
  patience_ends_ = turn.input.now + settings_.hand_over_patience;
  event(LogLevel::notice, why, turn);
}

void FailoverMachine::take_back(Turn& turn) {
  if (!heir_) return;
  const std::string why = fmt::format("not handed over to {}: {}", heir_->name, turn.input.why);
  heir_.reset();
  if (rest_after_yielding_) {
    event(LogLevel::warning, why, turn);
    offer("told to retire", turn);
  } else {
    speak_again(why, turn);
  }
}

// Its standby has all that is acknowledged: it is to go on.
void FailoverMachine::let_go(Turn& turn) {
  rest_after_yielding_ = false;
  event(LogLevel::warning, fmt::format("{}; this node lets go of the group", turn.input.why), turn);
  offer(turn.input.why, turn);
}

void FailoverMachine::offer(std::string why, Turn& turn) {
  heir_.reset();
  // Silent first: a successor claims without waiting, and must not find us still speaking.
  turn.actions.push_back(Mute{settings_.group});
  withdraw(turn);
  set_state(GroupState::yielding, std::move(why), turn);
  patience_ends_ = turn.input.now + settings_.yield_patience;
  turn.actions.push_back(SendOwnership{});
}

void FailoverMachine::see_successor(Turn& turn) {
  const HeardOwner& owner = turn.input.owner;
  if (owner.epoch < epoch_) return;
  const bool rests = state_ == GroupState::yielding && rest_after_yielding_;
  event(LogLevel::notice,
        fmt::format("{} owns it now, epoch {}.{}", owner.name, owner.epoch.counter, owner.epoch.node.value()),
        turn);
  step_down(owner, turn);
  if (rests) rest(turn);
}

void FailoverMachine::end_yielding(Turn& turn) {
  if (heir_) {
    FailoverInput late = turn.input;
    late.why = fmt::format("it did not take over within {} ms", to_ms(settings_.hand_over_patience));
    Turn again{late, turn.around, turn.actions};
    take_back(again);
    return;
  }
  if (!rest_after_yielding_) {
    speak_again("nobody took what was offered", turn);
    return;
  }
  turn.actions.push_back(Demote{settings_.group, epoch_});
  report_.readiness = Readiness::stale;
  event(LogLevel::warning, "retired without a successor: nobody serves it now", turn);
  rest(turn);
}

}  // namespace understudy::cluster
