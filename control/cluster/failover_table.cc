#include <array>

#include "control/cluster/failover.h"

namespace understudy::cluster {

// The table of the failover machine. A pair that is not listed is ignored, because
//   - learning hears suspicion, release and witnesses about nobody whom it follows yet;
//   - a standby needs no witness and promoted nothing;
//   - a candidate has its suspicion already, and an owner suspects nobody;
//   - who has asked the arbiter waits for its verdict, and a verdict that comes later is about nothing;
//   - only whoever may speak can lose its lease;
//   - only an owner can yield or let go, and only maintenance can end;
//   - only a synced standby can be handed a group, and only a hand-over in progress be refused;
//   - a stale or empty standby that stalls stays what it is.
struct FailoverTable {
  using State = GroupState;
  using On = FailoverEvent;
  using Machine = FailoverMachine;
  using Handler = void (Machine::*)(Machine::Turn&);
  struct Row {
    State state;
    On event;
    Handler handler;
  };

  static constexpr Row kRows[] = {
      {State::learning, On::deadline, &Machine::end_learning},
      {State::learning, On::owner_heard, &Machine::follow},
      {State::learning, On::stalled, &Machine::learn_again},
      {State::learning, On::readiness, &Machine::note_readiness},
      {State::learning, On::retire, &Machine::rest},

      {State::standby_syncing, On::owner_heard, &Machine::follow},
      {State::standby_syncing, On::owner_suspected, &Machine::suspect},
      {State::standby_syncing, On::owner_released, &Machine::take_released},
      {State::standby_syncing, On::stalled, &Machine::go_stale},
      {State::standby_syncing, On::readiness, &Machine::note_standby_readiness},
      {State::standby_syncing, On::retire, &Machine::rest},

      {State::standby_synced, On::owner_heard, &Machine::follow},
      {State::standby_synced, On::owner_suspected, &Machine::suspect},
      {State::standby_synced, On::owner_released, &Machine::take_released},
      {State::standby_synced, On::stalled, &Machine::go_stale},
      {State::standby_synced, On::readiness, &Machine::note_standby_readiness},
      {State::standby_synced, On::retire, &Machine::rest},
      {State::standby_synced, On::handed, &Machine::take_handed},

      {State::standby_stale, On::owner_heard, &Machine::follow},
      {State::standby_stale, On::owner_suspected, &Machine::suspect},
      {State::standby_stale, On::owner_released, &Machine::take_released},
      {State::standby_stale, On::readiness, &Machine::note_standby_readiness},
      {State::standby_stale, On::retire, &Machine::rest},

      {State::standby_empty, On::owner_heard, &Machine::follow},
      {State::standby_empty, On::owner_suspected, &Machine::suspect},
      {State::standby_empty, On::owner_released, &Machine::take_released},
      {State::standby_empty, On::readiness, &Machine::note_standby_readiness},
      {State::standby_empty, On::retire, &Machine::rest},

      {State::suspecting, On::deadline, &Machine::press_on},
      {State::suspecting, On::owner_heard, &Machine::owner_is_back},
      {State::suspecting, On::owner_released, &Machine::take_released},
      {State::suspecting, On::witness_answered, &Machine::note_witness},
      {State::suspecting, On::stalled, &Machine::doubt},
      {State::suspecting, On::readiness, &Machine::note_candidate_readiness},
      {State::suspecting, On::retire, &Machine::rest},

      {State::requesting, On::owner_heard, &Machine::owner_is_back},
      {State::requesting, On::granted, &Machine::take_granted},
      {State::requesting, On::denied, &Machine::take_denied},
      {State::requesting, On::stalled, &Machine::doubt},
      {State::requesting, On::readiness, &Machine::note_candidate_readiness},
      {State::requesting, On::retire, &Machine::rest},

      {State::claiming, On::deadline, &Machine::remind_workers},
      {State::claiming, On::owner_heard, &Machine::meet_rival},
      {State::claiming, On::promoted, &Machine::confirm_promotion},
      {State::claiming, On::stalled, &Machine::fence_after_stall},
      {State::claiming, On::lease_lost, &Machine::fence_after_lease},
      {State::claiming, On::readiness, &Machine::note_readiness},
      {State::claiming, On::cut_off, &Machine::let_go},
      {State::claiming, On::retire, &Machine::hand_over_and_rest},

      {State::owner_unprotected, On::owner_heard, &Machine::meet_rival},
      {State::owner_unprotected, On::stalled, &Machine::fence_after_stall},
      {State::owner_unprotected, On::lease_lost, &Machine::fence_after_lease},
      {State::owner_unprotected, On::readiness, &Machine::note_owner_readiness},
      {State::owner_unprotected, On::yield, &Machine::hand_over},
      {State::owner_unprotected, On::cut_off, &Machine::let_go},
      {State::owner_unprotected, On::retire, &Machine::hand_over_and_rest},

      {State::owner_syncing, On::owner_heard, &Machine::meet_rival},
      {State::owner_syncing, On::stalled, &Machine::fence_after_stall},
      {State::owner_syncing, On::lease_lost, &Machine::fence_after_lease},
      {State::owner_syncing, On::readiness, &Machine::note_owner_readiness},
      {State::owner_syncing, On::yield, &Machine::hand_over},
      {State::owner_syncing, On::cut_off, &Machine::let_go},
      {State::owner_syncing, On::retire, &Machine::hand_over_and_rest},

      {State::owner_protected, On::owner_heard, &Machine::meet_rival},
      {State::owner_protected, On::stalled, &Machine::fence_after_stall},
      {State::owner_protected, On::lease_lost, &Machine::fence_after_lease},
      {State::owner_protected, On::readiness, &Machine::note_owner_readiness},
      {State::owner_protected, On::yield, &Machine::hand_over},
      {State::owner_protected, On::cut_off, &Machine::let_go},
      {State::owner_protected, On::retire, &Machine::hand_over_and_rest},

      {State::yielding, On::deadline, &Machine::end_yielding},
      {State::yielding, On::owner_heard, &Machine::see_successor},
      {State::yielding, On::readiness, &Machine::note_readiness},
      {State::yielding, On::retire, &Machine::hand_over_and_rest},
      {State::yielding, On::refused, &Machine::take_back},

      {State::fenced, On::deadline, &Machine::unfence},
      {State::fenced, On::owner_heard, &Machine::see_successor},
      {State::fenced, On::stalled, &Machine::listen_longer},
      {State::fenced, On::granted, &Machine::take_lease},
      {State::fenced, On::denied, &Machine::be_patient},
      {State::fenced, On::readiness, &Machine::note_readiness},
      {State::fenced, On::retire, &Machine::hand_over_and_rest},

      {State::maintenance, On::owner_heard, &Machine::note_owner},
      {State::maintenance, On::readiness, &Machine::note_readiness},
      {State::maintenance, On::serve, &Machine::serve_again},
  };

  static constexpr auto kHandlers = [] {
    std::array<std::array<Handler, kFailoverEvents>, kGroupStates> handlers{};
    for (const Row& row : kRows)
      handlers[static_cast<size_t>(row.state)][static_cast<size_t>(row.event)] = row.handler;
    return handlers;
  }();
};

bool FailoverMachine::acts(GroupState state, FailoverEvent event) {
  return FailoverTable::kHandlers[static_cast<size_t>(state)][static_cast<size_t>(event)] != nullptr;
}

void FailoverMachine::handle(const FailoverInput& input, const Surroundings& around, Actions& actions) {
  const auto handler =
      FailoverTable::kHandlers[static_cast<size_t>(state_)][static_cast<size_t>(input.event)];
  if (handler == nullptr) return;
  Turn turn{input, around, actions};
  (this->*handler)(turn);
}

std::string_view name_of(GroupState state) {
  switch (state) {
    case GroupState::learning:
      return "learning";
    case GroupState::standby_syncing:
      return "standby(syncing)";
    case GroupState::standby_synced:
      return "standby(synced)";
    case GroupState::standby_stale:
      return "standby(stale)";
    case GroupState::standby_empty:
      return "standby(empty)";
    case GroupState::suspecting:
      return "suspecting";
    case GroupState::requesting:
      return "requesting";
    case GroupState::claiming:
      return "claiming";
    case GroupState::owner_unprotected:
      return "owner(unprotected)";
    case GroupState::owner_syncing:
      return "owner(syncing)";
    case GroupState::owner_protected:
      return "owner(protected)";
    case GroupState::yielding:
      return "yielding";
    case GroupState::fenced:
      return "fenced";
    case GroupState::maintenance:
      return "maintenance";
  }
  return "unknown";
}

std::string_view name_of(FailoverEvent event) {
  switch (event) {
    case FailoverEvent::deadline:
      return "deadline";
    case FailoverEvent::owner_heard:
      return "owner_heard";
    case FailoverEvent::owner_suspected:
      return "owner_suspected";
    case FailoverEvent::owner_released:
      return "owner_released";
    case FailoverEvent::witness_answered:
      return "witness_answered";
    case FailoverEvent::promoted:
      return "promoted";
    case FailoverEvent::stalled:
      return "stalled";
    case FailoverEvent::readiness:
      return "readiness";
    case FailoverEvent::yield:
      return "yield";
    case FailoverEvent::retire:
      return "retire";
    case FailoverEvent::serve:
      return "serve";
    case FailoverEvent::handed:
      return "handed";
    case FailoverEvent::refused:
      return "refused";
    case FailoverEvent::cut_off:
      return "cut_off";
    case FailoverEvent::granted:
      return "granted";
    case FailoverEvent::denied:
      return "denied";
    case FailoverEvent::lease_lost:
      return "lease_lost";
  }
  return "unknown";
}

}  // namespace understudy::cluster
