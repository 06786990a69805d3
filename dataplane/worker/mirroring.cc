// Both ends of the mirror in the round of a worker.
#include <algorithm>

#include "dataplane/worker/handover.h"
#include "dataplane/worker/worker.h"

namespace understudy::worker {
namespace {
constexpr Duration kReopenAfter = 200ms;
constexpr uint32_t kSnapshotLegsPerRound = 64;
}  // namespace

const SharedSigns::Sign* Worker::sign_of(NodeId node) const {
  const auto at = std::ranges::find(settings_.nodes, node);
  return at == settings_.nodes.end()
             ? nullptr
             : &settings_.signs->nodes[static_cast<size_t>(at - settings_.nodes.begin())];
}

const Worker::PeerNode* Worker::peer_of(NodeId node) const {
  const auto at = std::ranges::find(settings_.nodes, node);
  return at == settings_.nodes.end() ? nullptr : &peers_[static_cast<size_t>(at - settings_.nodes.begin())];
}

mirror::OwnerLog* Worker::log_for(tcp::GroupIndex group, uint8_t shard) {
  if (group >= mirrors_.size()) return nullptr;  // the node's own
  auto& logs = mirrors_[group].logs;
  if (logs.empty()) return nullptr;
  mirror::OwnerLog* log = logs[worker_of_shard(shard, static_cast<unsigned>(logs.size()))].get();
  return log->state() == mirror::OwnerLog::State::closed ? nullptr : log;
}

mirror::ChannelAddress Worker::channel_address(tcp::GroupIndex group, const PeerNode& peer,
                                               uint8_t peer_worker) const {
  return {.cluster = settings_.cluster,
          .self = settings_.node,
          .self_boot = settings_.boot,
          .self_worker = static_cast<uint8_t>(settings_.index),
          .self_mac = settings_.ports[peer_port_].port->mac(),
          .peer_boot = peer.boot,
          .peer_worker = peer_worker,
          .peer_mac = peer.mac,
          .group = settings_.groups[group].id,
          .epoch = engine_.group(group).epoch.counter};
}

// A standby is there and the group is ours: a new generation of streams, one to each of its workers.
void Worker::open_streams(tcp::GroupIndex group, Instant now, mirror::OwnerLog::Beginning beginning) {
  GroupMirror& mirror = mirrors_[group];
  if (!mirror.logs.empty() || mirror.standby.workers == 0 || now < mirror.open_at) return;
  // A standby that is about to go would only hold acknowledgements back.
  if (mirror.standby.boot == leaving_boot_) return;
  const SharedSigns::Sign* sign = sign_of(mirror.standby.node);
  if (!engine_.group(group).voice || sign == nullptr) return;
  // While only other links work a stream would do nothing but hold acknowledgements back until it is dropped
  // again.
  const Instant link_heard{Duration(sign->link_beat_ns.load(std::memory_order_relaxed))};
  if (link_heard + settings_.dead_after < now) return;
  mirror::ChannelSender::Settings channel;
  channel.window = settings_.mirror_window;
  constexpr uint32_t kAround =
      sizeof(mirror::ClusterFrameHeader) + sizeof(mirror::MirrorDataHeader) + sizeof(mirror::SealTrailer);
  constexpr uint32_t kOverhead = RTE_PKTMBUF_HEADROOM + sizeof(wire::EthernetHeader);
  const uint32_t room = rte_pktmbuf_data_room_size(pool_) - kOverhead;
  channel.frame_payload = std::min<uint32_t>(settings_.ports[peer_port_].port->mtu(), room) - kAround;
  mirror::FrameSink& sink = *this;
  ++generation_;
  for (uint16_t worker = 0; worker < mirror.standby.workers; ++worker) {
    mirror.logs.push_back(std::make_unique<mirror::OwnerLog>(channel, group, worker, engine_, pool_, sink));
    if (!settings_.gates_acknowledgements) mirror.logs.back()->leave_gate_open();
    mirror.logs.back()->open(channel_address(group, mirror.standby, static_cast<uint8_t>(worker)),
                             mirror.standby.workers, generation_, now, beginning);
  }
}

void Worker::close_streams(tcp::GroupIndex group, Instant now) {
  for (auto& log : mirrors_[group].logs) log->drop(now);
  mirrors_[group].logs.clear();
  mirrors_[group].told_cut_off = false;
  mirrors_[group].drop_asked = false;
}

// No commit progress for standby_timeout: the standby leaves the in-sync set. Where an arbiter decides who
// may succeed, control sees to that first; everything waits meanwhile.
void Worker::drop_stale_standby(tcp::GroupIndex group, Instant now) {
  GroupMirror& mirror = mirrors_[group];
  const bool is_lost = std::ranges::any_of(mirror.logs, [&](const auto& log) {
    const Instant since = log->channel().waiting_since();
    return since != kNever && now - since >= settings_.standby_timeout;
  });
  if (!is_lost || mirror.drop_asked) return;
  const bool is_long = std::ranges::any_of(mirror.logs, [&](const auto& log) {
    const Instant since = log->channel().waiting_since();
    return since != kNever && now - since >= 2 * settings_.standby_timeout;
  });
  if (!is_long && would_let_go(group)) return tell_cut_off(group, now);
  if (settings_.leases == nullptr) return drop_standby(group, now);
  mirror.drop_asked = true;
  publish_streams(group);
  Report r;
  r.kind = Report::Kind::standby_silent;
  r.group = settings_.groups[group].id;
  r.node = mirror.standby.node;
  r.when = now;
  report(r);
}

// The standby is told in every heartbeat, before anything is acknowledged that it does not hold. False:
// nobody can be told, and as long as that is so nothing more may be acknowledged. An arbiter knows already.
bool Worker::tell_dropped(tcp::GroupIndex group, Instant now) {
  GroupMirror& mirror = mirrors_[group];
  mirror.dropped_standby = mirror.standby.node;
  mirror.dropped_generation = mirror.logs.front()->channel().generation();
  const bool told = beat(now);
  send_ports();
  return told || settings_.leases != nullptr;
}

// What waited for the standby that goes is acknowledged when its streams end.
void Worker::take_next_standby(tcp::GroupIndex group, Instant now) {
  GroupMirror& mirror = mirrors_[group];
  if (!mirror.next_standby) return;
  const bool must_tell = !mirror.logs.empty() && settings_.leases == nullptr;
  if (must_tell && !tell_dropped(group, now)) return;
  close_streams(group, now);
  mirror.standby = *std::exchange(mirror.next_standby, std::nullopt);
  mirror.open_at = now;
}

void Worker::drop_standby(tcp::GroupIndex group, Instant now) {
  GroupMirror& mirror = mirrors_[group];
  status_.standby_drops.fetch_add(1, std::memory_order_relaxed);
  if (!tell_dropped(group, now)) return;
  Report r;
  r.kind = Report::Kind::standby_dropped;
  r.group = settings_.groups[group].id;
  r.node = mirror.standby.node;
  r.number = mirror.dropped_generation;
  r.when = now;
  close_streams(group, now);
  mirror.open_at = now + kReopenAfter;
  report(r);
}

// From now on only an owner under this epoch, or a higher one, feeds the group's mirror. What another one fed
// is history.
void Worker::follow(tcp::GroupIndex group, const Epoch& epoch) {
  GroupMirror& mirror = mirrors_[group];
  if (mirror.epoch == epoch) return;
  mirror.epoch = epoch;
  for (IncomingStream& stream : mirror.incoming)
    if (stream.replica != nullptr) stream.replica->mark_stale();
  mirror.incoming.clear();
}

// Our mirror channel has been silent for the lease while the owner's heartbeats still come: it may have gone
// on without us. (Both silent is a dead owner, and then these legs are what we are here for. What a restarted
// owner says is no sign that its former life went on. An owner that stood still acknowledged nothing
// meanwhile: the lease begins anew when it wakes up.) And a node without a buffer to receive into cannot tell
// a dead owner from one that it does not hear, and that has dropped it.
void Worker::guard_replicas(tcp::GroupIndex group, Instant now) {
  GroupMirror& mirror = mirrors_[group];
  const SharedSigns::Sign* sign = mirror.incoming.empty() ? nullptr : sign_of(mirror.epoch.node);
  for (IncomingStream& stream : mirror.incoming) {
    if (stream.channel == nullptr) continue;
    const bool same_life =
        sign != nullptr && sign->boot.load(std::memory_order_acquire) == stream.channel->from_boot().value();
    const Instant heard =
        same_life ? Instant(Duration(sign->beat_ns.load(std::memory_order_relaxed))) : Instant::min();
    const Instant woke =
        same_life ? Instant(Duration(sign->woke_ns.load(std::memory_order_relaxed))) : Instant::min();
    const Instant last_heard = stream.channel->last_heard();
    const Duration lease = lease_of(group);
    const bool is_deaf =
        deaf_since_ != kNever && now > std::max(deaf_since_, last_heard) + settings_.in_sync_lease;
    const bool is_over = copies_expire() && (is_deaf || heard > std::max(last_heard, woke) + lease);
    if (stream.channel->is_open() && is_over) stream.replica->mark_stale();
    if (stream.replica->state() == mirror::Replica::State::stale && stream.channel->is_open()) {
      stream.channel->close();
      publish_status();  // control must not claim with what we have just let go
    }
    stream.channel->send_ack_if_due(stream.replica->refused(), now);
  }
}

// The worst of the owner's streams; none as long as one of its workers has not opened its own.
ReplicaStatus Worker::replica_status(tcp::GroupIndex group) const {
  using State = mirror::Replica::State;
  const GroupMirror& mirror = mirrors_[group];
  const PeerNode* owner = peer_of(mirror.epoch.node);
  bool stale = false;
  bool syncing = false;
  bool none = mirror.incoming.empty() || owner == nullptr || mirror.incoming.size() < owner->workers;
  for (const IncomingStream& stream : mirror.incoming) {
    const State state = stream.replica == nullptr ? State::none : stream.replica->state();
    stale |= state == State::stale;
    syncing |= state == State::syncing;
    none |= state == State::none;
  }
  return {mirror.epoch, stale ? State::stale : none ? State::none : syncing ? State::syncing : State::synced};
}

// A backend may say its last bytes, FIN and a reset in one round. No more is received in a round than the
// stream should have room for (OwnerLog::payload_budget); what finds none all the same is lost to the
// standby.
void Worker::closes_unlogged(uint32_t leg) {
  const tcp::Connection& c = engine_.legs()[leg];
  if (c.group < hand_overs_.size() && hand_overs_[c.group].phase == HandOver::Phase::released) return;
  if (mirror::OwnerLog* log = log_for(c.group, c.shard)) log->write(leg, now_);
}

void Worker::mirror_round(Instant now) {
  for (tcp::GroupIndex group = 0; group < mirrors_.size(); ++group) {
    guard_replicas(group, now);
    take_next_standby(group, now);
    drop_stale_standby(group, now);
    open_streams(group, now);
  }
  for (const tcp::ClosedLeg& closed : engine_.closed_legs())
    if (mirror::OwnerLog* log = log_for(closed.group, closed.shard)) log->write_close(closed.leg, now);
  engine_.closed_legs().clear();

  log_round_.swap(engine_.log_pending());
  for (const uint32_t leg : log_round_) {
    if (!engine_.legs().is_live(leg) || !engine_.legs()[leg].log_pending) continue;
    tcp::Connection& c = engine_.legs()[leg];
    c.log_pending = false;
    if (c.group < hand_overs_.size() && hand_overs_[c.group].phase == HandOver::Phase::released) {
      engine_.want_log(leg);  // the last word is written; it waits for who has it in the end
      continue;
    }
    mirror::OwnerLog* log = log_for(c.group, c.shard);
    // A group that is silent for a while promises nothing that its standby does not know either.
    if (log != nullptr) {
      if (!log->write(leg, now)) engine_.want_log(leg);
    } else {
      engine_.commit_all(c);
      engine_.want_output(leg);
    }
  }
  log_round_.clear();
  continue_hand_overs(now);

  uint64_t budget = UINT64_MAX;
  for (tcp::GroupIndex group = 0; group < mirrors_.size(); ++group) {
    const auto& logs = mirrors_[group].logs;
    bool synced = !logs.empty();
    for (const auto& log : logs) {
      log->snapshot(kSnapshotLegsPerRound, now);
      log->flush(now);
      log->tick(now);
      budget = std::min(budget, log->payload_budget());
      synced = synced && log->state() == mirror::OwnerLog::State::synced && !log->standby_is_full();
    }
    engine_.group(group).accepts = settings_.groups[group].accept_unprotected || synced;
  }
  engine_.set_payload_budget(budget);
}

}  // namespace understudy::worker
