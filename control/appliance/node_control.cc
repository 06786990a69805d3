#include "control/appliance/node_control.h"

#include <cstring>

#include "control/appliance/wiring.h"
#include "dataplane/mirror/cluster_frame.h"
#include "dataplane/wire/ethernet.h"

namespace understudy::appliance {
namespace {

using worker::Command;
using worker::Report;

}  // namespace

NodeControl::NodeControl(const Settings& settings, std::vector<worker::Worker*> workers, Random random,
                         LogLine log)
    : settings_(settings),
      log_(std::move(log)),
      workers_(std::move(workers), settings.pool),
      standbys_(settings.node->id, workers_),
      promotions_(workers_),
      cluster_id_(cluster_id(settings.config->cluster)),
      controller_(
          cluster::settings_from(*settings.config, *settings.node, settings.boot, settings.macs),
          [this](LogLevel level, std::string_view sentence, Instant when) {
            event(level, "cluster", std::string(sentence), when);
          },
          Random(random.next()),
          make_arbiter(*settings.config, *settings.node, settings.boot, settings.memory, settings.transport,
                       settings.now)),
      health_(health::pools_from(*settings.config), Random(random.next())),
      witnesses_(witnesses(*settings.config, *settings.node)) {}

void NodeControl::event(LogLevel level, const std::string& subject, const std::string& sentence,
                        Instant now) {
  const NodeEvent& added = events_.add({now, level, subject, sentence});
  if (log_) log_(added);
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
  return controller_.retired() && !workers_.passing_on();
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
    controller_.on_worker_progress(worker, workers_.progress(worker), now);
  watch_mirror(now);
  do_actions(controller_.tick(now), now);
  watch_peers(now);
  apply_health(health_.tick(now), now);
  update_beats(now);
}

void NodeControl::gather() {
  workers_.gather();
  if (settings_.transport != nullptr) settings_.transport->gather();
}

void NodeControl::take_reports(Instant now) {
  for (const Report& report : workers_.gathered()) take_report(report, now);
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
      if (report.silenced) promotions_.on_silence(report.silence);
      do_actions(controller_.on_worker_stall(Duration(report.number), report.silenced, now), now);
      break;
    case Report::Kind::first_packet:
      controller_.note_first_packet(report.group, report.when);
      break;
    case Report::Kind::promoted:
      note_promoted(report, now);
      break;
    case Report::Kind::handed:
      if (promotions_.on_handed(report)) do_actions(controller_.on_handed(report.group, now), now);
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
  if (beat.node != settings_.node->id) {
    promotions_.on_heartbeat(beat, now);
    if (settings_.node->ports[port].peer) standbys_.on_peer_heartbeat(beat, mac);
    // What else it says may be a reason to claim, with what is held.
    if (standbys_.note_dropped(beat)) watch_mirror(now);
  }
  do_actions(controller_.on_heartbeat(beat, cluster::LinkId(static_cast<uint8_t>(port)), mac, now), now);
}

void NodeControl::watch_peers(Instant now) {
  for (const NodeId node : standbys_.watch_peers(controller_.peers(now)))
    for (const config::GroupConfig& group : settings_.config->groups)
      if (controller_.standby_of(group.id) == node) {
        standbys_.begin_change(group.id);
        do_actions(controller_.release_standby(group.id, now), now);
      }
}

bool NodeControl::owns(GroupId group) const {
  const cluster::FailoverMachine* machine = controller_.machine(group);
  return machine != nullptr &&
         (cluster::is_owner(machine->state()) || machine->state() == cluster::GroupState::claiming);
}

cluster::MirrorReport NodeControl::mirror_report(size_t group) const {
  cluster::MirrorReport report;
  const GroupId id = settings_.config->groups[group].id;
  if (owns(id)) {
    report.readiness = workers_.readiness_of_standby(group, standbys_.orders(id));
    if (!standbys_.changing(id)) report.standby = controller_.standby_of(id);
  } else {
    const auto& followed = controller_.machine(id)->followed();
    report.readiness = workers_.readiness_as_standby(
        group, followed ? std::optional(followed->epoch) : std::nullopt, standbys_.stale_orders(id));
  }
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
    workers_.tell_all(command);
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
      workers_.tell(0, command);  // whose heartbeats are counted
    else
      workers_.tell_all(command);
  }
  beats_told_ = beats;
}

void NodeControl::note_promoted(const Report& report, Instant now) {
  const Promotions::Progress progress = promotions_.on_promoted(report);
  if (progress.announced) controller_.note_announced(report.group, *progress.announced, report.when);
  if (progress.is_whole) do_actions(controller_.on_promoted(report.group, now), now);
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
    command.silence = promotions_.silence();
    workers_.tell_all(command);
  };
  for (const cluster::Action& action : actions) {
    if (const auto* wanted = std::get_if<cluster::Promote>(&action)) {
      keep_leases();
      promotions_.promote(*wanted, now);
    } else if (const auto* demote = std::get_if<cluster::Demote>(&action)) {
      promotions_.demote(*demote);
    } else if (const auto* giving = std::get_if<cluster::HandOver>(&action)) {
      Command command;
      command.kind = Command::Kind::hand_over;
      command.group = giving->group;
      command.node = giving->to;
      command.flag = giving->leaves;
      workers_.tell_all(command);
    } else if (const auto* follow = std::get_if<cluster::Follow>(&action)) {
      tell_group(Command::Kind::follow, follow->group, follow->epoch);
    } else if (const auto* mirror = std::get_if<cluster::MirrorTo>(&action)) {
      standbys_.order(mirror->group, mirror->standby);
    } else if (const auto* mute = std::get_if<cluster::Mute>(&action)) {
      promotions_.mute(mute->group);
    } else if (const auto* unmute = std::get_if<cluster::Unmute>(&action)) {
      keep_leases();
      tell_group(Command::Kind::unmute, unmute->group);
    } else if (std::holds_alternative<cluster::ProbeWitnesses>(action)) {
      probe_witnesses();
    } else if (const auto* ownership = std::get_if<cluster::SendOwnership>(&action)) {
      for (const auto& payload : ownership->payloads)
        workers_.broadcast(mirror::ClusterFrameKind::ownership, payload);
    } else if (std::holds_alternative<cluster::SendSolicit>(action)) {
      workers_.broadcast(mirror::ClusterFrameKind::solicit, {});
    } else if (const auto* vote = std::get_if<cluster::SendVote>(&action)) {
      keep_leases();
      workers_.broadcast(mirror::ClusterFrameKind::vote, vote->payload);
    } else if (const auto* keep = std::get_if<cluster::Keep>(&action)) {
      if (settings_.keep) settings_.keep(*keep);
    } else if (const auto* drop = std::get_if<cluster::DropCopies>(&action)) {
      tell_group(Command::Kind::drop_copies, drop->group);
    } else if (const auto* removed = std::get_if<cluster::StandbyRemoved>(&action)) {
      standbys_.let_go(removed->group, controller_.standby_of(removed->group));
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
    workers_.tell(0, command);
  }
}

void NodeControl::apply_health(const health::HealthOutcome& outcome, Instant now) {
  for (const health::CheckToStart& check : outcome.checks) {
    Command command;
    command.kind = Command::Kind::check;
    command.number = check.id.value();
    command.address = check.address;
    command.port = check.port;
    command.when = check.give_up;
    workers_.tell(0, command);
  }
  for (const health::BackendChange& change : outcome.changes) {
    Command command;
    command.kind = Command::Kind::backend;
    command.pool = change.pool;
    command.backend = change.backend;
    command.flag = change.up;
    workers_.tell_all(command);
  }
  for (const health::HealthEvent& said : outcome.events) event(said.level, "health", said.sentence, now);
}

}  // namespace understudy::appliance
