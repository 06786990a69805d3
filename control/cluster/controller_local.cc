#include <algorithm>

#include <fmt/format.h>

#include "control/cluster/controller.h"

// The part of the controller that deals with its own node: workers, the mirror, the operator, and what is
// shown.

namespace understudy::cluster {
namespace {

constexpr Duration kAvoidDropped = 2s;
// An owner that nobody echoes asks gateways and backends again so long after one of them has answered.
constexpr Duration kAskAgainAfter = 1s;

}  // namespace

Actions Controller::on_witness_answer(Instant now) {
  Actions actions;
  enter(now, actions);
  for (auto& [id, group] : groups_)
    if (group.doubt && group.doubt->is_open()) {
      group.doubt->answer = Doubt::Answer::heard;
      group.doubt->ask_again = now + kAskAgainAfter;
    }
  feed_all(FailoverEvent::witness_answered, "", now, actions);
  return leave(now, std::move(actions));
}

Actions Controller::on_worker_stall(Duration length, bool silenced, Instant now) {
  Actions actions;
  enter(now, actions);
  // The worker did not hear while it was away: no peer is to be blamed for that time.
  clock_.absent(length, now);
  FailoverInput input;
  input.event = FailoverEvent::stalled;
  input.now = now;
  input.why = fmt::format("a worker of this node was away for {} ms", to_ms(length));
  for (auto& [id, group] : groups_) {
    // Where an arbiter knows who is in sync, copies do not expire by themselves.
    const bool expired = arbiter_ == nullptr && length >= settings_.in_sync_lease;
    const bool outlived = is_standby(group.machine->state()) ? expired : silenced;
    if (outlived) feed(group, input, actions);
  }
  return leave(now, std::move(actions));
}

void Controller::on_worker_progress(uint16_t worker, uint64_t count, Instant now) {
  const auto [entry, is_new] = own_workers_.try_emplace(worker);
  OwnWorker& own = entry->second;
  if (!is_new && own.count == count) return;
  own.count = count;
  own.grew_at = now;
  own.unwatched = Duration::zero();
}

// A worker that hangs reads no heartbeats. As long as one does, silence is no evidence against anybody else.
void Controller::watch_own_workers(Instant now, Actions& actions) {
  for (auto& [index, worker] : own_workers_) {
    const Duration still = now - worker.grew_at;
    if (still > 2 * settings_.interval) clock_.absent(still, now);
    const bool hangs = still >= settings_.dead_after;
    if (hangs && !worker.told)
      actions.push_back(
          Event{LogLevel::error,
                fmt::format("worker {} of this node has made no progress for {} ms", index, to_ms(still))});
    worker.told = hangs;
  }
}

bool Controller::a_worker_hangs(Instant now) const {
  return std::ranges::any_of(
      own_workers_, [&](const auto& own) { return now - own.second.grew_at > 2 * settings_.interval; });
}

// For dead_after or longer, as far as control was there to see it: when a whole node stood still, its workers
// say so themselves.
std::optional<Controller::Hang> Controller::longest_hang(Instant now) const {
  std::optional<Hang> longest;
  for (const auto& [index, worker] : own_workers_) {
    const Duration lasts = now - worker.grew_at - worker.unwatched;
    if (lasts >= settings_.dead_after && (!longest || lasts > longest->lasts)) longest = {index, lasts};
  }
  return longest;
}

Actions Controller::on_promoted(GroupId id, Instant now) {
  Actions actions;
  enter(now, actions);
  FailoverInput input;
  input.event = FailoverEvent::promoted;
  input.now = now;
  const auto found = groups_.find(id);
  if (found != groups_.end()) feed(found->second, input, actions);
  return leave(now, std::move(actions));
}

Actions Controller::on_mirror(GroupId id, const MirrorReport& report, Instant now) {
  Actions actions;
  enter(now, actions);
  const auto found = groups_.find(id);
  if (found != groups_.end()) {
    FailoverInput input;
    input.event = FailoverEvent::readiness;
    input.now = now;
    input.report = as_recorded(id, found->second, report, now);
    const GroupState before = found->second.machine->state();
    feed(found->second, input, actions);
    if (found->second.machine->state() != before) want_ownership(now);
  }
  return leave(now, std::move(actions));
}

Actions Controller::on_standby_dropped(GroupId id, NodeId standby, Instant now) {
  Actions actions;
  enter(now, actions);
  if (const auto found = groups_.find(id); found != groups_.end()) {
    found->second.avoided = standby;
    found->second.avoided_until = now + kAvoidDropped;
  }
  return leave(now, std::move(actions));
}

Actions Controller::retire(Instant now) {
  Actions actions;
  enter(now, actions);
  for (auto& [id, group] : groups_) feed_with_heir(id, group, FailoverEvent::retire, now, actions);
  return leave(now, std::move(actions));
}

Actions Controller::serve(Instant now) {
  Actions actions;
  enter(now, actions);
  feed_all(FailoverEvent::serve, "", now, actions);
  return leave(now, std::move(actions));
}

bool Controller::retired() const {
  return std::all_of(groups_.begin(), groups_.end(), [](const auto& group) {
    return group.second.machine->state() == GroupState::maintenance;
  });
}

// A link on which a peer was heard and now is not, for twice as long as makes a node suspect: an event, not a
// suspicion.
void Controller::watch_links(Instant now, Actions& actions) {
  if (now < clock_.grace_ends()) return;
  const Instant awake = clock_.awake(now);
  for (auto& [node, peer] : peers_) {
    if (!peer.heard || peer.told_dead) continue;
    if (awake - peer.heard_at >= settings_.dead_after) {
      peer.told_dead = true;
      actions.push_back(
          Event{LogLevel::warning, fmt::format("node {} is silent on every link for {} ms",
                                               name_of_node(node), to_ms(awake - peer.heard_at))});
      continue;
    }
    for (size_t i = 0; i < peer.links.size(); ++i) {
      PeerLink& link = peer.links[i];
      if (!link.heard_at || link.told_down || awake - *link.heard_at < 2 * settings_.dead_after) continue;
      link.told_down = true;
      actions.push_back(Event{LogLevel::warning, fmt::format("node {} is no longer heard on link {}",
                                                             name_of_node(node), settings_.links[i].name)});
    }
  }
}

std::vector<mirror::GroupBeat> Controller::beat_groups() const {
  std::vector<mirror::GroupBeat> beats;
  for (const auto& [id, group] : groups_) {
    mirror::GroupBeat beat;
    beat.group = id;
    beat.role = group.machine->role();
    const bool speaks = beat.role != mirror::GroupRole::idle && beat.role != mirror::GroupRole::standby;
    beat.epoch = speaks ? group.machine->epoch() : group.highest;
    beat.standby_synced = group.machine->state() == GroupState::owner_protected;
    const Readiness held = group.machine->readiness();
    beat.legs_stale = !speaks && (held == Readiness::stale || held == Readiness::none);
    beat.standby = group.standby;
    beat.era = group.era;
    if (arbiter_ != nullptr) arbiter_->fill(beat);
    beats.push_back(beat);
  }
  return beats;
}

std::vector<std::vector<uint8_t>> Controller::ownership_payloads() {
  Ownership ownership{settings_.self, settings_.boot, ++freshness_, {}};
  const auto beats = beat_groups();
  for (const GroupSettings& group : settings_.groups) {
    const auto beat = std::find_if(beats.begin(), beats.end(), [&group](const mirror::GroupBeat& each) {
      return each.group == group.id;
    });
    GroupOwnership says;
    says.group = group.id;
    says.role = beat->role;
    says.epoch = beat->epoch;
    says.readiness = groups_.at(group.id).machine->readiness();
    says.failover = group.failover;
    says.arp = group.arp;
    says.successors = group.successors;
    if (beat->role == mirror::GroupRole::owner && current_of(group.id) == group.id) {
      says.addresses = group.addresses;
      says.ports = group.ports;
    }
    ownership.groups.push_back(std::move(says));
  }
  return encode(ownership);
}

void Controller::note_announced(GroupId id, const Epoch& epoch, Instant when) {
  const auto found = groups_.find(id);
  if (found != groups_.end()) found->second.machine->note_announced(epoch, when);
}

void Controller::note_first_packet(GroupId id, Instant when) {
  const auto found = groups_.find(id);
  if (found != groups_.end()) found->second.machine->note_first_packet(when);
}

const FailoverMachine* Controller::machine(GroupId id) const {
  const auto found = groups_.find(id);
  return found == groups_.end() ? nullptr : found->second.machine.get();
}

NodeId Controller::standby_of(GroupId id) const {
  const auto found = groups_.find(id);
  return found == groups_.end() ? NodeId() : found->second.standby;
}

const std::string& Controller::name_of_node(NodeId node) const {
  static const std::string kUnknown = "?";
  const auto found = names_.find(node);
  return found == names_.end() ? kUnknown : found->second;
}

std::vector<PeerSnapshot> Controller::peers(Instant now) const {
  std::vector<PeerSnapshot> snapshots;
  for (const auto& [node, peer] : peers_) {
    const Membership::Peer& member = *membership_.find(node);
    PeerSnapshot snapshot;
    snapshot.node = node;
    snapshot.name = name_of_node(node);
    if (peer.heard) snapshot.boot = peer.boot;
    snapshot.alive = is_alive(peer, now);
    snapshot.reboots = member.reboots;
    snapshot.workers = static_cast<uint16_t>(peer.workers.size());
    snapshot.reach_front = peer.reach.front;
    snapshot.reach_back = peer.reach.back;
    for (size_t i = 0; i < settings_.links.size(); ++i) {
      const Membership::Link& link = member.links[i];
      LinkSnapshot shown{settings_.links[i].name, std::nullopt, link.mac, link.frames};
      if (link.last_heard) shown.age = now - *link.last_heard;
      snapshot.links.push_back(std::move(shown));
    }
    snapshots.push_back(std::move(snapshot));
  }
  return snapshots;
}

std::vector<GroupSnapshot> Controller::groups(Instant now) const {
  std::vector<GroupSnapshot> snapshots;
  for (const auto& [id, group] : groups_) {
    const FailoverMachine& machine = *group.machine;
    GroupSnapshot snapshot;
    snapshot.group = id;
    snapshot.name = machine.settings().name;
    snapshot.state = machine.state();
    snapshot.why = machine.why();
    snapshot.in_state = now - machine.since();
    snapshot.mirror = machine.report();
    snapshot.epoch = group.highest;
    if (machine.role() == mirror::GroupRole::owner) {
      snapshot.owner = name_of_node(settings_.self);
      snapshot.epoch = machine.epoch();
      if (group.standby != NodeId()) snapshot.standby = name_of_node(group.standby);
    } else if (is_standby(machine.state()) && machine.followed()) {
      snapshot.owner = machine.followed()->name;
      snapshot.epoch = machine.followed()->epoch;
      const PeerView& owner = peers_.at(machine.followed()->node);
      const auto says = owner.groups.find(id);
      if (says != owner.groups.end() && says->second.standby != NodeId())
        snapshot.standby = name_of_node(says->second.standby);
    }
    snapshot.takeovers = &machine.takeovers();
    snapshot.takeovers_total = machine.takeovers_total();
    snapshot.legs_lost_total = machine.legs_lost_total();
    snapshot.history = &machine.history();
    snapshots.push_back(std::move(snapshot));
  }
  for (GroupSnapshot& snapshot : snapshots) name_pair(snapshot, snapshots);
  return snapshots;
}

}  // namespace understudy::cluster
