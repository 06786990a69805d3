// What a World with an arbiter does besides: it watches voices by lease and epoch, breaks any node
// and not only the owner, and ends with a majority connected, which must have found one owner.
#include <algorithm>

#include <fmt/format.h>

#include "tests/sim/configuration.h"
#include "tests/sim/world.h"

namespace understudy::sim {
namespace {

constexpr GroupId kGroup{1};
constexpr Duration kElectionMost = 10s;  // a cold takeover waits 3 s, and may have to do so again
constexpr Duration kStaysAtLeast = 300ms;

}  // namespace

bool World::may_speak(size_t slot) const {
  const NodeInProcess* node = slots_[slot].node.get();
  if (node == nullptr || node->paused()) return false;
  bool has_voice = false;
  for (size_t w = 0; w < node->workers(); ++w)
    has_voice = has_voice || (!node->worker_paused(w, now_) && node->worker(w).engine().group(0).voice);
  return has_voice && node->control().controller().lease_until(kGroup) > node->local_time(now_);
}

void World::take_word_of(size_t slot, std::span<const uint8_t> frame, bool was_held) {
  const auto is_of_group = [](uint32_t address) {
    return address == kVirtualAddress || address == kSourceAddress;
  };
  const auto arp = read_arp(frame);
  const auto segment = arp ? std::nullopt : read_tcp(frame);
  if (!(arp && is_of_group(arp->sender)) && !(segment && is_of_group(segment->source))) return;
  const NodeInProcess& node = *slots_[slot].node;
  succession_.hear(slot, arp.has_value(), segment ? segment->flags : 0);
  Voices::Word word{.node = slot, .is_late = was_held};
  for (size_t w = 0; w < node.workers(); ++w)
    word.epoch = std::max(word.epoch, node.worker(w).engine().group(0).epoch);
  word.has_lease = node.control().controller().lease_until(kGroup) > node.local_time(now_);
  voices_.take(word);
}

void World::count_voices() {
  size_t speakers = 0;
  for (size_t slot = 0; slot < slots_.size(); ++slot) speakers += may_speak(slot);
  if (speakers < 2) return;
  std::string who;
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (may_speak(slot)) who += fmt::format(" n{}", slot + 1);
  voices_.count(speakers, who);
}

bool World::apply_to_any_node(const Fault& fault) {
  if (fault.kind == FaultKind::partition) {
    note_trouble(fault.lasts);
    excuse_everything();
    for (size_t slot = 0; slot < slots_.size(); ++slot) slots_[slot].half = fault.node >> slot & 1;
    later(fault.lasts, [this] {
      for (Slot& slot : slots_) slot.half = 0;
    });
    return true;
  }
  const size_t slot = fault.node;
  if (slot >= slots_.size() || slots_[slot].node == nullptr) return false;
  if (fault.kind == FaultKind::crash_node) {
    Fault crash = fault;
    crash.kind = owner() == slot ? FaultKind::crash_owner : FaultKind::crash_standby;
    return apply_to_node(crash, slot);
  }
  // A majority may be gone meanwhile, and with it who owns and who may resume.
  note_trouble(fault.lasts);
  excuse_everything();
  if (fault.kind == FaultKind::pause_node) {
    if (slots_[slot].node->paused()) return false;
    pause(slot, fault.lasts);
    return true;
  }
  const bool one_way = fault.kind == FaultKind::node_off_peer || fault.kind == FaultKind::node_off_front;
  const uint32_t way = !one_way                  ? 2
                       : fault.way == Way::drawn ? random_.below(3)
                       : fault.way == Way::both  ? 2
                       : fault.way == Way::in    ? 1
                                                 : 0;
  const bool in = fault.kind != FaultKind::mute_node && way != 0;
  const bool out = fault.kind != FaultKind::deaf_node && way != 1;
  if (fault.kind != FaultKind::node_off_front) cut(slot, peer, in, out, fault.lasts);
  if (fault.kind == FaultKind::node_off_peer) return true;
  cut(slot, front, in, out, fault.lasts);
  if (fault.kind != FaultKind::node_off_front) cut(slot, back, in, out, fault.lasts);
  return true;
}

// With etcd one that reaches it is enough.
size_t World::absent_most() const {
  return settings_.arbiter == config::Arbiter::etcd ? slots_.size() - 1 : (slots_.size() - 1) / 2;
}

size_t World::dead() const {
  return static_cast<size_t>(std::ranges::count_if(slots_, [](const Slot& slot) { return !slot.node; }));
}

// All others are well; then a minority is dead or dies or is cut off for good, and the rest must have one
// owner, and keep it.
void World::finish_with_a_majority() {
  const auto drawn = random_.below(static_cast<uint32_t>(absent_most()) + 1);
  size_t absent = std::min<size_t>(drawn, absent_most() - std::min(absent_most(), dead()));
  for (size_t slot = random_.below(static_cast<uint32_t>(slots_.size())); absent > 0; --absent) {
    do {
      slot = (slot + 1) % slots_.size();
    } while (slots_[slot].node == nullptr);
    excuse_everything();
    if (random_.chance(1, 2)) {
      kill(slot);
    } else {
      slots_[slot].half = 1;
      etcd_.ways[slot].cut = true;
    }
  }
  const auto has_one_owner = [&] {
    size_t owners = 0, speakers = 0;
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].node == nullptr || slots_[slot].half == 1) continue;
      owners += cluster::is_owner(slots_[slot].node->control().controller().machine(kGroup)->state());
      speakers += may_speak(slot);
    }
    return owners == 1 && speakers == 1;
  };
  const Instant from = now_;
  bool keeps = false;
  while (!keeps && run_until(has_one_owner, from + kElectionMost - now_)) {
    result_.slowest_election = now_ - from;
    keeps = !run_until([&] { return !has_one_owner(); }, kStaysAtLeast);
  }
  if (!keeps) complain("a connected majority has no owner that it keeps" + describe_members());
  for (Slot& slot : slots_) slot.half = 0;
  for (etcd::EtcdWay& way : etcd_.ways) way.cut = false;
}

std::string World::describe_members() const {
  std::string text;
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    const NodeInProcess* node = slots_[slot].node.get();
    if (node == nullptr) {
      text += fmt::format("; n{} is dead", slot + 1);
      continue;
    }
    const auto* machine = node->control().controller().machine(kGroup);
    text += fmt::format("; n{}{} is {} ({}){}", slot + 1, slots_[slot].half == 1 ? ", cut off," : "",
                        cluster::name_of(machine->state()), machine->why(),
                        may_speak(slot) ? " and may speak" : "");
  }
  return text;
}

}  // namespace understudy::sim
