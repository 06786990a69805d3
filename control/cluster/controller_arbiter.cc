#include <algorithm>

#include <fmt/format.h>

#include "control/cluster/controller.h"

// The part of the controller that stands between the failover machines and the arbiter.

namespace understudy::cluster {
namespace {

// A machine that is told may ask again at once, and be answered at once; it does not go on so.
constexpr int kRoundsMost = 8;

// It speaks for the group under its epoch, or would if it were not silent for the moment.
bool has_epoch(GroupState state) {
  return is_owner(state) || state == GroupState::claiming || state == GroupState::yielding ||
         state == GroupState::fenced;
}

}  // namespace

void Controller::consult(Instant now, Actions& actions) {
  if (arbiter_ == nullptr) return;
  for (int round = 0; round < kRoundsMost; ++round) {
    const auto verdicts = arbiter_->take_verdicts();
    if (verdicts.empty()) return;
    for (const Verdict& verdict : verdicts) take_verdict(verdict, now, actions);
  }
}

// What an owner put off because it was fenced.
void Controller::resume_removals(Instant now, Actions& actions) {
  if (arbiter_ == nullptr) return;
  for (auto& [id, group] : groups_) {
    if (!group.removal_owed || group.removing || !is_standby_removed(id, group, now)) continue;
    group.removal_owed = false;
    actions.push_back(StandbyRemoved{id});
  }
}

void Controller::take_verdict(const Verdict& verdict, Instant now, Actions& actions) {
  const auto found = groups_.find(verdict.group);
  if (found == groups_.end()) return;
  Group& group = found->second;
  if (verdict.kind == Verdict::Kind::recorded) {
    if (verdict.standby == NodeId() && verdict.ballot == group.machine->epoch()) {
      group.removing = false;
      if (std::exchange(group.removal_owed, false)) actions.push_back(StandbyRemoved{verdict.group});
    }
    return;
  }
  FailoverInput input;
  input.event = verdict.kind == Verdict::Kind::granted ? FailoverEvent::granted : FailoverEvent::denied;
  input.now = now;
  input.ballot = verdict.ballot;
  input.highest = verdict.highest;
  input.why = verdict.why;
  input.out_of_sync = verdict.out_of_sync;
  // A new owner begins without a standby. One that was fenced and owns again under the same epoch has the one
  // that is recorded, until a majority has recorded another set (resume_removals).
  if (verdict.kind == Verdict::Kind::granted && verdict.ballot != group.machine->epoch()) {
    group.removing = false;
    if (std::exchange(group.removal_owed, false)) actions.push_back(StandbyRemoved{verdict.group});
  }
  // Whoever hands it over is our standby from the first moment on, and stays it.
  const NodeId giver = group.machine->giver();
  feed(group, input, actions);
  if (giver != NodeId() && group.machine->state() == GroupState::claiming) {
    group.standby = giver;
    actions.push_back(MirrorTo{verdict.group, giver});
  }
  want_ownership(now);
}

// Whose answers nobody can count on: not heard lately, although perhaps not dead yet.
std::vector<NodeId> Controller::silent_peers(Instant now) const {
  const Instant awake = clock_.awake(now);
  std::vector<NodeId> silent;
  for (const auto& [node, peer] : peers_)
    if (!peer.heard || awake - peer.heard_at >= 3 * settings_.interval) silent.push_back(node);
  return silent;
}

Instant Controller::lease_until(GroupId id) const {
  if (arbiter_ == nullptr) return kNever;
  const auto found = groups_.find(id);
  return found == groups_.end() ? Instant::min() : arbiter_->lease_until(id, found->second.machine->epoch());
}

void Controller::watch_leases(Instant now, Actions& actions) {
  if (arbiter_ == nullptr) return;
  for (auto& [id, group] : groups_) {
    const GroupState state = group.machine->state();
    const bool speaks = is_owner(state) || state == GroupState::claiming;
    if (speaks && lease_until(id) <= now) lose_lease(group, now, actions);
  }
}

void Controller::lose_lease(Group& group, Instant now, Actions& actions) {
  std::string silent;
  for (const NodeId node : silent_peers(now))
    silent += fmt::format("{}{}", silent.empty() ? "" : ", ", name_of_node(node));
  FailoverInput input;
  input.event = FailoverEvent::lease_lost;
  input.now = now;
  input.why = fmt::format("{} ({})", arbiter_->why_lease_ended(group.machine->settings().group),
                          silent.empty() ? "all others are heard" : silent + " silent");
  feed(group, input, actions);
}

Actions Controller::on_lease_lost(GroupId id, Instant now) {
  Actions actions;
  enter(now, actions);
  if (const auto found = groups_.find(id); found != groups_.end()) lose_lease(found->second, now, actions);
  return leave(now, std::move(actions));
}

// A standby that holds everything may take over: where a successor has to look, it is told so. Until that is
// known there, it would be refused, and the group is not protected yet.
MirrorReport Controller::as_recorded(GroupId id, const Group& group, MirrorReport report, Instant now) {
  const FailoverMachine& machine = *group.machine;
  if (arbiter_ == nullptr || !is_owner(machine.state()) || report.readiness != Readiness::synced ||
      arbiter_->is_recorded(id, machine.epoch(), report.standby))
    return report;
  if (!group.removing && report.standby != NodeId() && report.standby == group.standby)
    arbiter_->record(id, machine.epoch(), group.standby, now);
  report.readiness = Readiness::syncing;
  return report;
}

bool Controller::is_standby_removed(GroupId id, Group& group, Instant now) {
  if (arbiter_ == nullptr || !has_epoch(group.machine->state())) return true;
  if (arbiter_->is_recorded(id, group.machine->epoch(), NodeId())) return true;
  // If it is us who are cut off, it is to go on with what it holds.
  if (group.doubt && group.doubt->is_first && group.doubt->is_open()) return false;
  // Whoever may not speak has nothing to acknowledge, and a successor may need that standby to be in sync.
  const GroupState state = group.machine->state();
  if (!is_owner(state) && state != GroupState::claiming) return false;
  group.removing = true;
  arbiter_->record(id, group.machine->epoch(), NodeId(), now);
  return false;
}

Actions Controller::release_standby(GroupId id, Instant now) {
  Actions actions;
  enter(now, actions);
  if (const auto found = groups_.find(id); found != groups_.end()) {
    if (is_standby_removed(id, found->second, now))
      actions.push_back(StandbyRemoved{id});
    else
      found->second.removal_owed = true;
  }
  return leave(now, std::move(actions));
}

Actions Controller::on_beat_sent(uint32_t number, Instant sent, Instant now) {
  Actions actions;
  enter(now, actions);
  if (arbiter_ != nullptr) arbiter_->on_beat_sent(number, sent);
  return leave(now, std::move(actions));
}

Actions Controller::on_vote(std::span<const uint8_t> payload, const FrameOrigin& from, Instant now) {
  Actions actions;
  enter(now, actions);
  if (sight(from, now, actions) && arbiter_ != nullptr) arbiter_->on_vote(from.node, from.boot, payload, now);
  return leave(now, std::move(actions));
}

Actions Controller::on_kept(uint64_t sequence, bool is_kept, Instant now) {
  Actions actions;
  enter(now, actions);
  if (arbiter_ != nullptr) arbiter_->on_kept(sequence, is_kept, now);
  return leave(now, std::move(actions));
}

}  // namespace understudy::cluster
