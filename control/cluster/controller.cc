#include "control/cluster/controller.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/check.h"
#include "control/cluster/standby_choice.h"

namespace understudy::cluster {
namespace {

constexpr Duration kSolicitPeriod = 100ms;

std::vector<NodeId> ids_of(const std::vector<NodeSettings>& nodes) {
  std::vector<NodeId> ids;
  for (const NodeSettings& node : nodes) ids.push_back(node.id);
  return ids;
}

Membership::Self self_of(const ClusterSettings& settings) {
  Membership::Self self{settings.self, settings.boot, settings.interval, settings.dead_after, {}};
  for (const LinkSettings& link : settings.links) self.macs.push_back(link.mac);
  return self;
}

FailoverSettings failover_settings(const ClusterSettings& cluster, const GroupSettings& group) {
  FailoverSettings settings;
  settings.self = cluster.self;
  settings.group = group.id;
  settings.name = group.name;
  settings.successors = group.successors;
  settings.may_take_over = group.failover != config::FailoverPolicy::none;
  settings.has_witnesses = cluster.has_witnesses;
  settings.dead_after = cluster.dead_after;
  settings.learn_for = std::max(cluster.learn_for, 2 * cluster.dead_after);
  settings.boot_rank_delay = std::max<Duration>(500ms, 2 * cluster.dead_after);
  settings.probe_interval = 20ms;
  settings.asks = cluster.arbiter != config::Arbiter::none;
  settings.cold_after = cluster.cold_takeover_after;
  return settings;
}

}  // namespace

Controller::Controller(ClusterSettings settings, LogSink log, Random random, std::unique_ptr<Arbiter> arbiter)
    : settings_(std::move(settings)),
      clock_(settings_.interval, settings_.dead_after),
      membership_(self_of(settings_), ids_of(settings_.nodes), settings_.links.size()),
      arbiter_(std::move(arbiter)) {
  invariant((arbiter_ != nullptr) == (settings_.arbiter != config::Arbiter::none),
            "cluster: the arbiter is not the one that is configured");
  invariant(settings_.groups.size() <= mirror::kHeartbeatGroupsMax,
            "cluster: more groups than a heartbeat carries");
  for (const NodeSettings& node : settings_.nodes) {
    names_[node.id] = node.name;
    if (node.id != settings_.self) peers_[node.id].links.resize(settings_.links.size());
  }
  for (const GroupSettings& group : settings_.groups) {
    groups_[group.id].machine =
        std::make_unique<FailoverMachine>(failover_settings(settings_, group), log, Random(random.next()));
    groups_[group.id].failback = group.failback;
    groups_[group.id].twin = group.twin;
    groups_[group.id].is_spare = group.is_spare;
  }
}

Actions Controller::start(Instant now) {
  Actions actions;
  enter(now, actions);
  for (auto& [id, group] : groups_) {
    Actions ignored;  // one solicit serves all groups
    group.machine->start(now, ignored);
  }
  started_ = now;
  solicit_due_ = now;
  ownership_due_ = now;
  if (!settings_.has_witnesses && arbiter_ == nullptr)
    actions.push_back(
        Event{LogLevel::warning,
              "neither a gateway nor a backend is configured: a node that is cut off cannot know "
              "it, and two nodes may own a group until they hear each other again"});
  return leave(now, std::move(actions));
}

// ---- time

void Controller::enter(Instant now, Actions& actions) {
  last_call_ = now;
  const Duration away = clock_.observe(now);
  for (auto& [index, worker] : own_workers_)
    if (worker.grew_at < now) worker.unwatched += away;
  if (away <= settings_.dead_after) return;
  // What this thread would decide next rests on what it knew before; whether the workers were away as well,
  // they say themselves.
  const std::string why = fmt::format("this node was away for {} ms", to_ms(away));
  for (auto& [id, group] : groups_) {
    const GroupState state = group.machine->state();
    if (state == GroupState::learning || state == GroupState::suspecting || state == GroupState::requesting ||
        state == GroupState::fenced) {
      FailoverInput input;
      input.event = FailoverEvent::stalled;
      input.now = now;
      input.why = why;
      feed(group, input, actions);
    }
  }
}

Actions Controller::leave(Instant now, Actions actions) {
  consult(now, actions);
  resume_removals(now, actions);
  choose_standbys(now, actions);
  if (arbiter_ != nullptr)
    for (Action& action : arbiter_->take_actions()) actions.push_back(std::move(action));
  if (ownership_due_ <= now) {
    ownership_sent_ = now;
    ownership_due_ = now + settings_.ownership_period;
    actions.push_back(SendOwnership{ownership_payloads()});
  }
  if (solicit_due_ <= now) {
    const bool learning = std::any_of(groups_.begin(), groups_.end(), [](const auto& group) {
      return group.second.machine->state() == GroupState::learning;
    });
    solicit_due_ = learning ? now + kSolicitPeriod : kNever;
    actions.push_back(SendSolicit{});
  }
  return actions;
}

// At most one broadcast per interval, so that nobody can make us flood the network by asking.
void Controller::want_ownership(Instant now) {
  const Instant allowed = ownership_sent_ ? std::max(now, *ownership_sent_ + settings_.interval) : now;
  ownership_due_ = std::min(ownership_due_, allowed);
}

Instant Controller::next_deadline() const {
  Instant next = std::min({last_call_ + settings_.interval, ownership_due_, solicit_due_});
  if (arbiter_ != nullptr) next = std::min(next, arbiter_->next_deadline());
  for (const auto& [id, group] : groups_) {
    if (const Instant lease = lease_until(id); lease > last_call_) next = std::min(next, lease);
    next = std::min(next, group.machine->deadline());
    const auto& followed = group.machine->followed();
    if (!is_standby(group.machine->state()) || !followed) continue;
    const auto peer = peers_.find(followed->node);
    if (peer == peers_.end()) continue;
    const Instant verdict =
        next_verdict(signals(peer->second, followed->boot, id), {settings_.dead_after}, moment(last_call_));
    if (verdict > last_call_) next = std::min(next, verdict);
  }
  return next;
}

Actions Controller::tick(Instant now) {
  Actions actions;
  enter(now, actions);
  watch_own_workers(now, actions);
  if (arbiter_ != nullptr) arbiter_->tick(now);
  consult(now, actions);
  watch_leases(now, actions);
  FailoverInput input;
  input.event = FailoverEvent::deadline;
  input.now = now;
  for (auto& [id, group] : groups_) {
    review(group, now, actions);
    // A machine may pass through several states at once (learning, suspecting, claiming), but each of
    // them sets its next deadline ahead.
    for (int step = 0; step < 4 && group.machine->deadline() <= now; ++step) feed(group, input, actions);
    watch_hang(id, group, now, actions);
    watch_company(id, group, now, actions);
    watch_reach(id, group, now, actions);
    watch_return(id, group, now, actions);
    watch_pair(id, now, actions);
  }
  watch_links(now, actions);
  return leave(now, std::move(actions));
}

// ---- judging

OwnerSignals Controller::signals(const PeerView& peer, BootId followed, GroupId group) const {
  OwnerSignals signals{.boot_followed = followed,
                       .boot_now = peer.boot,
                       .last_heard = peer.heard_at,
                       .last_progress = peer.heard_at,
                       .role = mirror::GroupRole::idle};
  for (const PeerWorker& worker : peer.workers)
    signals.last_progress = std::min(signals.last_progress, worker.progress_at);
  const auto says = peer.groups.find(group);
  if (says != peer.groups.end()) signals.role = says->second.role;
  return signals;
}

bool Controller::is_alive(const PeerView& peer, Instant now) const {
  return peer.heard && clock_.awake(now) - peer.heard_at < settings_.dead_after;
}

Surroundings Controller::surroundings(const Group& group, Instant now) const {
  Surroundings around;
  around.highest_epoch = group.highest;
  if (arbiter_ != nullptr) {
    around.highest_epoch = std::max(group.highest, arbiter_->highest(group.machine->settings().group));
    around.obstacle = arbiter_->obstacle(peers_.size() - silent_peers(now).size());
    if (longest_hang(now)) around.obstacle = "a worker of this node hangs";
  }
  around.is_deaf = a_worker_hangs(now);
  const auto later = peers_.find(group.highest.node);
  if (group.highest > group.machine->epoch() && later != peers_.end())
    around.later_owner = {later->first, later->second.boot, group.highest, name_of_node(later->first)};
  const Readiness own = group.machine->readiness();
  const bool holds_legs = own == Readiness::syncing || own == Readiness::synced;
  const auto& followed = group.machine->followed();
  for (const auto& [node, peer] : peers_) {
    const auto found = peer.groups.find(group.machine->settings().group);
    if (found == peer.groups.end() || !is_alive(peer, now)) continue;
    const PeerGroup& says = found->second;
    if (says.role == mirror::GroupRole::owner && says.epoch.node == node)
      around.other_owner = HeardOwner{node, peer.boot, says.epoch, name_of_node(node)};
    const bool mirrors = says.role == mirror::GroupRole::standby && !says.legs_stale;
    if (mirrors || !holds_legs) around.candidates.push_back(node);
    if (holds_legs) continue;
    // An owner that has silenced itself goes on with all that it has as soon as it knows that nobody
    // followed.
    const bool is_followed = followed && followed->node == node;
    if ((mirrors && !is_followed) || says.role == mirror::GroupRole::fenced) around.better_holder = true;
  }
  return around;
}

// An owner mirrors to one node; who it is follows from what is heard of all.
void Controller::choose_standbys(Instant now, Actions& actions) {
  for (auto& [id, group] : groups_) {
    const mirror::GroupRole role = group.machine->role();
    if (role != mirror::GroupRole::owner)
      group.owns_since = kNever;
    else if (group.owns_since == kNever)
      group.owns_since = now;
    // Others cannot follow before they have heard: until then the order alone decides.
    const bool is_news = now < group.owns_since + settings_.dead_after;
    NodeId chosen;
    if (role == mirror::GroupRole::fenced || role == mirror::GroupRole::releasing) {
      chosen = group.standby;  // silent, and perhaps owner again in a moment
    } else if (role == mirror::GroupRole::owner) {
      std::vector<StandbyCandidate> candidates;
      for (const auto& [node, peer] : peers_) {
        const auto says = peer.groups.find(id);
        StandbyCandidate candidate{.node = node, .alive = is_alive(peer, now)};
        candidate.follows =
            is_news || (says != peer.groups.end() && says->second.role == mirror::GroupRole::standby);
        for (size_t i = 0; i < peer.links.size(); ++i)
          candidate.reachable |= settings_.links[i].mirror && peer.links[i].heard_at &&
                                 clock_.awake(now) - *peer.links[i].heard_at < settings_.dead_after;
        candidates.push_back(candidate);
      }
      const NodeId avoided = now < group.avoided_until ? group.avoided : NodeId();
      // Who is to get the group back has to be its standby first.
      const auto& returned = groups_.at(group.is_spare ? *group.twin : id).returned;
      const bool is_due = returned && now - returned->since >= kProofTime;
      const NodeId preferred = holder_beside(id, now).value_or(is_due ? returned->node : group.standby);
      chosen = choose_standby(group.machine->settings().successors, settings_.self, preferred, avoided,
                              candidates);
    }
    if (chosen == group.standby || !is_standby_removed(id, group, now)) continue;
    group.standby = chosen;
    actions.push_back(MirrorTo{id, chosen});
  }
}

// Is the owner that this group follows still one?
void Controller::review(Group& group, Instant now, Actions& actions) {
  const FailoverMachine& machine = *group.machine;
  const auto& followed = machine.followed();
  const bool watches = is_standby(machine.state()) || machine.state() == GroupState::suspecting ||
                       machine.state() == GroupState::requesting;
  if (!watches || !followed) return;
  const GroupId id = machine.settings().group;
  const PeerView& peer = peers_.at(followed->node);
  const OwnerSignals heard = signals(peer, followed->boot, id);
  const Suspicion suspicion = judge(heard, {settings_.dead_after}, moment(now));
  if (suspicion == Suspicion::none) return;
  FailoverInput input;
  input.event =
      suspicion == Suspicion::releasing ? FailoverEvent::owner_released : FailoverEvent::owner_suspected;
  input.now = now;
  input.why = explain(suspicion, heard, moment(now));
  input.last_heard = peer.heard_wall;
  input.evidence = evidence(followed->node, id, heard, now);
  feed(group, input, actions);
}

Evidence Controller::evidence(NodeId owner, GroupId group, const OwnerSignals& heard, Instant now) const {
  const PeerView& peer = peers_.at(owner);
  const Instant awake = clock_.awake(now);
  Evidence evidence;
  for (size_t i = 0; i < peer.links.size(); ++i) {
    evidence.links.push_back({settings_.links[i].name, std::nullopt});
    if (peer.links[i].heard_at) evidence.links.back().silent = awake - *peer.links[i].heard_at;
  }
  evidence.without_progress = awake - heard.last_progress;
  evidence.said = heard.role;
  if (const auto says = peer.groups.find(group); says != peer.groups.end())
    for (const auto& [worker, legs] : says->second.legs) {
      evidence.legs += legs.first;
      evidence.unprotected += legs.second;
    }
  for (const auto& [node, other] : peers_)
    if (node != owner && is_alive(other, now)) evidence.others.push_back(name_of_node(node));
  return evidence;
}

void Controller::feed(Group& group, const FailoverInput& input, Actions& actions) {
  Actions done;
  group.machine->handle(input, surroundings(group, input.now), done);
  group.highest = std::max(group.highest, group.machine->epoch());
  if (arbiter_ != nullptr)
    arbiter_->hold(group.machine->settings().group, group.machine->holds_connections());
  for (Action& action : done) {
    if (std::holds_alternative<SendOwnership>(action))
      want_ownership(input.now);
    else if (std::holds_alternative<SendSolicit>(action))
      solicit_due_ = input.now;
    else if (const auto* claim = std::get_if<Claim>(&action))
      arbiter_->claim(*claim, input.now);
    else if (const auto* withdrawn = std::get_if<Withdraw>(&action))
      arbiter_->withdraw(withdrawn->group, input.now);
    else
      actions.push_back(std::move(action));
  }
}

void Controller::feed_all(FailoverEvent event, const std::string& why, Instant now, Actions& actions) {
  FailoverInput input;
  input.event = event;
  input.now = now;
  input.why = why;
  for (auto& [id, group] : groups_) feed(group, input, actions);
}

}  // namespace understudy::cluster
