#include "control/cluster/controller.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/check.h"
#include "control/cluster/standby_choice.h"

namespace understudy::cluster {
namespace {

constexpr Duration kSolicitPeriod = 100ms;
constexpr Duration kDuplicateReminder = 10s;

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

// ---- hearing others

bool Controller::sight(const FrameOrigin& from, Instant now, Actions& actions) {
  const auto attention =
      now < clock_.grace_ends() ? Membership::Attention::just_back : Membership::Attention::constant;
  const Sighting sighting = membership_.heard(from.node, from.boot, from.link, from.mac, now, attention);
  if (sighting == Sighting::duplicate) report_duplicate(now, actions);
  report_contested(from.node, now, actions);
  if (sighting != Sighting::peer && sighting != Sighting::reborn) return false;
  PeerView& peer = peers_.at(from.node);
  if (sighting == Sighting::reborn) {
    actions.push_back(
        Event{LogLevel::warning, fmt::format("node {} restarted; what it owned and mirrored before is gone",
                                             name_of_node(from.node))});
    peer = PeerView();
    peer.links.resize(settings_.links.size());
    book_.forget(from.node);
  }
  const bool was_dead = std::exchange(peer.told_dead, false);
  if (!peer.heard || was_dead)
    actions.push_back(Event{LogLevel::notice, fmt::format("node {} is heard{}", name_of_node(from.node),
                                                          was_dead ? " again" : "")});
  peer.heard = true;
  peer.boot = from.boot;
  peer.heard_at = clock_.awake(now);
  peer.heard_wall = now;
  PeerLink& link = peer.links[from.link.value()];
  link.heard_at = peer.heard_at;
  if (std::exchange(link.told_down, false) && !was_dead)
    actions.push_back(
        Event{LogLevel::notice, fmt::format("node {} is heard on link {} again", name_of_node(from.node),
                                            settings_.links[from.link.value()].name)});
  return true;
}

bool Controller::is_established(Instant now) const {
  return now - started_ >= settings_.learn_for &&
         std::any_of(groups_.begin(), groups_.end(), [](const auto& entry) {
           const FailoverMachine& machine = *entry.second.machine;
           const bool first_candidacy = machine.state() == GroupState::suspecting && !machine.followed();
           return machine.state() != GroupState::learning && !first_candidacy;
         });
}

void Controller::report_duplicate(Instant now, Actions& actions) {
  if (now < duplicate_told_until_) return;
  duplicate_told_until_ = now + kDuplicateReminder;
  if (is_established(now))
    actions.push_back(Event{LogLevel::error, membership_.duplicate()});
  else
    actions.push_back(Stop{membership_.duplicate()});
}

void Controller::report_contested(NodeId node, Instant now, Actions& actions) {
  if (now < duplicate_told_until_) return;
  std::string sentence = membership_.contested(node, now);
  if (sentence.empty()) return;
  duplicate_told_until_ = now + kDuplicateReminder;
  actions.push_back(Event{LogLevel::error, std::move(sentence)});
}

// A heartbeat travels over every link and arrives several times; its first arrival is news.
bool Controller::is_news(const mirror::Heartbeat& beat, PeerView& peer) {
  if (peer.workers.size() < beat.workers) {
    const size_t known = peer.workers.size();
    peer.workers.resize(std::min<size_t>(beat.workers, 256));
    for (size_t i = known; i < peer.workers.size(); ++i) peer.workers[i].progress_at = peer.heard_at;
  }
  if (beat.worker >= peer.workers.size()) return false;
  PeerWorker& worker = peer.workers[beat.worker];
  if (worker.number && static_cast<int32_t>(beat.number - *worker.number) <= 0) return false;
  if (!worker.number || beat.progress != worker.progress) worker.progress_at = peer.heard_at;
  worker.number = beat.number;
  worker.progress = beat.progress;
  return true;
}

void Controller::learn_groups(const mirror::Heartbeat& beat, PeerView& peer, Instant now) {
  for (const mirror::GroupBeat& says : beat.groups) {
    const auto found = groups_.find(says.group);
    if (found == groups_.end()) continue;
    found->second.highest = std::max(found->second.highest, says.epoch);
    found->second.era = std::max(found->second.era, says.era);
    PeerGroup& group = peer.groups[says.group];
    group.era = std::max(group.era, says.era);
    // What one incarnation says of epochs never falls: this beat is older than the ownership packet that we
    // know.
    if (says.epoch < group.epoch) continue;
    // With the same epoch it may be older, too; the next beat will tell.
    const bool overtaken = now < group.taught_at + settings_.interval;
    if (overtaken && says.epoch == group.epoch && says.role != mirror::GroupRole::owner) continue;
    group.role = says.role;
    group.epoch = says.epoch;
    group.legs_stale = says.legs_stale;
    group.standby = says.standby;
    if (says.echoed != group.echoed || says.echo_number != group.echo_number) group.echoed_at = peer.heard_at;
    group.echoed = says.echoed;
    group.echo_number = says.echo_number;
    group.legs[beat.worker] = {says.legs, says.legs_unprotected};
  }
}

Actions Controller::on_heartbeat(const mirror::Heartbeat& beat, LinkId link, const MacAddress& source,
                                 Instant now) {
  Actions actions;
  enter(now, actions);
  if (sight({beat.node, beat.boot, link, source}, now, actions)) {
    PeerView& peer = peers_.at(beat.node);
    if (is_news(beat, peer)) {
      peer.reach = {beat.reach_front, beat.reach_back};
      learn_groups(beat, peer, now);
      if (arbiter_ != nullptr && beat.worker == 0) arbiter_->on_beat(beat, now);
      for (auto& [id, group] : groups_) {
        hear_owner(beat.node, group, now, actions);
        review(group, now, actions);
      }
    }
  }
  return leave(now, std::move(actions));
}

void Controller::hear_owner(NodeId node, Group& group, Instant now, Actions& actions) {
  const PeerView& peer = peers_.at(node);
  const GroupId id = group.machine->settings().group;
  const auto says = peer.groups.find(id);
  if (says == peer.groups.end() || says->second.role != mirror::GroupRole::owner) return;
  if (says->second.epoch.node != node) return;  // nobody owns under the ballot of another
  if (judge(signals(peer, peer.boot, id), {settings_.dead_after}, moment(now)) != Suspicion::none) return;
  FailoverInput input;
  input.event = FailoverEvent::owner_heard;
  input.now = now;
  input.owner = {node, peer.boot, says->second.epoch, name_of_node(node)};
  feed(group, input, actions);
}

// Ownership packets teach a booting node, and carry a higher claim to a node whose heartbeats were lost. They
// may arrive late, so what heartbeats said of the roles stays.
Actions Controller::on_ownership(std::span<const uint8_t> bytes, const FrameOrigin& from, Instant now) {
  Actions actions;
  enter(now, actions);
  const auto part = decode_ownership_part(bytes);
  const bool genuine = part && part->node == from.node && part->boot == from.boot;
  if (!genuine || !sight(from, now, actions) || book_.learn(bytes, now) != OwnershipBook::Verdict::news)
    return leave(now, std::move(actions));
  for (const GroupOwnership& says : book_.of(from.node)->ownership.groups) {
    const auto found = groups_.find(says.group);
    if (found == groups_.end()) continue;
    Group& group = found->second;
    const Epoch known = std::exchange(group.highest, std::max(group.highest, says.epoch));
    const bool teaches = group.machine->state() == GroupState::learning || says.epoch > known;
    if (says.role != mirror::GroupRole::owner || !teaches) continue;
    PeerView& peer = peers_.at(from.node);
    peer.groups[says.group].role = says.role;
    peer.groups[says.group].epoch = says.epoch;
    peer.groups[says.group].taught_at = now;
    hear_owner(from.node, group, now, actions);
  }
  return leave(now, std::move(actions));
}

Actions Controller::on_solicit(const FrameOrigin& from, Instant now) {
  Actions actions;
  enter(now, actions);
  if (sight(from, now, actions)) want_ownership(now);
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
