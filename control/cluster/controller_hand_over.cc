#include <fmt/format.h>

#include "control/cluster/controller.h"

// The part of the controller that deals with planned hand-overs: to whom, why not, and what the workers say.

namespace understudy::cluster {
namespace {

// A resync that takes longer is told, with what is missing.
constexpr Duration kResyncDeadline = 30s;
// A hand-back that failed is not tried again before.
constexpr Duration kRetryAfter = 10s;

}  // namespace

std::optional<NodeId> Controller::heir(GroupId id, Instant now) const {
  const FailoverMachine* machine = this->machine(id);
  if (machine == nullptr || machine->state() != GroupState::owner_protected) return std::nullopt;
  const auto peer = peers_.find(standby_of(id));
  if (peer == peers_.end() || !is_alive(peer->second, now)) return std::nullopt;
  const auto says = peer->second.groups.find(id);
  const bool holds = says != peer->second.groups.end() && says->second.role == mirror::GroupRole::standby &&
                     !says->second.legs_stale;
  return holds ? std::optional(peer->first) : std::nullopt;
}

// The first in the order of successors that stands by, if this node comes after it.
std::optional<NodeId> Controller::more_preferred(GroupId id, const Group& group, Instant now) const {
  for (const NodeId node : group.machine->settings().successors) {
    if (node == settings_.self) break;
    const auto peer = peers_.find(node);
    if (peer == peers_.end() || !is_alive(peer->second, now)) continue;
    const auto says = peer->second.groups.find(id);
    if (says != peer->second.groups.end() && says->second.role == mirror::GroupRole::standby) return node;
  }
  return std::nullopt;
}

// failback: when_synced. The first system gets the group back, with the live connections, once it is proven
// synced, and not before.
void Controller::watch_return(GroupId id, Group& group, Instant now, Actions& actions) {
  if (group.failback != config::Failback::when_synced) return;
  const auto node = proven_return(group, id, true, now, actions);
  if (!node) return;
  group.returned->not_before = now + kRetryAfter;
  actions.push_back(
      Event{LogLevel::notice, fmt::format("group {}: {} is back and synced, handing it back "
                                          "(failback: when_synced)",
                                          group.machine->settings().name, name_of_node(*node))});
  feed_with_heir(id, group, FailoverEvent::yield, now, actions);
}

// The node that is to have the owned group `id` back now. `group` remembers since when it is there;
// `is_safe`: it holds all else that it has to.
std::optional<NodeId> Controller::proven_return(Group& group, GroupId id, bool is_safe, Instant now,
                                                Actions& actions) {
  const FailoverMachine& machine = *groups_.at(id).machine;
  const auto node = is_owner(machine.state()) ? more_preferred(id, groups_.at(id), now) : std::nullopt;
  if (!node) {
    if (machine.state() != GroupState::yielding) group.returned.reset();
    return std::nullopt;
  }
  if (!group.returned || group.returned->node != *node)
    group.returned = Return{*node, now, {}, Instant::min(), false};
  Return& returned = *group.returned;
  if (heir(id, now) != node || !is_safe) {
    returned.synced.reset();
    if (returned.told_late || now - returned.since < kResyncDeadline) return std::nullopt;
    returned.told_late = true;
    const MirrorReport& report = machine.report();
    actions.push_back(Event{
        LogLevel::warning,
        fmt::format("group {}: {} is back for {} s and not synced ({}, {} of {} "
                    "connections unprotected): it does not "
                    "get the group back yet, this node goes on",
                    group.machine->settings().name, name_of_node(*node), to_ms(now - returned.since) / 1000,
                    name_of(report.readiness), report.legs_unprotected, report.legs)});
    return std::nullopt;
  }
  if (is_worse(peers_.at(*node).reach, reach(now))) returned.synced.reset();  // it would hand it over again
  if (!returned.synced) returned.synced = now;
  const bool is_proven = now - *returned.synced >= kProofTime && now >= returned.not_before;
  return is_proven ? node : std::nullopt;
}

std::optional<std::string> Controller::obstacle(GroupId id, NodeId to, Instant now) const {
  const FailoverMachine& machine = *this->machine(id);
  const std::string& group = machine.settings().name;
  const std::string& name = name_of_node(to);
  if (machine.state() == GroupState::yielding)
    return fmt::format("group {} is being handed over already; `show cluster` tells how it ends", group);
  if (!is_owner(machine.state())) {
    if (is_standby(machine.state()) && machine.followed())
      return fmt::format("this node does not own group {}; give the command on {}, which does", group,
                         machine.followed()->name);
    return fmt::format("this node does not own group {}, it is {}; give the command on its owner", group,
                       name_of(machine.state()));
  }
  if (to == settings_.self) return fmt::format("{} owns group {} already", name, group);
  const auto peer = peers_.find(to);
  if (peer == peers_.end() || !is_alive(peer->second, now))
    return fmt::format("{} is not heard; it must run and be the synced standby of group {}", name, group);
  if (machine.state() != GroupState::owner_protected)
    return fmt::format(
        "{} is not synced: {} of {} connections would be lost; wait until `show cluster` says "
        "owner(protected)",
        name, machine.report().legs_unprotected, machine.report().legs);
  const auto heir = this->heir(id, now);
  if (!heir)
    return fmt::format("{} says that its copies of group {} are out of date; wait until it is synced", name,
                       group);
  if (*heir != to)
    return fmt::format("{} is not the standby of group {}, {} is", name, group, name_of_node(*heir));
  return std::nullopt;
}

void Controller::feed_with_heir(GroupId id, Group& group, FailoverEvent event, Instant now,
                                Actions& actions) {
  FailoverInput input;
  input.event = event;
  input.now = now;
  if (const auto to = heir(id, now)) input.owner = {*to, peers_.at(*to).boot, Epoch(), name_of_node(*to)};
  feed(group, input, actions);
}

Actions Controller::yield(GroupId id, Instant now) {
  Actions actions;
  enter(now, actions);
  const auto found = groups_.find(id);
  if (found != groups_.end()) feed_with_heir(id, found->second, FailoverEvent::yield, now, actions);
  return leave(now, std::move(actions));
}

Actions Controller::on_handed(GroupId id, Instant now) {
  Actions actions;
  enter(now, actions);
  FailoverInput input;
  input.event = FailoverEvent::handed;
  input.now = now;
  const auto found = groups_.find(id);
  if (found != groups_.end()) {
    // Whoever hands it over is our standby from the first moment on, and stays it.
    const auto followed = found->second.machine->followed();
    const bool takes =
        followed && found->second.machine->state() == GroupState::standby_synced && arbiter_ == nullptr;
    if (takes) found->second.standby = followed->node;
    feed(found->second, input, actions);
    if (takes) actions.push_back(MirrorTo{id, followed->node});
  }
  return leave(now, std::move(actions));
}

Actions Controller::on_hand_over_refused(GroupId id, const std::string& why, Instant now) {
  Actions actions;
  enter(now, actions);
  FailoverInput input;
  input.event = FailoverEvent::refused;
  input.now = now;
  input.why = why;
  const auto found = groups_.find(id);
  if (found != groups_.end()) feed(found->second, input, actions);
  return leave(now, std::move(actions));
}

}  // namespace understudy::cluster
