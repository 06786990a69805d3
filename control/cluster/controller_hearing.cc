#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "control/cluster/controller.h"

// The part of the controller that hears the other nodes: heartbeats, ownership packets and questions for
// them, and who it is that says them.

namespace understudy::cluster {
namespace {

constexpr Duration kDuplicateReminder = 10s;

}  // namespace

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

}  // namespace understudy::cluster
