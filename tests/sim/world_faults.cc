// What goes wrong in a World, and what it excuses.
#include <algorithm>

#include <fmt/format.h>

#include "tests/sim/configuration.h"
#include "tests/sim/world.h"

namespace understudy::sim {
namespace {

constexpr Duration kSomebodyComes = 200ms;   // and starts the last node again
constexpr Duration kStandbyTrouble = 350ms;  // after trouble of the standby, until it is shown and mended

}  // namespace

bool World::is_speaking(size_t slot) const {
  const NodeInProcess* node = slots_[slot].node.get();
  if (node == nullptr || node->paused()) return false;
  for (size_t w = 0; w < node->workers(); ++w)
    if (node->worker_paused(w, now_) || !node->worker(w).engine().group(0).voice) return false;
  return cluster::is_owner(node->control().controller().machine(GroupId(1))->state());
}

std::optional<size_t> World::owner() const {
  std::optional<size_t> found;
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    const NodeInProcess* node = slots_[slot].node.get();
    if (node == nullptr || node->paused() ||
        !cluster::is_owner(node->control().controller().machine(GroupId(1))->state()))
      continue;
    if (found) return std::nullopt;
    found = slot;
  }
  return found;
}

std::optional<size_t> World::standby() const {
  std::optional<size_t> any;
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    const NodeInProcess* node = slots_[slot].node.get();
    if (node == nullptr) continue;
    const auto state = node->control().controller().machine(GroupId(1))->state();
    if (state == cluster::GroupState::standby_synced) return slot;
    if (cluster::is_standby(state)) any = slot;
  }
  return any;
}

bool World::is_shown_protected(size_t slot) const {
  const NodeInProcess& node = *slots_[slot].node;
  if (node.control().controller().machine(GroupId(1))->state() != cluster::GroupState::owner_protected)
    return false;
  for (size_t i = 0; i < slots_.size(); ++i)
    if (i != slot && slots_[i].node != nullptr &&
        slots_[i].node->control().controller().machine(GroupId(1))->state() ==
            cluster::GroupState::standby_synced)
      return true;
  return false;
}

uint64_t World::unprotected_shown() const {
  const auto slot = owner();
  if (!slot || slots_.size() == 1) return 0;
  return slots_[*slot].node->control().unprotected(0);
}

// What the node has promised to the talk's machine is shown as protected; nothing: it has no such leg.
std::optional<bool> World::is_leg_protected(size_t slot, const Talk& talk) const {
  NodeInProcess& node = *slots_[slot].node;
  const ModelTcp::Settings& tcp = talk.tcp->settings();
  for (size_t w = 0; w < node.workers(); ++w) {
    const tcp::ConnectionTable& legs = node.worker(w).engine().legs();
    const uint32_t leg = legs.find({IpAddress::v4(tcp.remote), IpAddress::v4(tcp.local),
                                    PortNumber(tcp.remote_port), PortNumber(tcp.local_port)});
    if (leg != tcp::kNone) return legs[leg].mirrored || !after(legs[leg].rcv.committed, legs[leg].rcv.irs);
  }
  return {};
}

// The legs of a session are protected together. Of one whose client's leg has ended already the backend's is
// counted by itself; it cannot enter a new standby's stream.
bool World::is_session_protected(size_t slot, size_t session) {
  for (const auto& host : hosts_) {
    const Talk* talk = host->of_session(session);
    if (talk == nullptr) continue;
    if (const auto shown = is_leg_protected(slot, *talk)) return *shown;
  }
  return true;
}

// The owner is about to be lost: which sessions was it not shown to protect? Everything else must go on. Both
// ends may have heard all that they wait for, and a FIN be unacknowledged: that can be lost, too.
void World::note_losses(size_t slot) {
  if (settings_.named != nullptr) return;
  const bool whole = is_shown_protected(slot) && now_ >= trouble_until_;
  const auto is_over = [](const Talk* talk) { return talk == nullptr || talk->over(); };
  for (size_t i = 0; i < scenario_.plans.size(); ++i) {
    if (!session_begun_[i] || lost_.contains(i)) continue;
    if (std::ranges::all_of(hosts_, is_over, [i](const auto& host) { return host->of_session(i); })) continue;
    if (!whole || !is_session_protected(slot, i)) lost_.insert(i);
  }
  for (const auto& host : hosts_) host->excused = lost_;
}

bool World::is_deserted() const {
  return std::ranges::all_of(slots_, [](const Slot& slot) { return slot.node == nullptr; });
}

void World::start_again(size_t slot, Duration delay) {
  later(delay, [this, slot] {
    if (slots_[slot].node == nullptr) start(slot);
  });
}

// A node that was asked to end has, or one that found it could not go on. The last one loses what it had.
void World::bury(size_t slot) {
  trace(fmt::format("n{} ends: {}", slot + 1, slots_[slot].node->last_words()));
  kill(slot);
  if (is_deserted()) excuse_everything();
  // Of members a majority is to be left.
  if (is_deserted() || arbitrated() || faults_are_over_) start_again(slot, kSomebodyComes);
}

// A session for which there is no backend, or none that the nodes know of, may be told so.
void World::excuse_those_whom_nobody_serves() {
  if (settings_.named != nullptr) return;
  const auto serves = [&](size_t backend) {
    const Host& host = *hosts_[1 + backend];
    return host.answers && host.accepts && std::ranges::all_of(slots_, [&](const Slot& slot) {
             return slot.node == nullptr ||
                    slot.node->control().health().is_up(PoolId(0), BackendId(static_cast<uint16_t>(backend)));
           });
  };
  if (serves(0) || serves(1)) return;
  for (size_t i = 0; i < scenario_.plans.size(); ++i) {
    if (!session_begun_[i] || !scenario_.plans[i].is_proxied() || session_done(i)) continue;
    if (hosts_[1]->of_session(i) == nullptr && hosts_[2]->of_session(i) == nullptr) lost_.insert(i);
  }
  for (const auto& host : hosts_) host->excused = lost_;
}

// While the standby is in trouble nobody may be lost; if the owner is gone already, or one of its workers
// hangs for longer than it may, everybody is: these are two failures at once, and what is left of the cluster
// holds no connection that it could vouch for.
void World::note_trouble(Duration lasts) {
  if (settings_.named != nullptr) return;
  trouble_until_ = std::max(trouble_until_, now_ + lasts + kStandbyTrouble);
  if (!owner() || now_ < owner_hangs_until_) excuse_everything();
}

void World::excuse_everything() {
  if (settings_.named != nullptr) return;
  for (size_t i = 0; i < scenario_.plans.size(); ++i)
    if (session_begun_[i] && !session_done(i)) lost_.insert(i);
  for (const auto& host : hosts_) host->excused = lost_;
}

void World::later(Duration delay, std::function<void()> action) {
  undo_.push_back({now_ + delay, std::move(action)});
}

void World::undo_what_is_due() {
  for (size_t i = 0; i < undo_.size();) {
    if (undo_[i].at > now_) {
      ++i;
      continue;
    }
    const std::function<void()> action = std::move(undo_[i].action);
    undo_.erase(undo_.begin() + static_cast<ptrdiff_t>(i));
    action();
  }
}

void World::apply_due_faults() {
  for (size_t i = 0; i < settings_.faults.size(); ++i) {
    const Fault& fault = settings_.faults[i];
    const bool due = fault.at_event != 0 ? events_ >= fault.at_event : now_ >= start_ + fault.at;
    if (fault_applied_[i] || !due) continue;
    fault_applied_[i] = 1;
    apply(fault);
  }
}

void World::undo_everything() {
  faults_are_over_ = true;
  for (Undo& undo : std::exchange(undo_, {})) undo.action();
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot].node == nullptr) start(slot);
  for (const auto& network : networks_)
    network->loss_per_mille = network->duplicate_per_mille = network->reorder_per_mille =
        network->corrupt_per_mille = 0;
  for (etcd::EtcdWay& way : etcd_.ways) way = {};
  hosts_[1]->accepts = hosts_[1]->answers = true;
}

void World::apply(const Fault& fault) {
  const auto of_owner = owner();
  const auto of_standby = standby();
  bool applied = true;
  switch (fault.kind) {
    case FaultKind::crash_standby:
    case FaultKind::pause_standby:
    case FaultKind::cut_peer:
    case FaultKind::cut_peer_in:
    case FaultKind::cut_peer_out:
    case FaultKind::full_pool_standby:
      applied = of_standby && apply_to_node(fault, *of_standby);
      break;
    case FaultKind::slow_standby:
    case FaultKind::loss:
    case FaultKind::duplication:
    case FaultKind::reordering:
    case FaultKind::corruption:
      apply_to_networks(fault);
      break;
    case FaultKind::crash_node:
    case FaultKind::pause_node:
    case FaultKind::deaf_node:
    case FaultKind::mute_node:
    case FaultKind::isolated_node:
    case FaultKind::node_off_peer:
    case FaultKind::node_off_front:
    case FaultKind::partition:
      applied = apply_to_any_node(fault);
      break;
    case FaultKind::backend_dies:
    case FaultKind::backend_refuses:
      apply_to_backend(fault);
      break;
    case FaultKind::etcd_away:
    case FaultKind::etcd_refuses:
    case FaultKind::etcd_slow:
    case FaultKind::etcd_deaf:
    case FaultKind::etcd_lies:
    case FaultKind::etcd_old:
    case FaultKind::node_off_etcd:
      applied = apply_to_etcd(fault);
      break;
    case FaultKind::apart:
    case FaultKind::carrier_lost:
    case FaultKind::lan_cut:
    case FaultKind::bad_peer_link:
    case FaultKind::thin_peer_link:
    case FaultKind::lost_arp:
    case FaultKind::hand_over:
    case FaultKind::replay:
      applied = apply_named(fault);
      break;
    default:
      applied = of_owner && apply_to_node(fault, *of_owner);
  }
  if (!applied) return;
  ++result_.faults[static_cast<size_t>(fault.kind)];
  trace(fmt::format("FAULT {} for {} ms", name_of(fault.kind), to_ms(fault.lasts)));
}

void World::cut(size_t slot, Network network, bool in, bool out, Duration lasts) {
  SwitchPort& port = slots_[slot].node->port(network);
  port.cut_in |= in;
  port.cut_out |= out;
  later(lasts, [this, slot, network, in, out] {
    if (slots_[slot].node == nullptr) return;
    SwitchPort& healed = slots_[slot].node->port(network);
    if (in) healed.cut_in = false;
    if (out) healed.cut_out = false;
  });
}

// Takes what the pool has, but for a few, and gives it back later.
void World::fill_pool(size_t slot, Duration lasts) {
  NodeInProcess* node = slots_[slot].node.get();
  pools_are_full_until_ = std::max(pools_are_full_until_, now_ + lasts);
  std::vector<rte_mbuf*> taken;
  while (rte_mempool_avail_count(node->pool()) > 24) taken.push_back(rte_pktmbuf_alloc(node->pool()));
  later(lasts, [this, slot, taken = std::move(taken), life = slots_[slot].life] {
    if (slots_[slot].node == nullptr || slots_[slot].life != life) return;  // they went with the node
    for (rte_mbuf* mbuf : taken) rte_pktmbuf_free(mbuf);
  });
}

bool World::apply_to_node(const Fault& fault, size_t slot) {
  NodeInProcess& node = *slots_[slot].node;
  // Somebody starts the last node again: without, nothing would ever end.
  const auto come_back = [&] {
    if (is_deserted()) return start_again(slot, std::max(fault.lasts, kSomebodyComes));
    if (fault.lasts != Duration::zero()) return start_again(slot, fault.lasts);
    // Of members a majority is to be left, if nothing else is expected.
    if (arbitrated() && settings_.named == nullptr && dead() > absent_most())
      start_again(slot, kSomebodyComes);
  };
  const auto trouble = [&] { note_trouble(fault.lasts); };
  switch (fault.kind) {
    case FaultKind::crash_owner:
      note_losses(slot);
      kill(slot);
      come_back();
      break;
    case FaultKind::crash_standby:
      trouble();
      kill(slot);
      come_back();
      break;
    case FaultKind::terminate_owner:
      note_losses(slot);
      slots_[slot].is_leaving = true;
      node.retire(now_);
      break;
    case FaultKind::pause_owner:
    case FaultKind::pause_standby:
      pause(slot, fault.lasts);
      break;
    case FaultKind::pause_worker:
      if (fault.lasts > kOutlivedAsOwner) note_losses(slot);
      trouble();
      if (owner() == slot && fault.lasts > kOutlivedAsOwner) owner_hangs_until_ = now_ + fault.lasts;
      node.pause_worker(random_.below(static_cast<uint32_t>(node.workers())), now_ + fault.lasts);
      break;
    case FaultKind::cut_peer:
    case FaultKind::cut_peer_in:
    case FaultKind::cut_peer_out:
      trouble();
      cut(slot, peer, fault.kind != FaultKind::cut_peer_out, fault.kind != FaultKind::cut_peer_in,
          fault.lasts);
      break;
    case FaultKind::cut_front:
    case FaultKind::cut_front_in:
    case FaultKind::cut_front_out:
      cut(slot, front, fault.kind != FaultKind::cut_front_out, fault.kind != FaultKind::cut_front_in,
          fault.lasts);
      break;
    case FaultKind::cut_back:
      cut(slot, back, true, true, fault.lasts);
      break;
    case FaultKind::full_pool_owner:
    case FaultKind::full_pool_standby:
      trouble();
      fill_pool(slot, fault.lasts);
      break;
    case FaultKind::hold_frames: {
      const Network network = random_.chance(1, 2) ? front : back;
      node.port(network).hold(true);
      later(fault.lasts, [this, slot, network] {
        // They may come after a lease, or after a hand-over. Nobody can call them back.
        if (slots_[slot].node != nullptr) slots_[slot].node->port(network).hold(false);
      });
      break;
    }
    default:
      return false;
  }
  return true;
}

void World::apply_to_networks(const Fault& fault) {
  const Duration lasts = fault.lasts;
  if (fault.kind == FaultKind::slow_standby) {
    note_trouble(lasts);
    SwitchedNetwork* network = networks_[peer].get();
    const Duration before = network->delay;
    network->delay = Duration(1ms) * (2 + random_.below(40));
    later(lasts, [network, before] { network->delay = before; });
    return;
  }
  if (fault.kind != FaultKind::duplication) note_trouble(lasts);
  for (const auto& each : networks_) {
    SwitchedNetwork* network = each.get();
    uint32_t& rate = fault.kind == FaultKind::loss          ? network->loss_per_mille
                     : fault.kind == FaultKind::duplication ? network->duplicate_per_mille
                     : fault.kind == FaultKind::reordering  ? network->reorder_per_mille
                                                            : network->corrupt_per_mille;
    const uint32_t before = rate;
    rate = 1 + random_.below(100);
    later(lasts, [&rate, before] { rate = before; });
  }
}

void World::apply_to_backend(const Fault& fault) {
  Host* host = hosts_[1 + random_.below(2)].get();
  // Connections to a machine that is gone may end in any way.
  if (fault.kind == FaultKind::backend_dies) {
    host->answers = false;
  } else {
    host->accepts = false;
  }
  later(fault.lasts, [host] { host->answers = host->accepts = true; });
}

}  // namespace understudy::sim
