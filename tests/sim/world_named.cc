// The faults of a World that have a name and an end to expect, and what is measured of them.
#include <algorithm>

#include <fmt/format.h>

#include "tests/sim/configuration.h"
#include "tests/sim/world.h"

namespace understudy::sim {
namespace {

constexpr GroupId kGroup{1};
constexpr MacAddress kGroupMac({0x02, 0x55, 0x53, 0x00, 0x00, 0x01});
constexpr uint8_t kFirstSlotMac = 0x10;
constexpr Duration kReadyMost = 5s;
constexpr Duration kOwnedMost = 10s;
constexpr int kWordsAtOnce = 2;           // of a stranger
constexpr uint64_t kRefusedPercent = 95;  // the others are greetings, or met a full port
constexpr uint64_t kThinPeerBits = 3'000'000;

}  // namespace

void World::begin_as_expected() {
  const auto is_ready = [&] {
    if (owner() != size_t{0} || standby() != size_t{1} || !is_shown_protected(0)) return false;
    const auto& controller = slots_[0].node->control().controller();
    return controller.arbiter()->is_recorded(kGroup, controller.machine(kGroup)->epoch(), NodeId(2));
  };
  if (!run_until(is_ready, kReadyMost)) complain("n1 does not own it with n2 as its synced standby");
  result_.takeovers = 0;
}

void World::watch_succession() {
  for (const Network n : {front, back}) {
    const SwitchPort* behind = networks_[n]->learned(kGroupMac);
    if (behind != nullptr) succession_.held_behind(n, behind->mac().bytes()[4] - kFirstSlotMac);
  }
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot].is_owner && slots_[slot].node != nullptr && !slots_[slot].node->paused())
      succession_.owns(slot);
  if (!stranger_.is_speaking(now_)) return;
  for (int i = 0; i < kWordsAtOnce; ++i) {
    const Stranger::Word* word = stranger_.any(now_);
    if (word == nullptr) continue;
    const bool is_for_one = (word->frame[0] & 1) == 0;
    const size_t addressee = size_t{word->frame[4]} - kFirstSlotMac;
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].node == nullptr || slots_[slot].node->paused() || slot == word->from) continue;
      if (is_for_one && slot != addressee) continue;
      networks_[peer]->inject(slots_[slot].node->port(peer), word->frame);
      stranger_.said();
    }
  }
}

uint64_t World::refused_as_hostile() const {
  uint64_t count = 0;
  for (const Slot& slot : slots_)
    for (size_t w = 0; slot.node != nullptr && w < slot.node->workers(); ++w)
      for (const DropReason reason :
           {DropReason::cluster_replayed, DropReason::cluster_unproven, DropReason::cluster_forged})
        count += slot.node->worker(w).drops_of(reason);
  return count;
}

void World::end_as_expected() {
  using Heir = NamedFault::Heir;
  const NamedFault& named = *settings_.named;
  if (!run_until([&] { return owner().has_value(); }, kOwnedMost))
    return complain("no owner" + describe_members());
  const size_t heir = *owner();
  const bool is_right = named.heir == Heir::any || (named.heir == Heir::stays && heir == 0) ||
                        (named.heir == Heir::standby && heir == 1) ||
                        (named.heir == Heir::third && heir == 2) ||
                        (named.heir == Heir::another && heir != 0);
  if (!is_right) complain(fmt::format("n{} owns it in the end", heir + 1) + describe_members());
  if (result_.takeovers > named.takeovers_most)
    complain(fmt::format("{} takeovers, and not {}", result_.takeovers, named.takeovers_most));
  for (const Network n : {front, back}) {
    const std::vector<size_t>& path = succession_.path(n);
    if (path.empty() || path.back() != heir || path.size() > result_.takeovers + 1)
      complain(fmt::format("the switch held the group to be behind {}", describe_path(path)));
  }
  for (const std::string& sentence : succession_.complaints()) complain(sentence);
  if (named.counts_replays) {
    const uint64_t refused = refused_as_hostile();
    if (stranger_.count() == 0 || refused * 100 < stranger_.count() * kRefusedPercent)
      complain(fmt::format("of {} frames that were said again {} were refused", stranger_.count(), refused));
  }
}

bool World::apply_named(const Fault& fault) {
  const bool is_of_node = fault.kind == FaultKind::carrier_lost || fault.kind == FaultKind::lan_cut;
  if (is_of_node && (fault.node >= slots_.size() || slots_[fault.node].node == nullptr)) return false;
  note_trouble(fault.lasts);
  excuse_everything();
  switch (fault.kind) {
    case FaultKind::apart:
      for (size_t slot = 0; slot < slots_.size(); ++slot) slots_[slot].is_apart = fault.node >> slot & 1;
      later(fault.lasts, [this] {
        for (Slot& slot : slots_) slot.is_apart = false;
      });
      break;
    case FaultKind::carrier_lost:
      lose_carrier(fault.node, fault.lasts);
      break;
    case FaultKind::lan_cut:
      for (const Network n : {front, back}) cut(fault.node, n, true, true, fault.lasts);
      break;
    case FaultKind::bad_peer_link:
    case FaultKind::thin_peer_link:
      disturb_peer_link(fault);
      break;
    case FaultKind::lost_arp:
      for (const Network n : {front, back}) {
        networks_[n]->swallows = [](const SwitchPort& from, std::span<const uint8_t> frame) {
          return from.mac().bytes()[4] >= kFirstSlotMac && frame[12] == 0x08 && frame[13] == 0x06;
        };
        later(fault.lasts, [this, n] { networks_[n]->swallows = nullptr; });
      }
      break;
    case FaultKind::hand_over:
      return hand_over();
    default:
      stranger_.begin(now_ + fault.lasts);
      later(fault.lasts, [] {});
  }
  return true;
}

void World::lose_carrier(size_t slot, Duration lasts) {
  for (size_t n = 0; n < networks; ++n) slots_[slot].node->port(n).unplug();
  later(lasts, [this, slot, life = slots_[slot].life] {
    if (slots_[slot].node == nullptr || slots_[slot].life != life) return;
    succession_.is_back(slot);
    for (size_t n = 0; n < networks; ++n) slots_[slot].node->port(n).plug();
  });
}

void World::disturb_peer_link(const Fault& fault) {
  SwitchedNetwork* link = networks_[peer].get();
  if (fault.kind == FaultKind::thin_peer_link) {
    link->bits_per_second = kThinPeerBits;
    return later(fault.lasts, [link] { link->bits_per_second = 0; });
  }
  link->loss_per_mille = 300;
  link->reorder_per_mille = link->duplicate_per_mille = 100;
  link->corrupt_per_mille = 20;
  later(fault.lasts, [link] {
    link->loss_per_mille = link->reorder_per_mille = link->duplicate_per_mille = link->corrupt_per_mille = 0;
  });
}

bool World::hand_over() {
  const auto from = owner(), to = standby();
  if (!from || !to) return false;
  NodeInProcess& node = *slots_[*from].node;
  const auto obstacle =
      node.control().hand_over(kGroup, NodeId(static_cast<uint16_t>(*to + 1)), node.local_time(now_));
  if (obstacle) trace("not handed over: " + *obstacle);
  return !obstacle;
}

}  // namespace understudy::sim
