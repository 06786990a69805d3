// What control asks of a worker, and what it is told.
#include <algorithm>
#include <cstring>

#include "dataplane/worker/handover.h"
#include "dataplane/worker/worker.h"

namespace understudy::worker {
namespace {
constexpr uint32_t kSlotsPerRound = 4096;

std::string_view name_of(neighbour::NeighbourState state) {
  switch (state) {
    case neighbour::NeighbourState::incomplete:
      return "resolving";
    case neighbour::NeighbourState::reachable:
      return "reachable";
    case neighbour::NeighbourState::stale:
      return "stale";
    case neighbour::NeighbourState::probe:
      return "probing";
  }
  return "unknown";
}

}  // namespace

int Worker::group_index(GroupId id) const {
  for (size_t i = 0; i < settings_.groups.size(); ++i)
    if (settings_.groups[i].id == id) return static_cast<int>(i);
  return -1;
}

void Worker::report(Report r) {
  r.worker = settings_.index;
  const bool is_urgent = r.kind == Report::Kind::promoted || r.kind == Report::Kind::handed ||
                         r.kind == Report::Kind::hand_over_refused ||
                         r.kind == Report::Kind::witness_answer || r.kind == Report::Kind::standby_silent ||
                         r.kind == Report::Kind::lease_lost || r.kind == Report::Kind::cut_off ||
                         (r.kind == Report::Kind::cluster_frame && r.flag);
  const bool sent = reports_.send(r);
  if (is_urgent) urgent_.store(true, std::memory_order_release);
  if (sent) return;
  drops_.count(DropReason::ring_full);
  if (r.frame != nullptr) rte_pktmbuf_free(r.frame);
}

bool Worker::take_commands(Instant now) {
  Command command;
  bool any = false;
  while (commands_.receive(command)) {
    obey(command, now);
    any = true;
  }
  return any;
}

void Worker::meet_peer(const Command& command) {
  const auto at = std::ranges::find(settings_.nodes, command.node);
  if (at == settings_.nodes.end()) return;
  PeerNode& peer = peers_[static_cast<size_t>(at - settings_.nodes.begin())];
  peer = command.kind == Command::Kind::peer_up
             ? PeerNode{command.node, command.boot, command.workers, command.mac}
             : PeerNode();
}

// News are told at once; what only confirms somebody else's heartbeat, not back to back: its heartbeat may be
// such a confirmation, too.
void Worker::take_beat(tcp::GroupIndex group, const mirror::GroupBeat& says, Instant now) {
  mirror::GroupBeat& known = beat_groups_[group];
  const bool is_news = known.role != says.role || known.epoch != says.epoch ||
                       known.standby_synced != says.standby_synced || known.standby != says.standby ||
                       known.era != says.era;
  known = says;
  note_era(group, says.era, now);
  next_beat_ = std::min(next_beat_, is_news ? now : std::max(now, last_beat_ + settings_.interval / 2));
}

void Worker::change_standby(tcp::GroupIndex group, const Command& command, Instant now) {
  GroupMirror& mirror = mirrors_[group];
  ++mirror.standby_orders;
  const PeerNode wanted{command.node, command.boot, command.workers, command.mac};
  mirror.next_standby.reset();
  // Told once more, or what a hand-over has begun with: its streams go on.
  if (mirror.standby != wanted) {
    mirror.next_standby = wanted;
    take_next_standby(group, now);
  }
  publish_streams(group);
}

void Worker::obey_for_group(tcp::GroupIndex group, const Command& command, Instant now) {
  GroupMirror& mirror = mirrors_[group];
  switch (command.kind) {
    case Command::Kind::promote:
      promote(command, now);
      break;
    case Command::Kind::hand_over:
      begin_hand_over(group, command, now);
      break;
    case Command::Kind::demote:
    case Command::Kind::mute:
      if (command.kind == Command::Kind::demote && command.flag &&
          hand_overs_[group].phase != HandOver::Phase::none) {
        become_mirror(group, command.epoch, now);
        break;
      }
      end_hand_over(group);
      engine_.give_up(group);
      release_addresses(group);
      if (command.kind == Command::Kind::mute) break;
      close_streams(group, now);
      // Another node speaks for these connections now; what we hold of them is history.
      follow(group, command.epoch);
      engine_.discard_legs(group);
      break;
    case Command::Kind::unmute:
      // A silence that control did not know of when it decided is in its mail: it will decide once more.
      if (command.silence != settings_.signs->silences.load(std::memory_order_acquire)) break;
      if (silence_ != command.silence) fall_silent(command.silence);
      take_group_back(group, now);
      break;
    case Command::Kind::beat:
      take_beat(group, command.beat, now);
      break;
    case Command::Kind::standby:
      change_standby(group, command, now);
      break;
    case Command::Kind::drop_standby:
      ++mirror.standby_orders;
      if (mirror.drop_asked) drop_standby(group, now);
      publish_streams(group);
      break;
    case Command::Kind::drop_copies:
      for (IncomingStream& stream : mirror.incoming)
        if (stream.replica != nullptr) stream.replica->mark_stale();
      publish_status();
      break;
    case Command::Kind::follow:
      follow(group, command.epoch);
      break;
    case Command::Kind::mark_stale:
      if (mirror.epoch.node == command.node && command.worker < mirror.incoming.size() &&
          mirror.incoming[command.worker].channel != nullptr &&
          mirror.incoming[command.worker].channel->generation() == command.number)
        mirror.incoming[command.worker].replica->mark_stale();
      ++mirror.stale_orders;
      publish_streams(group);
      break;
    default:
      break;
  }
}

void Worker::obey(const Command& command, Instant now) {
  switch (command.kind) {
    case Command::Kind::promote:
    case Command::Kind::hand_over:
    case Command::Kind::demote:
    case Command::Kind::mute:
    case Command::Kind::unmute:
    case Command::Kind::beat:
    case Command::Kind::standby:
    case Command::Kind::follow:
    case Command::Kind::mark_stale:
    case Command::Kind::drop_copies:
    case Command::Kind::drop_standby:
      if (const int index = group_index(command.group); index >= 0)
        obey_for_group(static_cast<tcp::GroupIndex>(index), command, now);
      break;
    case Command::Kind::peer_up:
    case Command::Kind::peer_down:
      meet_peer(command);
      break;
    case Command::Kind::backend:
      for (size_t i = 0; i < settings_.pools.size(); ++i)
        if (settings_.pools[i].id == command.pool && command.backend.value() < pools_[i]->size())
          pools_[i]->set_up(command.backend, command.flag);
      break;
    case Command::Kind::check:
      start_check(command, now);
      break;
    case Command::Kind::reach:
      reach_front_ = static_cast<uint8_t>(command.number & 0xff);
      reach_back_ = static_cast<uint8_t>(command.number >> 8);
      break;
    case Command::Kind::probe:
      if (resolver_.probe(command.address, now) &&
          std::ranges::find(probed_, command.address, &ProbedWitness::address) == probed_.end())
        probed_.push_back({command.address, now});
      break;
    case Command::Kind::broadcast:
      send_on_all_links(static_cast<mirror::ClusterFrameKind>(command.number),
                        {rte_pktmbuf_mtod(command.frame, const uint8_t*), command.frame->data_len});
      rte_pktmbuf_free(command.frame);
      break;
    case Command::Kind::connections:
      queries_.push_back(command.query);
      break;
    case Command::Kind::neighbours:
      resolver_.neighbours().for_each(
          [&](uint16_t port, const IpAddress& ip, neighbour::NeighbourState state, const MacAddress& mac) {
            command.neighbours->rows.push_back({ip, port, name_of(state), mac});
          });
      command.neighbours->done.store(true, std::memory_order_release);
      break;
  }
}

// In order (see ARCHITECTURE.md): state is installed already; resets are held back, the role flips, addresses
// are announced, the sweep begins.
void Worker::promote(const Command& command, Instant now) {
  const auto index = static_cast<tcp::GroupIndex>(group_index(command.group));
  GroupMirror& mirror = mirrors_[index];
  // Silences that came before the decision are over with it; one that came after it is heeded next.
  if (static_cast<int32_t>(command.silence - silence_) > 0) fall_silent(command.silence);
  end_hand_over(index);
  sources_[index]->salt(command.epoch, siphash(settings_.secret, &command.group, sizeof command.group));
  mirror.dropped_standby = NodeId();
  // Of an owner that comes back under a higher epoch: they belong to the former one.
  close_streams(index, now);
  if (command.flag && is_released(index)) {
    receive_group(index, command.epoch, now);
  } else {
    for (IncomingStream& stream : mirror.incoming)
      if (stream.replica != nullptr) stream.replica->release(index);
    mirror.incoming.clear();
    const bool is_owner_of_before = mirror.epoch.node == settings_.node;
    mirror.epoch = command.epoch;
    engine_.group(index).clock.advance_to(command.clock_us, now);
    engine_.take_over(index, command.epoch, now, settings_.reset_hold);
    if (is_owner_of_before) engine_.speak_again(index);
  }
  beat_groups_[index].role = mirror::GroupRole::owner;
  beat_groups_[index].epoch = command.epoch;
  beat_groups_[index].standby_synced = false;
  beat_groups_[index].standby = NodeId();
  claim_addresses(index, now);
  take_held(now);
  first_packet_group_ = index;
  next_beat_ = now;
  send_ports();  // the announcement is on its way before anybody is told
  Report done;
  done.kind = Report::Kind::promoted;
  done.when = now;
  done.group = command.group;
  done.number = command.epoch.counter;
  report(done);
}

void Worker::start_check(const Command& command, Instant now) {
  const auto way = resolver_.routes().find(command.address);
  const Prefix* own = way ? resolver_.own_address_near(way->port, way->address) : nullptr;
  if (own == nullptr) {
    check_.results().push_back({command.number, false});
    return;
  }
  FlowKey key{own->address, command.address, PortNumber(), command.port};
  // Answers must come back to this worker.
  const auto shard = static_cast<uint8_t>(settings_.index);
  key.local_port = shards_.source_port(key, shard, static_cast<uint32_t>(random_.next()));
  check_.start(engine_, local_group_, *engine_.find_service(ServiceId(0xffff)), key, command.number,
               command.when, now);
}

ConnectionRow Worker::row_of(uint32_t leg) const {
  const tcp::Connection& c = engine_.legs()[leg];
  ConnectionRow row;
  row.key = c.key;
  row.state = c.state;
  row.service = c.service;
  row.group = engine_.group(c.group).id;
  row.owned = engine_.group(c.group).voice;
  row.is_protected = c.mirrored;
  row.adopted = c.adopted;
  row.worker = settings_.index;
  if (c.partner != tcp::kNone) row.partner = engine_.legs()[c.partner].key;
  auto& pipes = const_cast<tcp::Engine&>(engine_).pipes();
  if (c.rx != tcp::kNone) row.held_bytes = pipes[c.rx].held();
  if (const tcp::Soft* soft = engine_.soft_of(c)) {
    row.srtt = soft->rtt.srtt;
    row.cwnd = soft->congestion.cwnd();
  }
  return row;
}

void Worker::list_connections(Instant) {
  ConnectionQuery& query = *queries_.front();
  const auto& legs = engine_.legs();
  const uint32_t end = std::min(legs.capacity(), query.next_slot + kSlotsPerRound);
  for (; query.next_slot < end; ++query.next_slot) {
    const uint32_t leg = query.next_slot;
    if (!legs.is_live(leg)) continue;
    const tcp::Group& group = engine_.group(legs[leg].group);
    const bool wanted = query.group == GroupId() || group.id == query.group ||
                        (group.twin && engine_.group(*group.twin).id == query.group);
    if (!wanted) continue;
    ++query.matching;
    if (query.rows.size() < query.limit) query.rows.push_back(row_of(leg));
  }
  if (query.next_slot < legs.capacity()) return;
  queries_.erase(queries_.begin());
  query.done.store(true, std::memory_order_release);
}

}  // namespace understudy::worker
