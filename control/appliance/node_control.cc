#include "control/appliance/node_control.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/check.h"
#include "control/appliance/wiring.h"
#include "dataplane/mirror/cluster_frame.h"
#include "dataplane/wire/ethernet.h"

namespace understudy::appliance {
namespace {

constexpr size_t kEventsKept = 256;
// A successor's clock starts this much ahead of the last value that can have been seen.
constexpr Duration kClockMargin = 500ms;

using worker::Command;
using worker::Report;

std::unique_ptr<cluster::Arbiter> make_members(const NodeControl::Settings& settings) {
  const config::Config& config = *settings.config;
  cluster::MembersArbiter::Settings members;
  members.self = settings.node->id;
  members.boot = settings.boot;
  for (const config::NodeConfig& node : config.nodes) members.members.emplace_back(node.id, node.name);
  for (const config::GroupConfig& group : config.groups) members.groups.push_back(group.id);
  members.lease = config.cluster.lease_length();
  return std::make_unique<cluster::MembersArbiter>(std::move(members), settings.memory, settings.now);
}

std::unique_ptr<cluster::Arbiter> make_etcd(const NodeControl::Settings& settings) {
  invariant(settings.transport != nullptr, "arbiter etcd without a way to etcd");
  return std::make_unique<etcd::EtcdArbiter>(etcd_settings(*settings.config, *settings.node, settings.boot),
                                             *settings.transport, settings.now);
}

std::unique_ptr<cluster::Arbiter> make_arbiter(const NodeControl::Settings& settings) {
  switch (settings.config->cluster.arbiter) {
    case config::Arbiter::none:
      return nullptr;
    case config::Arbiter::members:
      return make_members(settings);
    case config::Arbiter::etcd:
      return make_etcd(settings);
  }
  return nullptr;
}

}  // namespace

NodeControl::NodeControl(const Settings& settings, std::vector<worker::Worker*> workers, Random random,
                         LogLine log)
    : settings_(settings),
      workers_(std::move(workers)),
      log_(std::move(log)),
      cluster_id_(cluster_id(settings.config->cluster)),
      controller_(
          cluster::settings_from(*settings.config, *settings.node, settings.boot, settings.macs),
          [this](LogLevel level, std::string_view sentence, Instant when) {
            event(level, "cluster", std::string(sentence), when);
          },
          Random(random.next()), make_arbiter(settings)),
      health_(health::pools_from(*settings.config), Random(random.next())),
      witnesses_(witnesses(*settings.config, *settings.node)) {}

NodeControl::~NodeControl() {
  for (const Report& report : reports_)
    if (report.kind == Report::Kind::cluster_frame) rte_pktmbuf_free(report.frame);
}

void NodeControl::event(LogLevel level, const std::string& subject, const std::string& sentence,
                        Instant now) {
  events_.push_back({now, level, subject, sentence});
  if (events_.size() > kEventsKept) events_.pop_front();
  if (log_) log_(events_.back());
}

void NodeControl::tell(size_t worker, const Command& command) {
  // The ring is far larger than what control says in a round; a worker that has stopped reading has stopped
  // working.
  if (!workers_[worker]->commands().send(command) && command.frame != nullptr)
    rte_pktmbuf_free(command.frame);
}

void NodeControl::tell_all(const Command& command) {
  for (size_t worker = 0; worker < workers_.size(); ++worker) tell(worker, command);
}

void NodeControl::start(Instant now) {
  do_actions(controller_.start(now), now);
}

std::optional<std::string> NodeControl::hand_over(GroupId group, NodeId to, Instant now) {
  group = controller_.current_of(group);
  if (auto obstacle = controller_.obstacle(group, to, now)) return obstacle;
  do_actions(controller_.yield(group, now), now);
  return std::nullopt;
}

bool NodeControl::retired() const {
  return controller_.retired() && std::ranges::all_of(workers_, [](const worker::Worker* worker) {
           return worker->status().passing.load(std::memory_order_relaxed) == 0;
         });
}

void NodeControl::on_kept(uint64_t sequence, bool is_kept, Instant now) {
  do_actions(controller_.on_kept(sequence, is_kept, now), now);
}

void NodeControl::retire(Instant now) {
  do_actions(controller_.retire(now), now);
}

Instant NodeControl::next_deadline() const {
  return std::min(controller_.next_deadline(), health_.next_deadline());
}

void NodeControl::round(Instant now) {
  take_reports(now);
  for (uint16_t worker = 0; worker < workers_.size(); ++worker)
    controller_.on_worker_progress(worker,
                                   workers_[worker]->status().progress.load(std::memory_order_relaxed), now);
  watch_mirror(now);
  do_actions(controller_.tick(now), now);
  watch_peers(now);
  apply_health(health_.tick(now), now);
  update_beats(now);
}

void NodeControl::gather() {
  Report report;
  for (worker::Worker* worker : workers_)
    while (worker->reports().receive(report)) reports_.push_back(report);
  if (settings_.transport != nullptr) settings_.transport->gather();
}

void NodeControl::take_reports(Instant now) {
  for (const Report& report : std::exchange(reports_, {})) take_report(report, now);
}

void NodeControl::take_report(const Report& report, Instant now) {
  switch (report.kind) {
    case Report::Kind::cluster_frame:
      take_cluster_frame(report, now);
      rte_pktmbuf_free(report.frame);
      break;
    case Report::Kind::check_result:
      apply_health(health_.on_result(health::CheckId(report.number), report.flag, now), now);
      break;
    case Report::Kind::witness_answer:
      do_actions(controller_.on_witness_answer(now), now);
      break;
    case Report::Kind::stalled:
      event(LogLevel::warning, fmt::format("worker {}", report.worker),
            fmt::format("was away for {} ms{}", report.number / 1'000'000,
                        report.flag ? ", opening its ports again" : ""),
            now);
      // Opening them may itself take longer than dead_after: that is no reason to do it once more.
      if (!report.flag && Duration(report.number) > settings_.config->cluster.dead_after())
        reopen_wished_ = true;
      if (report.silenced) silence_ = std::max(silence_, report.silence);
      do_actions(controller_.on_worker_stall(Duration(report.number), report.silenced, now), now);
      break;
    case Report::Kind::first_packet:
      controller_.note_first_packet(report.group, report.when);
      break;
    case Report::Kind::promoted:
      note_promoted(report, now);
      break;
    case Report::Kind::handed:
      note_handed(report, now);
      break;
    case Report::Kind::hand_over_refused:
      do_actions(controller_.on_hand_over_refused(
                     report.group, fmt::format("worker {} has no synced standby there", report.worker), now),
                 now);
      break;
    case Report::Kind::cut_off:
      do_actions(controller_.on_cut_off(report.group, report.node, now), now);
      break;
    case Report::Kind::standby_dropped:
      event(LogLevel::warning, fmt::format("worker {}", report.worker),
            fmt::format("standby confirmed nothing for {} ms: dropped, connections are unprotected",
                        to_ms(settings_.config->cluster.standby_timeout)),
            now);
      do_actions(controller_.on_standby_dropped(report.group, report.node, now), now);
      break;
    case Report::Kind::standby_silent:
      do_actions(controller_.release_standby(report.group, now), now);
      break;
    case Report::Kind::beat_sent:
      do_actions(controller_.on_beat_sent(static_cast<uint32_t>(report.number), report.when, now), now);
      break;
    case Report::Kind::lease_lost:
      // Whatever waits in a port was made while we could still speak.
      reopen_wished_ = true;
      do_actions(controller_.on_lease_lost(report.group, now), now);
      break;
    case Report::Kind::rival:
      event(LogLevel::warning, fmt::format("port {}", settings_.node->ports[report.port].name),
            fmt::format("{} also claims {}: announced again", report.mac.to_string(),
                        report.address.to_string()),
            now);
      break;
  }
}

void NodeControl::take_cluster_frame(const Report& report, Instant now) {
  const auto* bytes = rte_pktmbuf_mtod(report.frame, const uint8_t*);
  wire::EthernetHeader ethernet;
  std::memcpy(&ethernet, bytes, sizeof ethernet);
  const auto parsed = mirror::parse_cluster_header(
      {bytes + sizeof ethernet, report.frame->data_len - sizeof ethernet}, cluster_id_);
  const auto* view = std::get_if<mirror::ClusterFrameView>(&parsed);
  if (view == nullptr) return;  // the worker has counted it
  const MacAddress mac(ethernet.source);
  const cluster::FrameOrigin origin{view->from, view->boot,
                                    cluster::LinkId(static_cast<uint8_t>(report.port)), mac};
  switch (view->kind) {
    case mirror::ClusterFrameKind::heartbeat:
      if (const auto beat = mirror::decode_heartbeat(view->payload))
        take_heartbeat(*beat, report.port, mac, now);
      break;
    case mirror::ClusterFrameKind::ownership:
      do_actions(controller_.on_ownership(view->payload, origin, now), now);
      break;
    case mirror::ClusterFrameKind::solicit:
      do_actions(controller_.on_solicit(origin, now), now);
      break;
    case mirror::ClusterFrameKind::vote:
      do_actions(controller_.on_vote(view->payload, origin, now), now);
      break;
    default:
      break;
  }
}

void NodeControl::take_heartbeat(const mirror::Heartbeat& beat, uint16_t port, const MacAddress& mac,
                                 Instant now) {
  do_actions(controller_.on_heartbeat(beat, cluster::LinkId(static_cast<uint8_t>(port)), mac, now), now);
  if (beat.node == settings_.node->id) return;
  for (const mirror::GroupBeat& group : beat.groups)
    if (group.role == mirror::GroupRole::owner) {
      HeardClock& heard = clocks_[group.group];
      if (group.clock_us >= heard.clock_us) heard = {group.clock_us, now};
    }
  if (settings_.node->ports[port].peer) {
    Peer& peer = peers_[beat.node];
    if (peer.boot != beat.boot || peer.workers != beat.workers || peer.mac != mac) {
      peer = {beat.boot, beat.workers, mac, false};
      std::erase_if(told_stale_, [&](const auto& entry) { return std::get<1>(entry.first) == beat.node; });
    }
  }
  note_dropped(beat);
}

// Once for each stream that an owner has dropped.
void NodeControl::note_dropped(const mirror::Heartbeat& beat) {
  for (const mirror::GroupBeat& says : beat.groups) {
    if (says.dropped_standby != settings_.node->id) continue;
    uint32_t& told = told_stale_[{says.group, beat.node, beat.worker}];
    if (told == says.dropped_generation) continue;
    told = says.dropped_generation;
    Command command;
    command.kind = Command::Kind::mark_stale;
    command.group = says.group;
    command.node = beat.node;
    command.worker = beat.worker;
    command.number = says.dropped_generation;
    tell_all(command);
  }
}

// Nobody, too, while the node's workers and its address on the peer network are not known yet: that is told
// when they are.
void NodeControl::tell_standby(GroupId group, NodeId node) {
  Command command;
  command.kind = Command::Kind::standby;
  command.group = group;
  if (const auto it = peers_.find(node); it != peers_.end() && it->second.up) {
    command.node = node;
    command.boot = it->second.boot;
    command.workers = it->second.workers;
    command.mac = it->second.mac;
  }
  ++standby_orders_[group];
  tell_all(command);
}

// Whatever waits for the standby that workers had is acknowledged when they hear of another one: not before
// it is clear to everybody that this one is out of date.
void NodeControl::change_standby(GroupId group, Instant now) {
  standby_changes_.insert(group);
  do_actions(controller_.release_standby(group, now), now);
}

void NodeControl::let_standby_go(GroupId group) {
  if (standby_changes_.erase(group) > 0) tell_standby(group, controller_.standby_of(group));
  Command command;
  command.kind = Command::Kind::drop_standby;
  command.group = group;
  ++standby_orders_[group];
  tell_all(command);
}

void NodeControl::watch_peers(Instant now) {
  for (const cluster::PeerSnapshot& snapshot : controller_.peers(now)) {
    const auto it = peers_.find(snapshot.node);
    if (it == peers_.end()) continue;
    Peer& peer = it->second;
    const bool up = snapshot.alive && snapshot.boot == peer.boot;
    if (up == peer.up) continue;
    peer.up = up;
    Command command;
    command.kind = up ? Command::Kind::peer_up : Command::Kind::peer_down;
    command.node = snapshot.node;
    command.boot = peer.boot;
    command.workers = peer.workers;
    command.mac = peer.mac;
    tell_all(command);
    for (const config::GroupConfig& group : settings_.config->groups)
      if (controller_.standby_of(group.id) == snapshot.node) change_standby(group.id, now);
  }
}

uint64_t NodeControl::legs(size_t group) const {
  uint64_t count = 0;
  for (const worker::Worker* worker : workers_)
    count += worker->status().groups[group].legs.load(std::memory_order_relaxed);
  return count;
}

uint64_t NodeControl::unprotected(size_t group) const {
  uint64_t count = 0;
  for (const worker::Worker* worker : workers_)
    count += worker->status().groups[group].unprotected.load(std::memory_order_relaxed);
  return count;
}

uint64_t NodeControl::exempt(size_t group) const {
  uint64_t count = 0;
  for (const worker::Worker* worker : workers_)
    count += worker->status().groups[group].exempt.load(std::memory_order_relaxed);
  return count;
}

bool NodeControl::owns(GroupId group) const {
  const cluster::FailoverMachine* machine = controller_.machine(group);
  return machine != nullptr &&
         (cluster::is_owner(machine->state()) || machine->state() == cluster::GroupState::claiming);
}

// The worst of all workers: a group is as ready as its least ready shard.
cluster::Readiness NodeControl::readiness_of_standby(size_t group) const {
  uint32_t worst = 2;
  const auto orders = standby_orders_.find(settings_.config->groups[group].id);
  for (const worker::Worker* worker : workers_) {
    const auto& status = worker->status().groups[group];
    // Until a worker has heard whom to mirror to, its state is that of another standby.
    const uint32_t obeyed = status.standby_orders.load(std::memory_order_acquire);
    if (orders != standby_orders_.end() && obeyed != orders->second) worst = 0;
    worst = std::min(worst, status.stream_state.load(std::memory_order_relaxed));
  }
  return worst == 2   ? cluster::Readiness::synced
         : worst == 1 ? cluster::Readiness::syncing
                      : cluster::Readiness::none;
}

// What was mirrored from another owner than the one that is followed now is worth nothing.
cluster::Readiness NodeControl::readiness_as_standby(size_t group) const {
  using State = mirror::Replica::State;
  const auto& followed = controller_.machine(settings_.config->groups[group].id)->followed();
  bool stale = false;
  bool none = !followed;
  bool syncing = false;
  for (const worker::Worker* worker : workers_) {
    const worker::ReplicaStatus held = worker->status().groups[group].replica_status();
    none |= held.state == State::none || (followed && held.epoch != followed->epoch);
    stale |= held.state == State::stale;
    syncing |= held.state == State::syncing;
  }
  return none      ? cluster::Readiness::none
         : stale   ? cluster::Readiness::stale
         : syncing ? cluster::Readiness::syncing
                   : cluster::Readiness::synced;
}

cluster::MirrorReport NodeControl::mirror_report(size_t group) const {
  cluster::MirrorReport report;
  const GroupId id = settings_.config->groups[group].id;
  report.readiness = owns(id) ? readiness_of_standby(group) : readiness_as_standby(group);
  if (owns(id) && !standby_changes_.contains(id)) report.standby = controller_.standby_of(id);
  report.legs = static_cast<uint32_t>(legs(group));
  report.legs_unprotected = static_cast<uint32_t>(unprotected(group));
  report.legs_exempt = static_cast<uint32_t>(exempt(group));
  return report;
}

void NodeControl::watch_mirror(Instant now) {
  for (size_t i = 0; i < settings_.config->groups.size(); ++i) {
    const GroupId id = settings_.config->groups[i].id;
    const cluster::MirrorReport report = mirror_report(i);
    if (controller_.machine(id)->report() != report) do_actions(controller_.on_mirror(id, report, now), now);
  }
}

void NodeControl::update_beats(Instant now) {
  if (const cluster::Reach reach = controller_.reach(now); reach_told_ != reach) {
    reach_told_ = reach;
    Command command;
    command.kind = Command::Kind::reach;
    command.number = reach.front + 256U * reach.back;
    tell_all(command);
  }
  const auto beats = controller_.beat_groups();
  for (size_t i = 0; i < beats.size(); ++i) {
    const bool same = i < beats_told_.size() && beats_told_[i].role == beats[i].role &&
                      beats_told_[i].epoch == beats[i].epoch &&
                      beats_told_[i].standby_synced == beats[i].standby_synced &&
                      beats_told_[i].standby == beats[i].standby && beats_told_[i].era == beats[i].era;
    const bool same_echo = i < beats_told_.size() && beats_told_[i].echoed == beats[i].echoed &&
                           beats_told_[i].echo_number == beats[i].echo_number;
    if (same && same_echo) continue;
    Command command;
    command.kind = Command::Kind::beat;
    command.group = beats[i].group;
    command.beat = beats[i];
    if (same)
      tell(0, command);  // whose heartbeats are counted
    else
      tell_all(command);
  }
  beats_told_ = beats;
}

uint64_t NodeControl::clock_for(GroupId group, Instant now) const {
  const auto margin = static_cast<uint64_t>(to_us(kClockMargin));
  // Nobody has ever owned it as far as we know: start from the machine's own clock, which has run on since
  // the last time.
  const auto own = static_cast<uint64_t>(to_us(now.time_since_epoch()));
  const auto heard = clocks_.find(group);
  if (heard == clocks_.end()) return own;
  return heard->second.clock_us + static_cast<uint64_t>(to_us(now - heard->second.at)) + margin;
}

void NodeControl::promote(const cluster::Promote& action, Instant now) {
  Command command;
  command.kind = Command::Kind::promote;
  command.group = action.group;
  command.epoch = action.epoch;
  command.clock_us = clock_for(action.group, now);
  command.flag = action.handed;
  command.silence = silence_;
  promotions_[action.group] = {command, false, 0};
  handed_[action.group] = 0;
  tell(0, command);
}

// Worker 0 announces the addresses. If another one spoke before that, switches would lead the answers to
// where the addresses were.
void NodeControl::promote_the_others(Promotion& promotion) {
  if (std::exchange(promotion.told_all, true)) return;  // or there is none
  for (size_t worker = 1; worker < workers_.size(); ++worker) tell(worker, promotion.command);
}

// Done is what every worker has done.
void NodeControl::note_promoted(const Report& report, Instant now) {
  const auto it = promotions_.find(report.group);
  if (it == promotions_.end() || report.number != it->second.command.epoch.counter) return;
  Promotion& promotion = it->second;
  if (report.worker == 0) controller_.note_announced(report.group, promotion.command.epoch, report.when);
  promote_the_others(promotion);
  promotion.workers |= uint64_t{1} << report.worker;
  if (std::popcount(promotion.workers) == static_cast<int>(workers_.size()))
    do_actions(controller_.on_promoted(report.group, now), now);
}

// Only whole: each worker holds its share of the connections.
void NodeControl::note_handed(const Report& report, Instant now) {
  uint64_t& workers = handed_[report.group];
  const uint64_t bit = uint64_t{1} << report.worker;
  workers = report.flag ? workers | bit : workers & ~bit;
  if (std::popcount(workers) == static_cast<int>(workers_.size()))
    do_actions(controller_.on_handed(report.group, now), now);
}

void NodeControl::demote(const cluster::Demote& action) {
  promote_the_others(promotions_[action.group]);
  Command command;
  command.kind = Command::Kind::demote;
  command.group = action.group;
  command.epoch = action.epoch;
  command.flag = action.handed;
  tell_all(command);
}

// Before anything is sent that lets others believe that this node is silent, it is.
void NodeControl::keep_leases() {
  if (settings_.leases == nullptr) return;
  for (size_t i = 0; i < settings_.config->groups.size(); ++i) {
    const Instant until = controller_.lease_until(settings_.config->groups[i].id);
    const bool never_spoke = settings_.leases->until(i) == kNever && until == Instant::min();
    if (!never_spoke) settings_.leases->set(i, until);
  }
}

void NodeControl::do_actions(const cluster::Actions& actions, Instant now) {
  const auto tell_group = [&](Command::Kind kind, GroupId group, Epoch epoch = {}) {
    Command command;
    command.kind = kind;
    command.group = group;
    command.epoch = epoch;
    command.silence = silence_;
    tell_all(command);
  };
  for (const cluster::Action& action : actions) {
    if (const auto* wanted = std::get_if<cluster::Promote>(&action)) {
      keep_leases();
      promote(*wanted, now);
    } else if (const auto* demote = std::get_if<cluster::Demote>(&action)) {
      this->demote(*demote);
    } else if (const auto* giving = std::get_if<cluster::HandOver>(&action)) {
      Command command;
      command.kind = Command::Kind::hand_over;
      command.group = giving->group;
      command.node = giving->to;
      command.flag = giving->leaves;
      tell_all(command);
    } else if (const auto* follow = std::get_if<cluster::Follow>(&action)) {
      tell_group(Command::Kind::follow, follow->group, follow->epoch);
    } else if (const auto* mirror = std::get_if<cluster::MirrorTo>(&action)) {
      tell_standby(mirror->group, mirror->standby);
    } else if (const auto* mute = std::get_if<cluster::Mute>(&action)) {
      promote_the_others(promotions_[mute->group]);
      tell_group(Command::Kind::mute, mute->group);
    } else if (const auto* unmute = std::get_if<cluster::Unmute>(&action)) {
      keep_leases();
      tell_group(Command::Kind::unmute, unmute->group);
    } else if (std::holds_alternative<cluster::ProbeWitnesses>(action)) {
      probe_witnesses();
    } else if (const auto* ownership = std::get_if<cluster::SendOwnership>(&action)) {
      for (const auto& payload : ownership->payloads) broadcast(mirror::ClusterFrameKind::ownership, payload);
    } else if (std::holds_alternative<cluster::SendSolicit>(action)) {
      broadcast(mirror::ClusterFrameKind::solicit, {});
    } else if (const auto* vote = std::get_if<cluster::SendVote>(&action)) {
      keep_leases();
      broadcast(mirror::ClusterFrameKind::vote, vote->payload);
    } else if (const auto* keep = std::get_if<cluster::Keep>(&action)) {
      if (settings_.keep) settings_.keep(*keep);
    } else if (const auto* drop = std::get_if<cluster::DropCopies>(&action)) {
      tell_group(Command::Kind::drop_copies, drop->group);
    } else if (const auto* removed = std::get_if<cluster::StandbyRemoved>(&action)) {
      let_standby_go(removed->group);
    } else if (const auto* said = std::get_if<cluster::Event>(&action)) {
      event(said->level, "cluster", said->sentence, now);
    } else if (const auto* end = std::get_if<cluster::Stop>(&action)) {
      stop_ = end->sentence;
    }
  }
  keep_leases();
}

void NodeControl::probe_witnesses() {
  for (const IpAddress& witness : witnesses_) {
    Command command;
    command.kind = Command::Kind::probe;
    command.address = witness;
    tell(0, command);
  }
}

void NodeControl::broadcast(mirror::ClusterFrameKind kind, std::span<const uint8_t> payload) {
  Command command;
  command.kind = Command::Kind::broadcast;
  command.number = static_cast<uint64_t>(kind);
  command.frame = rte_pktmbuf_alloc(settings_.pool);
  if (command.frame == nullptr) return;  // said again within a second
  auto* room = rte_pktmbuf_append(command.frame, static_cast<uint16_t>(payload.size()));
  if (!payload.empty()) std::memcpy(room, payload.data(), payload.size());
  tell(0, command);
}

void NodeControl::apply_health(const health::HealthOutcome& outcome, Instant now) {
  for (const health::CheckToStart& check : outcome.checks) {
    Command command;
    command.kind = Command::Kind::check;
    command.number = check.id.value();
    command.address = check.address;
    command.port = check.port;
    command.when = check.give_up;
    tell(0, command);
  }
  for (const health::BackendChange& change : outcome.changes) {
    Command command;
    command.kind = Command::Kind::backend;
    command.pool = change.pool;
    command.backend = change.backend;
    command.flag = change.up;
    tell_all(command);
  }
  for (const health::HealthEvent& said : outcome.events) event(said.level, "health", said.sentence, now);
}

}  // namespace understudy::appliance
