#include "dataplane/worker/worker.h"

#include <algorithm>
#include <utility>

#include "dataplane/mirror/sealed_frame.h"

namespace understudy::worker {
namespace {
constexpr Duration kGreetingGap = 2ms;
}  // namespace

bool Worker::run_once(Instant now) {
  notice_absence(now);
  heed_silence();
  now_ = now;
  ++rounds_;
  bool busy = take_commands(now);
  mind_leases(now);
  syn_guard_.begin_round(now);
  busy |= receive_ports(now);
  engine_.run_timers(now);
  busy |= engine_.sweep(now, 256);
  engine_.upkeep(now, 64);
  check_.tick(engine_, now);
  for (const auto& result : check_.results()) {
    Report r;
    r.kind = Report::Kind::check_result;
    r.number = result.id;
    r.flag = result.ok;
    report(r);
  }
  check_.results().clear();
  resolver_.tick(now);
  if (!held_.empty()) settle_held(now);
  look_for_witnesses(now);
  look_for_rivals();
  mirror_round(now);
  engine_.flush(now);
  busy |= !engine_.log_pending().empty();
  if (!queries_.empty()) {
    list_connections(now);
    busy = true;
  }
  if (now >= next_beat_) {
    warm_neighbours(now);
    beat(now);
  }
  greet(now);
  send_ports();
  planned_ = now;
  return busy;
}

Instant Worker::next_deadline() {
  Instant next =
      std::min({engine_.next_deadline(), resolver_.next_deadline(), next_beat_, check_.next_deadline()});
  for (const GroupMirror& mirror : mirrors_)
    for (const auto& log : mirror.logs) next = std::min(next, log->next_deadline());
  if (!held_.empty()) next = std::min(next, held_until());
  if (opener_.owes_greeting()) next = std::min(next, next_greeting_);
  planned_ = std::max(next, now_);
  return next;
}

// Between two rounds lies what we planned; whatever exceeds it, somebody else had the processor, or stopped
// us. A node that was away must not go on as if nothing had happened: its successor may speak already.
void Worker::notice_absence(Instant now) {
  const Duration absence = now - std::max(planned_, now_);
  const bool ports_are_new = std::exchange(ports_are_new_, false);
  if (ports_are_new && copies_expire()) distrust_copies();
  if (absence <= Duration::zero()) return;
  if (absence.count() > status_.longest_stall_ns.load(std::memory_order_relaxed))
    status_.longest_stall_ns.store(absence.count(), std::memory_order_relaxed);
  if (absence <= settings_.interval) return;
  status_.stalls.fetch_add(1, std::memory_order_relaxed);
  next_beat_ = now;
  for (GroupMirror& mirror : mirrors_)
    for (auto& log : mirror.logs) log->excuse(now);
  if (copies_expire() && absence > settings_.in_sync_lease) distrust_copies();
  const bool silenced = absence > settings_.dead_after - settings_.interval;
  if (silenced) fall_silent(settings_.signs->silences.fetch_add(1, std::memory_order_acq_rel) + 1);
  if (!silenced && absence <= 2 * settings_.interval) return;
  Report r;
  r.kind = Report::Kind::stalled;
  r.silenced = silenced;
  r.silence = silence_;
  r.flag = ports_are_new;
  r.number = static_cast<uint64_t>(absence.count());
  r.when = now;
  report(r);
}

// Not only what was held before: between waking up and new ports a stream may have opened from what the old
// ones held. With the rest of that went, perhaps, its owner's word that it had dropped us meanwhile.
void Worker::distrust_copies() {
  for (GroupMirror& mirror : mirrors_)
    for (IncomingStream& stream : mirror.incoming)
      if (stream.replica != nullptr) stream.replica->mark_stale();
  publish_status();
}

// Another worker of this node may have been away while this one was not.
void Worker::heed_silence() {
  const uint32_t silence = settings_.signs->silences.load(std::memory_order_acquire);
  if (silence != silence_) fall_silent(silence);
}

// Nothing more is said for any group, not even what was made before and has not left. Control decides whether
// we may speak again.
void Worker::fall_silent(uint32_t silence) {
  silence_ = silence;
  for (tcp::GroupIndex group = 0; group < engine_.groups(); ++group) {
    if (engine_.group(group).always_local) continue;
    engine_.give_up(group);
    release_addresses(group);
  }
  for (const PortSetup& port : settings_.ports) port.port->forget_unsent(silence);
}

// What may not leave is not made either. (The gate before the device is LeasedPort.)
void Worker::mind_leases(Instant now) {
  if (settings_.leases == nullptr) return;
  for (tcp::GroupIndex group = 0; group < settings_.groups.size(); ++group) {
    if (!engine_.group(group).voice || settings_.leases->until(group) > now) continue;
    if (has_mail()) return;  // control has given it up, and says so
    engine_.give_up(group);
    resolver_.release(engine_.group(group).id);
    Report r;
    r.kind = Report::Kind::lease_lost;
    r.group = engine_.group(group).id;
    r.when = now;
    report(r);
  }
}

// False: nobody can have been told, for want of buffers.
bool Worker::beat(Instant now) {
  next_beat_ = now + settings_.interval;
  last_beat_ = now;
  mirror::Heartbeat beat;
  beat.node = settings_.node;
  beat.boot = settings_.boot;
  beat.worker = settings_.index;
  beat.workers = settings_.workers;
  beat.number = ++beat_number_;
  beat.progress = rounds_;
  beat.reach_front = reach_front_;
  beat.reach_back = reach_back_;
  publish_status();
  for (size_t i = 0; i < settings_.groups.size(); ++i) {
    const tcp::Group& group = engine_.group(static_cast<tcp::GroupIndex>(i));
    mirror::GroupBeat g = beat_groups_[i];
    g.group = group.id;
    g.clock_us = group.clock.micros(now);
    g.leased = settings_.leases != nullptr && group.voice && g.role == mirror::GroupRole::owner &&
               settings_.leases->until(i) > now;
    using State = mirror::Replica::State;
    const State held = status_.groups[i].replica_status().state;
    g.legs_stale = held == State::none || held == State::stale;
    g.legs = status_.groups[i].legs.load(std::memory_order_relaxed);
    g.legs_unprotected = status_.groups[i].unprotected.load(std::memory_order_relaxed);
    g.dropped_standby = mirrors_[i].dropped_standby;
    g.dropped_generation = mirrors_[i].dropped_generation;
    g.era = group.era;
    beat.groups.push_back(g);
  }
  reserve_.lend();
  const bool told = send_on_all_links(mirror::ClusterFrameKind::heartbeat, mirror::encode(beat));
  reserve_.refill();
  deaf_since_ = reserve_.leaves_any() ? kNever : std::min(deaf_since_, now);
  if (settings_.leases == nullptr || settings_.index != 0) return told;
  Report r;
  r.kind = Report::Kind::beat_sent;
  r.number = beat_number_;
  r.when = now;
  report(r);
  return told;
}

bool Worker::send_on_all_links(mirror::ClusterFrameKind kind, std::span<const uint8_t> payload) {
  bool any = false;
  mirror::ClusterFrameView view;
  view.kind = kind;
  view.from = settings_.node;
  view.from_worker = static_cast<uint8_t>(settings_.index);
  view.boot = settings_.boot;
  view.payload = payload;
  for (unsigned port = 0; port < settings_.ports.size(); ++port) {
    rte_mbuf* frame = mirror::make_cluster_frame(pool_, settings_.ports[port].port->mac(),
                                                 wire::kClusterMulticast, view, settings_.cluster);
    if (frame == nullptr) {
      drops_.count(DropReason::mbuf_pool_empty);
      continue;
    }
    emit_sealed(port, frame);
    any = true;
  }
  return any;
}

// Questions and answers leave at once, but nobody can make us send them back to back.
void Worker::greet(Instant now) {
  if (!opener_.owes_greeting() || now < next_greeting_) return;
  next_greeting_ = now + kGreetingGap;
  send_on_all_links(mirror::ClusterFrameKind::greeting, opener_.greeting());
}

void Worker::emit_sealed(unsigned port, rte_mbuf* frame) {
  mirror::seal_frame(frame, sealer_, port);
  emit(port, frame);
}

void Worker::publish_status() {
  const auto relaxed = std::memory_order_relaxed;
  status_.progress.store(rounds_, relaxed);
  status_.passing.store(passing_, relaxed);
  for (size_t i = 0; i < settings_.groups.size(); ++i) {
    const tcp::Group& group = engine_.group(static_cast<tcp::GroupIndex>(i));
    status_.groups[i].legs.store(group.legs, relaxed);
    status_.groups[i].unprotected.store(
        group.voice ? group.legs - std::min(group.legs, group.legs_mirrored) : 0, relaxed);
    status_.groups[i].exempt.store(group.voice ? group.legs_exempt : 0, relaxed);
    status_.groups[i].clock_us.store(group.clock.micros(now_), relaxed);
  }
  for (tcp::GroupIndex group = 0; group < mirrors_.size(); ++group) publish_streams(group);
  for (size_t i = 0; i < tcp::kEngineCounters.size(); ++i)
    status_.counters[i].store(engine_.counters().*tcp::kEngineCounters[i].value, relaxed);
}

void Worker::publish_streams(tcp::GroupIndex group) {
  const auto relaxed = std::memory_order_relaxed;
  const auto& logs = mirrors_[group].logs;
  WorkerStatus::GroupStatus& status = status_.groups[group];
  uint32_t worst = logs.empty() || mirrors_[group].drop_asked || mirrors_[group].next_standby ? 0 : 2;
  uint32_t waiting = 0;
  uint64_t frames = 0;
  uint64_t retransmitted = 0;
  for (const auto& log : logs) {
    worst = std::min(worst, static_cast<uint32_t>(log->state()));
    waiting += log->channel().in_flight();
    frames += log->channel().frames_sent();
    retransmitted += log->channel().retransmitted();
  }
  status.stream_state.store(worst, relaxed);
  status.standby_orders.store(mirrors_[group].standby_orders, std::memory_order_release);
  status.stream_frames_waiting.store(waiting, relaxed);
  status.stream_frames.store(frames, relaxed);
  status.stream_retransmitted.store(retransmitted, relaxed);
  status.replica.store(replica_status(group).packed(), relaxed);
  status.stale_orders.store(mirrors_[group].stale_orders, std::memory_order_release);
}

void Worker::send_ports() {
  for (size_t port = 0; port < outgoing_.size(); ++port) {
    if (outgoing_[port].empty()) continue;
    settings_.ports[port].port->transmit(outgoing_[port]);
    outgoing_[port].clear();
  }
  reserve_.refill();
}

void Worker::note_first_packet() {
  if (first_packet_group_ < 0) return;
  Report r;
  r.kind = Report::Kind::first_packet;
  r.group = settings_.groups[static_cast<size_t>(first_packet_group_)].id;
  r.when = now_;
  report(r);
  first_packet_group_ = -1;
}

void Worker::transmit(rte_mbuf* frame, const FlowKey& key) {
  note_first_packet();
  resolver_.send(frame, key.local, key.remote, now_);
}

void Worker::transmit_cluster(rte_mbuf* frame) {
  emit_sealed(peer_port_, frame);
}

void Worker::repeat_cluster(rte_mbuf* sent) {
  rte_mbuf* again = mirror::seal_frame_again(pool_, sent, sealer_, peer_port_);
  if (again == nullptr) return drops_.count(DropReason::mbuf_pool_empty);
  emit(peer_port_, again);
}

void Worker::emit(unsigned port, rte_mbuf* frame) {
  outgoing_[port].push_back(frame);
  if (outgoing_[port].size() < 2 * kBurst) return;
  settings_.ports[port].port->transmit(outgoing_[port]);
  outgoing_[port].clear();
}

uint64_t Worker::drops_of(DropReason reason) const {
  uint64_t count = drops_.of(reason) + const_cast<tcp::Engine&>(engine_).drops().of(reason);
  for (const GroupMirror& mirror : mirrors_) {
    for (const auto& log : mirror.logs) count += log->drops().of(reason);
    for (const IncomingStream& stream : mirror.incoming)
      if (stream.replica != nullptr) count += stream.replica->drops().of(reason);
  }
  return count;
}

const service::Proxy* Worker::proxy(ServiceId service) const {
  const auto it =
      std::ranges::find(proxies_, service, &std::pair<ServiceId, std::unique_ptr<service::Proxy>>::first);
  return it == proxies_.end() ? nullptr : it->second.get();
}

}  // namespace understudy::worker
