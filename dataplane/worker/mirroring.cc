// Both ends of the mirror in the round of a worker.
#include <algorithm>

#include "dataplane/worker/handover.h"
#include "dataplane/worker/worker.h"

namespace understudy::worker {
namespace {
constexpr Duration kReopenAfter = 200ms;
constexpr uint32_t kSnapshotLegsPerRound = 64;
}  // namespace

bool Worker::owns_a_group() const {
  for (size_t i = 0; i < settings_.groups.size(); ++i)
    if (engine_.group(static_cast<tcp::GroupIndex>(i)).voice) return true;
  return false;
}

Instant Worker::peer_heard() const {
  return Instant(Duration(settings_.signs->peer_beat_ns.load(std::memory_order_relaxed)));
}

mirror::OwnerLog* Worker::log_for(uint8_t shard) {
  if (logs_.empty()) return nullptr;
  mirror::OwnerLog* log = logs_[worker_of_shard(shard, static_cast<unsigned>(logs_.size()))].get();
  return log->state() == mirror::OwnerLog::State::closed ? nullptr : log;
}

mirror::ChannelAddress Worker::channel_address(uint8_t peer_worker) const {
  return {.cluster = settings_.cluster,
          .self = settings_.node,
          .self_boot = settings_.boot,
          .self_worker = static_cast<uint8_t>(settings_.index),
          .self_mac = settings_.ports[peer_port_].port->mac(),
          .peer_boot = peer_.boot,
          .peer_worker = peer_worker,
          .peer_mac = peer_.mac};
}

// A standby is there and we own something: a new generation of streams, one to each of its workers.
void Worker::open_streams(Instant now) {
  if (peer_.workers == 0 || now < open_streams_at_ || !owns_a_group()) return;
  // While only other links work a stream would do nothing but hold acknowledgements back until it is dropped
  // again.
  const Instant link_heard{Duration(settings_.signs->peer_link_beat_ns.load(std::memory_order_relaxed))};
  if (!logs_.empty() || link_heard + settings_.dead_after < now) return;
  mirror::ChannelSender::Settings channel;
  channel.window = settings_.mirror_window;
  constexpr uint32_t kAround =
      sizeof(mirror::ClusterFrameHeader) + sizeof(mirror::MirrorDataHeader) + sizeof(mirror::SealTrailer);
  constexpr uint32_t kOverhead = RTE_PKTMBUF_HEADROOM + sizeof(wire::EthernetHeader);
  const uint32_t room = rte_pktmbuf_data_room_size(pool_) - kOverhead;
  channel.frame_payload = std::min<uint32_t>(settings_.ports[peer_port_].port->mtu(), room) - kAround;
  mirror::FrameSink& sink = *this;
  ++generation_;
  for (uint16_t worker = 0; worker < peer_.workers; ++worker) {
    logs_.push_back(std::make_unique<mirror::OwnerLog>(channel, worker, engine_, pool_, sink));
    logs_.back()->open(channel_address(static_cast<uint8_t>(worker)), peer_.workers, generation_, now);
  }
}

void Worker::close_streams(Instant now) {
  for (auto& log : logs_) log->drop(now);
  logs_.clear();
}

// No commit progress for standby_timeout: the standby leaves the in-sync set, and is told so in every
// heartbeat before anything is acknowledged that it does not hold.
void Worker::drop_stale_standby(Instant now) {
  for (const auto& log : logs_) {
    const Instant since = log->channel().waiting_since();
    if (since == kNever || now - since < settings_.standby_timeout) continue;
    dropped_standby_ = peer_.node;
    dropped_generation_ = generation_;
    status_.standby_drops.fetch_add(1, std::memory_order_relaxed);
    beat(now);
    send_ports();
    close_streams(now);
    open_streams_at_ = now + kReopenAfter;
    Report r;
    r.kind = Report::Kind::standby_dropped;
    r.number = generation_;
    r.when = now;
    report(r);
    return;
  }
}

// Our mirror channel has been silent for the lease while the owner's heartbeats still come: it may have gone
// on without us. (Both silent is a dead owner, and then these legs are what we are here for.)
void Worker::guard_replicas(Instant now) {
  for (IncomingStream& stream : incoming_) {
    if (stream.channel == nullptr) continue;
    if (stream.channel->is_open() && peer_heard() > stream.channel->last_heard() + settings_.in_sync_lease) {
      stream.replica->mark_stale();
      stream.channel->close();
    }
    if (stream.replica->state() == mirror::Replica::State::stale && stream.channel->is_open())
      stream.channel->close();
    stream.channel->send_ack_if_due(now);
  }
}

void Worker::mirror_round(Instant now) {
  guard_replicas(now);
  drop_stale_standby(now);
  open_streams(now);
  for (const tcp::ClosedLeg& closed : engine_.closed_legs())
    if (mirror::OwnerLog* log = log_for(closed.shard)) log->write_close(closed.leg, now);
  engine_.closed_legs().clear();

  log_round_.swap(engine_.log_pending());
  for (const uint32_t leg : log_round_) {
    if (!engine_.legs().is_live(leg) || !engine_.legs()[leg].log_pending) continue;
    tcp::Connection& c = engine_.legs()[leg];
    c.log_pending = false;
    mirror::OwnerLog* log = log_for(c.shard);
    if (log != nullptr && engine_.group(c.group).voice) {
      if (!log->write(leg, now)) engine_.want_log(leg);
    } else {
      engine_.commit_all(c);
      engine_.want_output(leg);
    }
  }
  log_round_.clear();

  uint64_t budget = UINT64_MAX;
  bool synced = !logs_.empty();
  for (const auto& log : logs_) {
    log->snapshot(kSnapshotLegsPerRound, now);
    log->flush(now);
    log->tick(now);
    budget = std::min(budget, log->payload_budget());
    synced = synced && log->state() == mirror::OwnerLog::State::synced;
  }
  engine_.set_payload_budget(budget);
  for (size_t i = 0; i < settings_.groups.size(); ++i)
    engine_.group(static_cast<tcp::GroupIndex>(i)).accepts = settings_.groups[i].accept_unprotected || synced;
}

}  // namespace understudy::worker
