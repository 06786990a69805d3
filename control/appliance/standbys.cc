#include "control/appliance/standbys.h"

namespace understudy::appliance {

using worker::Command;

void Standbys::on_peer_heartbeat(const mirror::Heartbeat& beat, const MacAddress& mac) {
  Peer& peer = peers_[beat.node];
  if (peer.boot == beat.boot && peer.workers == beat.workers && peer.mac == mac) return;
  peer = {beat.boot, beat.workers, mac, false};
  std::erase_if(told_stale_, [&](const auto& entry) { return std::get<1>(entry.first) == beat.node; });
}

// Once for each stream that an owner has dropped.
bool Standbys::note_dropped(const mirror::Heartbeat& beat) {
  bool is_news = false;
  for (const mirror::GroupBeat& says : beat.groups) {
    if (says.dropped_standby != self_) continue;
    uint32_t& told = told_stale_[{says.group, beat.node, beat.worker}];
    if (std::exchange(told, says.dropped_generation) == says.dropped_generation) continue;
    Command command;
    command.kind = Command::Kind::mark_stale;
    command.group = says.group;
    command.node = beat.node;
    command.worker = beat.worker;
    command.number = says.dropped_generation;
    ++stale_orders_[says.group];
    workers_.tell_all(command);
    is_news = true;
  }
  return is_news;
}

std::vector<NodeId> Standbys::watch_peers(std::span<const cluster::PeerSnapshot> peers) {
  std::vector<NodeId> changed;
  for (const cluster::PeerSnapshot& snapshot : peers) {
    const auto it = peers_.find(snapshot.node);
    if (it == peers_.end()) continue;
    Peer& peer = it->second;
    const bool up = snapshot.alive && snapshot.boot == peer.boot;
    if (std::exchange(peer.up, up) == up) continue;
    Command command;
    command.kind = up ? Command::Kind::peer_up : Command::Kind::peer_down;
    command.node = snapshot.node;
    command.boot = peer.boot;
    command.workers = peer.workers;
    command.mac = peer.mac;
    workers_.tell_all(command);
    changed.push_back(snapshot.node);
  }
  return changed;
}

// Nobody, too, while the node's workers and its address on the peer network are not known yet: that is told
// when they are.
void Standbys::order(GroupId group, NodeId standby) {
  Command command;
  command.kind = Command::Kind::standby;
  command.group = group;
  if (const auto it = peers_.find(standby); it != peers_.end() && it->second.up) {
    command.node = standby;
    command.boot = it->second.boot;
    command.workers = it->second.workers;
    command.mac = it->second.mac;
  }
  ++orders_[group];
  workers_.tell_all(command);
}

void Standbys::let_go(GroupId group, NodeId next) {
  if (changing_.erase(group) > 0) order(group, next);
  Command command;
  command.kind = Command::Kind::drop_standby;
  command.group = group;
  ++orders_[group];
  workers_.tell_all(command);
}

uint32_t Standbys::orders(GroupId group) const {
  const auto it = orders_.find(group);
  return it == orders_.end() ? 0 : it->second;
}

uint32_t Standbys::stale_orders(GroupId group) const {
  const auto it = stale_orders_.find(group);
  return it == stale_orders_.end() ? 0 : it->second;
}

}  // namespace understudy::appliance
