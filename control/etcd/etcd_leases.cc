#include <algorithm>

#include <fmt/format.h>

#include "control/etcd/etcd_arbiter.h"

// The part of the arbiter that counts: until when an owner may speak, what it echoes as a candidate, and from
// when on nobody speaks any more.

namespace understudy::etcd {
namespace {

constexpr size_t kBeatsKept = 64;

}  // namespace

Instant EtcdArbiter::lease_by_echo(const Group& group) const {
  const Owned& owned = *group.owned;
  Instant echoed = kNever - settings_.lease;
  for (const NodeId node : group.settings.candidates) {
    if (node == settings_.self) continue;
    const auto found = owned.echoed.find(node);
    echoed = std::min(echoed, found == owned.echoed.end() ? Instant::min() : found->second);
  }
  // Alone among the candidates, nobody can contradict us.
  return echoed == Instant::min() ? Instant::min() : echoed + settings_.lease;
}

Instant EtcdArbiter::lease_of(const Group& group) const {
  return std::max(group.owned->lease_by_swap, lease_by_echo(group));
}

Instant EtcdArbiter::renewal_due(const Group& group) const {
  const Instant lease = lease_of(group);
  if (lease == Instant::min()) return lease;
  const bool by_swap = group.owned->lease_by_swap >= lease_by_echo(group);
  return lease - (by_swap ? settings_.renew_before_by_swap : settings_.renew_before);
}

std::string EtcdArbiter::others_of(const Group& group) const {
  std::string names;
  for (const NodeId node : group.settings.candidates)
    if (node != settings_.self) names += fmt::format("{}{}", names.empty() ? "" : " and ", name_of(node));
  return names;
}

std::string EtcdArbiter::why_lease_ended(GroupId id) const {
  const Group& group = groups_.at(id);
  if (!group.loss.empty()) return group.loss;
  const std::string others = others_of(group);
  const std::string since = fmt::format("for {} ms{}", to_ms(settings_.lease),
                                        group.trouble.empty() ? "" : fmt::format(" ({})", group.trouble));
  if (others.empty()) return fmt::format("etcd has not renewed its lease {}", since);
  return fmt::format("neither has {} echoed its heartbeats nor etcd renewed its lease {}", others, since);
}

Instant EtcdArbiter::lease_until(GroupId id, Epoch epoch) const {
  const Group& group = groups_.at(id);
  return group.owned && group.owned->epoch == epoch ? lease_of(group) : Instant::min();
}

void EtcdArbiter::on_beat_sent(uint32_t number, Instant sent) {
  beats_[number] = sent;
  while (beats_.size() > kBeatsKept) beats_.erase(beats_.begin());
}

void EtcdArbiter::on_beat(const mirror::Heartbeat& beat, Instant received) {
  for (const mirror::GroupBeat& says : beat.groups) {
    const auto found = groups_.find(says.group);
    if (found == groups_.end()) continue;
    Group& group = found->second;
    if (group.owned && says.echoed == group.owned->epoch) {
      const auto sent = beats_.find(says.echo_number);
      if (sent != beats_.end()) {
        Instant& newest = group.owned->echoed.try_emplace(beat.node, sent->second).first->second;
        newest = std::max(newest, sent->second);
      }
    }
    if (says.role == mirror::GroupRole::owner && says.epoch.node == beat.node)
      hear_owner(group, beat.number, says.epoch, received);
  }
}

// Whether it has a lease at the moment is its affair: an echo promises not to swap, and gives it one.
void EtcdArbiter::hear_owner(Group& group, uint32_t number, Epoch epoch, Instant received) {
  const bool is_free = !group.owned && !group.asking && group.attempts.empty();
  if (!is_free || epoch < std::max(group.record.epoch, group.echo_epoch)) return;
  group.last_echo = std::max(group.last_echo, received);
  if (epoch == group.echo_epoch && static_cast<int32_t>(number - group.echo_number) <= 0) return;
  group.echo_epoch = epoch;
  group.echo_number = number;
}

void EtcdArbiter::fill(mirror::GroupBeat& beat) const {
  const auto found = groups_.find(beat.group);
  if (found == groups_.end()) return;
  const Group& group = found->second;
  if (group.owned || group.asking || !group.attempts.empty()) return;
  beat.echoed = group.echo_epoch;
  beat.echo_number = group.echo_number;
}

// When the last lease that the key's owner can have is over.
Instant EtcdArbiter::free_at(const Group& group) const {
  const bool nobody = group.revision == 0 || group.record.epoch.node == NodeId();
  if (nobody || group.record.released || group.record.epoch.node == settings_.self) return Instant::min();
  // A restarted candidate has seen no revision before its start: what it echoed in its former life is over,
  // too.
  const Instant by_echo = group.last_echo == Instant::min() ? Instant::min() : group.last_echo + embargo();
  return std::max(by_echo, group.first_seen + embargo());
}

// When it may be claimed so. A node that is in sync needs a moment to find the owner dead and to claim; one
// that would lose the connections and has waited for longer than that must not come before it.
Instant EtcdArbiter::free_for(const Group& group, const Claim& claim) const {
  const Instant free = free_at(group);
  const NodeId standby = group.record.standby;
  const bool another_holds = standby != NodeId() && standby != settings_.self && !group.record.released;
  const Instant owner_lived = std::max(group.last_echo, group.changed);
  if (!claim.cold || !another_holds || owner_lived == Instant::min()) return free;
  return std::max(free, owner_lived + settings_.cold_after);
}

}  // namespace understudy::etcd
