// Connections that stay (failback: new_connections). A pair of groups has the same addresses and services,
// and each its own owner. Who owns the current one of the two answers ARP, takes the addresses' frames and
// the new connections; the other group's owner goes on with those that it has, whose frames are passed on to
// it over the peer network. What it says leaves from its own MAC.
#include <algorithm>

#include "dataplane/worker/worker.h"

namespace understudy::worker {

// A pair has its addresses in common: the resolver knows them by the group to which services point.
GroupId Worker::addresses_of(tcp::GroupIndex index) const {
  const tcp::Group& group = engine_.group(index);
  return group.is_spare ? engine_.group(*group.twin).id : group.id;
}

void Worker::claim_addresses(tcp::GroupIndex group, Instant now) {
  if (engine_.current_of(group) == group) resolver_.claim(addresses_of(group), now);
}

void Worker::release_addresses(tcp::GroupIndex group) {
  if (engine_.current_of(group) == group) resolver_.release(addresses_of(group));
}

// Control has set or heard a later era: the other group of the pair may be the current one now.
void Worker::note_era(tcp::GroupIndex group, uint32_t era, Instant now) {
  if (era <= engine_.group(group).era) return;
  const tcp::GroupIndex before = engine_.current_of(group);
  engine_.group(group).era = era;
  const tcp::GroupIndex after = engine_.current_of(group);
  if (before == after) return;
  // A tuple may come back in the other group: its numbers must not run backwards.
  engine_.group(after).clock.advance_to(engine_.group(before).clock.micros(now), now);
  if (!engine_.group(after).voice)
    resolver_.release(addresses_of(group));
  else if (!engine_.group(before).voice)
    resolver_.claim(addresses_of(group), now);
}

const Worker::PeerNode* Worker::keeper_of(tcp::GroupIndex group) const {
  const PeerNode* node = peer_of(mirrors_[group].epoch.node);
  return node != nullptr && node->workers > 0 ? node : nullptr;
}

bool Worker::is_elsewhere(tcp::GroupIndex index) const {
  const tcp::Group& group = engine_.group(index);
  return group.twin && !group.voice && engine_.group(*group.twin).voice;
}

// As a rule one node has both groups of a pair, and no frame has to be looked at twice.
bool Worker::is_split() const {
  if (!has_pairs_) return false;
  for (tcp::GroupIndex group = 0; group < mirrors_.size(); ++group)
    if (is_elsewhere(group)) return true;
  return false;
}

// The group that decides about a segment, if that is the one of a pair which this node does not own while it
// owns the other.
std::optional<tcp::GroupIndex> Worker::group_elsewhere(const wire::TcpSegment& s, Instant now) const {
  const FlowKey key{s.destination, s.source, s.destination_port, s.source_port};
  if (const uint32_t leg = engine_.legs().find(key); leg != tcp::kNone) {
    const tcp::GroupIndex group = engine_.legs()[leg].group;
    return is_elsewhere(group) ? std::optional(group) : std::nullopt;
  }
  const int index = engine_.find_group(s.destination);
  if (index < 0) return std::nullopt;
  const auto here = static_cast<tcp::GroupIndex>(index);
  const auto& twin = engine_.group(here).twin;
  if (!twin || !is_elsewhere(*twin)) return std::nullopt;
  if (engine_.current_of(here) != here) return twin;  // who has the addresses decides about strangers
  // Our copies are whole: what they do not have is new. Without them only the other node knows.
  if (s.has(wire::kSyn) && !s.has(wire::kAck)) {
    const bool knows = replica_status(*twin).state == mirror::Replica::State::synced;
    return knows || keeper_of(*twin) == nullptr ? std::nullopt : std::optional(*twin);
  }
  return engine_.brings_cookie(s, now) ? std::nullopt : std::optional(*twin);
}

// Passed on by another node: it says so by its own MAC on the peer network.
bool Worker::was_passed(uint16_t port, const wire::EthernetHeader& ethernet) const {
  if (port != peer_port_) return false;
  const MacAddress from(ethernet.source);
  return std::ranges::any_of(peers_,
                             [&](const PeerNode& peer) { return peer.workers > 0 && peer.mac == from; });
}

bool Worker::pass_to(const PeerNode& peer, rte_mbuf* frame) {
  Port& port = *settings_.ports[peer_port_].port;
  if (frame->data_len > port.mtu() + sizeof(wire::EthernetHeader)) return false;
  auto* header = rte_pktmbuf_mtod(frame, wire::EthernetHeader*);
  header->destination = peer.mac.bytes();
  header->source = port.mac().bytes();
  emit(peer_port_, frame);
  status_.passed_on.fetch_add(1, std::memory_order_relaxed);
  return true;
}

// True: the frame is gone. One that nobody can be given, its owner being dead and not replaced yet, is
// dropped: it might be answered with a reset here.
bool Worker::pass_to_keeper(uint16_t port, rte_mbuf* frame, const wire::TcpSegment& segment,
                            const wire::EthernetHeader& ethernet, Instant now) {
  if (!is_split() || was_passed(port, ethernet)) return false;
  const auto group = group_elsewhere(segment, now);
  if (!group) return false;
  const PeerNode* keeper = keeper_of(*group);
  if (keeper != nullptr && pass_to(*keeper, frame)) return true;
  drops_.count(DropReason::tcp_group_not_owned);
  rte_pktmbuf_free(frame);
  return true;
}

bool Worker::pass_to_keeper(uint16_t port, rte_mbuf* frame, const wire::IcmpError& error,
                            const wire::EthernetHeader& ethernet) {
  if (!is_split() || was_passed(port, ethernet)) return false;
  const uint32_t leg = engine_.legs().find(error.flow);
  if (leg == tcp::kNone || !is_elsewhere(engine_.legs()[leg].group)) return false;
  const PeerNode* keeper = keeper_of(engine_.legs()[leg].group);
  return keeper != nullptr && pass_to(*keeper, frame);
}

// As owner of connections that stay: our standby is who has the addresses. If nothing gets through to it, its
// frames do not get through to us either, and the connections are better off there: we do not go on without
// it, we let go of them.
bool Worker::would_let_go(tcp::GroupIndex group) const {
  const tcp::GroupIndex current = engine_.current_of(group);
  const auto& mirror = mirrors_[group];
  return current != group && !engine_.group(current).voice &&
         mirror.standby.node == mirrors_[current].epoch.node &&
         std::ranges::all_of(mirror.logs,
                             [](const auto& log) { return log->state() == mirror::OwnerLog::State::synced; });
}

void Worker::tell_cut_off(tcp::GroupIndex group, Instant now) {
  if (std::exchange(mirrors_[group].told_cut_off, true)) return;
  Report r;
  r.kind = Report::Kind::cut_off;
  r.group = engine_.group(group).id;
  r.node = mirrors_[group].standby.node;
  r.when = now;
  report(r);
}

// As who has the addresses, standby of connections that stay elsewhere: their owner does not go on without us
// before twice standby_timeout (would_let_go), and until then our copies are good.
Duration Worker::lease_of(tcp::GroupIndex group) const {
  const bool longer = engine_.current_of(group) != group && is_elsewhere(group);
  return settings_.in_sync_lease + (longer ? settings_.standby_timeout : Duration(0));
}

}  // namespace understudy::worker
