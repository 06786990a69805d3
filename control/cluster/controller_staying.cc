#include <algorithm>

#include <fmt/format.h>

#include "control/cluster/controller.h"

// The part of the controller that deals with pairs of groups (failback: new_connections): which of the two
// takes new connections, and when the other one has nothing left.

namespace understudy::cluster {
namespace {

// One hand-over that failed is not tried again before.
constexpr Duration kRetryAfter = 10s;

}  // namespace

GroupId Controller::current_of(GroupId id) const {
  const Group& group = groups_.at(id);
  if (!group.twin) return id;
  const uint32_t other = groups_.at(*group.twin).era;
  const bool is_current = group.era > other || (group.era == other && !group.is_spare);
  return is_current ? id : *group.twin;
}

// The live node that says it owns the group, this one or another.
std::optional<NodeId> Controller::owner_now(GroupId id, Instant now) const {
  if (is_owner(groups_.at(id).machine->state())) return settings_.self;
  for (const auto& [node, peer] : peers_) {
    const auto says = peer.groups.find(id);
    if (says != peer.groups.end() && says->second.role == mirror::GroupRole::owner &&
        says->second.epoch.node == node && is_alive(peer, now))
      return node;
  }
  return std::nullopt;
}

// The current group of a pair is at another node, this one has the connections that stay: that node, whose
// hand over the frames go, is to be their standby.
std::optional<NodeId> Controller::holder_beside(GroupId id, Instant now) const {
  const GroupId current = current_of(id);
  if (current == id) return std::nullopt;
  const auto owner = owner_now(current, now);
  return owner != settings_.self ? owner : std::nullopt;
}

void Controller::watch_pair(GroupId id, Instant now, Actions& actions) {
  const Group& configured = groups_.at(id);
  if (!configured.twin || configured.is_spare) return;
  const GroupId current = current_of(id);
  const GroupId other = current == id ? *configured.twin : id;
  const bool owns_current = is_owner(groups_.at(current).machine->state());
  const bool owns_other = is_owner(groups_.at(other).machine->state());
  if (owns_current && owns_other)
    give_current_back(id, current, other, now, actions);
  else if (groups_.at(current).machine->state() != GroupState::yielding)
    groups_.at(id).returned.reset();
  if (owns_other && !owns_current) end_staying(other, now, actions);
}

// The first system is back. What is open now stays here, in its group; the other group of the pair, which is
// empty, becomes the current one and goes to the first system with the addresses. If that one is not empty,
// the current one goes, with its connections: they were that system's own before it failed again.
void Controller::give_current_back(GroupId id, GroupId current, GroupId other, Instant now,
                                   Actions& actions) {
  Group& pair = groups_.at(id);
  const bool other_is_safe = heir(other, now) == more_preferred(current, groups_.at(current), now);
  const auto node = proven_return(pair, current, other_is_safe, now, actions);
  if (!node) return;
  const bool leaves_something = has_connections(current);
  if (leaves_something && !has_connections(other)) {
    groups_.at(other).era = groups_.at(current).era + 1;
    want_ownership(now);
    return;
  }
  // It must know what it gets before it gets it.
  if (peers_.at(*node).groups.at(current).era != groups_.at(current).era) return;
  pair.returned->not_before = now + kRetryAfter;
  const std::string& title = groups_.at(id).machine->settings().name;
  const uint32_t staying = groups_.at(other).machine->report().legs;
  actions.push_back(
      Event{LogLevel::notice, fmt::format("group {}: {} is back and synced, it gets the addresses "
                                          "and new connections; {} stay here until they end",
                                          title, name_of_node(*node), staying)});
  feed_with_heir(current, groups_.at(current), FailoverEvent::yield, now, actions);
}

// The last connection that stayed has ended.
void Controller::end_staying(GroupId id, Instant now, Actions& actions) {
  Group& group = groups_.at(id);
  const auto holder = holder_beside(id, now);
  if (!holder || has_connections(id)) {
    group.empty_since.reset();
    return;
  }
  if (!group.empty_since) group.empty_since = now;
  if (now < *group.empty_since + kProofTime || heir(id, now) != holder) return;
  group.empty_since = now + kRetryAfter;
  feed_with_heir(id, group, FailoverEvent::yield, now, actions);
}

bool Controller::has_connections(GroupId id) const {
  const MirrorReport& report = groups_.at(id).machine->report();
  return report.legs + report.legs_exempt > 0;
}

// Whatever group it is: the current one goes by the configured name, and the other one is shown only while it
// has something of its own.
void Controller::name_pair(GroupSnapshot& snapshot, const std::vector<GroupSnapshot>& all) const {
  const Group& group = groups_.at(snapshot.group);
  if (!group.twin) return;
  const std::string& name =
      groups_.at(group.is_spare ? *group.twin : snapshot.group).machine->settings().name;
  const bool is_current = current_of(snapshot.group) == snapshot.group;
  snapshot.name = is_current ? name : fmt::format("{}/staying", name);
  const auto current = std::ranges::find(all, *group.twin, &GroupSnapshot::group);
  snapshot.is_hidden = !is_current && current->owner == snapshot.owner && !has_connections(snapshot.group);
}

Actions Controller::on_cut_off(GroupId id, NodeId holder, Instant now) {
  Actions actions;
  enter(now, actions);
  const auto found = groups_.find(id);
  // Silent on every link it is more likely dead than cut off from us, and then nobody would take them.
  const auto peer = peers_.find(holder);
  const bool lives =
      peer != peers_.end() && clock_.awake(now) - peer->second.heard_at < settings_.dead_after / 2;
  const bool can = found != groups_.end() && found->second.machine->state() == GroupState::owner_protected;
  if (can && lives && holder_beside(id, now) == holder) {
    FailoverInput input;
    input.event = FailoverEvent::cut_off;
    input.now = now;
    input.why = fmt::format("nothing gets through to {}, which has the addresses", name_of_node(holder));
    feed(found->second, input, actions);
  }
  return leave(now, std::move(actions));
}

}  // namespace understudy::cluster
