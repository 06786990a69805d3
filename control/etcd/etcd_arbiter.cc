#include "control/etcd/etcd_arbiter.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::etcd {

EtcdArbiter::EtcdArbiter(Settings settings, Transport& transport, Instant now)
    : settings_(std::move(settings)), transport_(transport), own_(settings_.own) {
  for (const GroupSettings& each : settings_.groups) {
    Group& group = groups_[each.id];
    group.settings = each;
    group.next_look = now;
  }
}

const std::string& EtcdArbiter::name_of(NodeId node) const {
  static const std::string kUnknown = "?";
  const auto found = std::ranges::find(settings_.nodes, node, &std::pair<NodeId, std::string>::first);
  return found == settings_.nodes.end() ? kUnknown : found->second;
}

// ---- what the controller asks for

void EtcdArbiter::claim(const Claim& claim, Instant now) {
  Group& group = groups_.at(claim.group);
  const auto& candidates = group.settings.candidates;
  const bool is_candidate = std::ranges::find(candidates, settings_.self) != candidates.end();
  const bool renews = group.owned && group.owned->epoch == claim.ballot;
  if (!renews) group.owned.reset();
  group.to_release.reset();
  group.asking = Asking{claim, now, renews, "etcd has not answered yet"};
  group.not_before = Instant::min();
  // What a look at the key would say now is no reason to wait.
  if (group.call && group.call->kind == CallKind::read) {
    calls_.erase(group.call->id);
    group.call.reset();
  }
  // Nobody waits for an echo of it.
  if (!is_candidate) return deny(group, "this node is none of the group's successors");
  advance(group, now);
}

void EtcdArbiter::withdraw(GroupId id, Instant now) {
  Group& group = groups_.at(id);
  if (group.asking && !group.asking->renews) bury(group, group.asking->claim);
  if (group.owned) {
    group.to_release = group.owned->epoch;
    group.release_until = now + kReleaseFor;
  }
  group.asking.reset();
  group.owned.reset();
}

void EtcdArbiter::record(GroupId id, Epoch epoch, NodeId standby, Instant now) {
  Group& group = groups_.at(id);
  if (!group.owned || group.owned->epoch != epoch) return;
  group.owned->wanted = standby;
  group.owned->owes_verdict = true;
  settle(group, now);
  advance(group, now);
}

bool EtcdArbiter::is_recorded(GroupId id, Epoch epoch, NodeId standby) const {
  const Group& group = groups_.at(id);
  if (!group.owned || group.owned->epoch != epoch || group.owned->standby != standby) return false;
  return std::ranges::all_of(group.attempts,
                             [&](const Attempt& attempt) { return attempt.record.standby == standby; });
}

Epoch EtcdArbiter::highest(GroupId id) const {
  const Group& group = groups_.at(id);
  Epoch highest = group.record.epoch;
  for (const Attempt& attempt : group.attempts) highest = std::max(highest, attempt.record.epoch);
  return highest;
}

// ---- what the key says, and what follows

Duration EtcdArbiter::look_period(const Group& group) const {
  return group.owned ? settings_.look_every_as_owner : settings_.look_every;
}

// Of what the last owner has promised. A ballot of ours that came to nothing has changed nothing.
bool EtcdArbiter::holds_connections(const Group& group, const Claim& claim) const {
  if (!claim.in_sync) return false;
  const auto dead = std::ranges::find(group.dead_claims, group.record.epoch, &Claim::ballot);
  if (dead != group.dead_claims.end()) return dead->in_sync && dead->followed == claim.followed;
  return claim.followed == group.record.epoch && group.record.holds(settings_.self);
}

// As owner: for a lease, for another in-sync set, or to learn what has become of an earlier swap.
bool EtcdArbiter::wants_swap(const Group& group, Instant now) const {
  return group.asking || group.owned->standby != group.owned->wanted || !group.attempts.empty() ||
         renewal_due(group) < now;
}

void EtcdArbiter::bury(Group& group, const Claim& claim) {
  if (group.dead_claims.size() >= kAttemptsMax) group.dead_claims.erase(group.dead_claims.begin());
  group.dead_claims.push_back(claim);
}

// What the key says now, against what we are and want.
void EtcdArbiter::settle(Group& group, Instant now) {
  if (group.owned && group.is_read && group.record.epoch != group.owned->epoch) lose(group);
  if (group.attempts.empty())
    std::erase_if(group.dead_claims, [&](const Claim& dead) { return dead.ballot < group.record.epoch; });
  if (!group.owned) return;
  if (!group.owned->owes_verdict || !is_recorded(group.settings.id, group.owned->epoch, group.owned->wanted))
    return;
  group.owned->owes_verdict = false;
  verdicts_.push_back({.kind = Verdict::Kind::recorded,
                       .group = group.settings.id,
                       .ballot = group.owned->epoch,
                       .highest = {},
                       .standby = group.owned->wanted,
                       .why = {}});
}

void EtcdArbiter::lose(Group& group) {
  group.loss = fmt::format("etcd says that {} owns `{}` under epoch {}.{}", name_of(group.record.epoch.node),
                           group.settings.key, group.record.epoch.counter, group.record.epoch.node.value());
  actions_.push_back(cluster::Event{LogLevel::warning, group.loss});
  group.owned.reset();
  if (group.asking && group.asking->renews)
    deny(group, fmt::format("{} owns it", name_of(group.record.epoch.node)));
}

void EtcdArbiter::grant(Group& group, std::string why) {
  verdicts_.push_back({.kind = Verdict::Kind::granted,
                       .group = group.settings.id,
                       .ballot = group.owned->epoch,
                       .highest = {},
                       .why = std::move(why)});
  group.asking.reset();
  group.loss.clear();
  group.dead_claims.clear();
}

void EtcdArbiter::deny(Group& group, std::string why, bool out_of_sync) {
  const Claim claim = group.asking->claim;
  verdicts_.push_back({.kind = Verdict::Kind::denied,
                       .group = group.settings.id,
                       .ballot = claim.ballot,
                       .highest = std::max(claim.ballot, highest(group.settings.id)),
                       .why = std::move(why),
                       .out_of_sync = out_of_sync});
  if (!group.asking->renews) {
    bury(group, claim);
    group.owned.reset();
  }
  group.asking.reset();
}

// ---- what is to be done next

// One call at a time for each group: what it brings decides about the next.
void EtcdArbiter::advance(Group& group, Instant now) {
  if (group.asking && group.asking->renews && group.owned && now < lease_of(group))
    grant(group, fmt::format("heard by {} again", others_of(group)));
  if (group.asking && now - group.asking->began >= settings_.patience) deny(group, group.asking->trouble);
  if (group.call || now < group.not_before) return;
  if (!group.attempts.empty() && group.read_sent < group.attempts.back().sent)
    return read(group, now);  // what has become of it?
  if (group.asking && !group.owned) return pursue_claim(group, now);
  if (group.owned) {
    if (wants_swap(group, now))
      swap(group, Record{group.owned->epoch, group.owned->wanted, false, {}}, now);
    else if (now >= group.next_look)
      read(group, now);
    return;
  }
  if (group.to_release && (group.record.epoch != *group.to_release || now >= group.release_until))
    group.to_release.reset();
  if (group.to_release || !group.attempts.empty()) {
    // Nothing is wanted any more, but a swap may still be under way: another revision ends that.
    Record record = group.record;
    record.released = record.released || group.to_release.has_value();
    if (!group.record.released || !group.attempts.empty()) return swap(group, record, now);
    group.to_release.reset();
  }
  if (now >= group.next_look) read(group, now);
}

void EtcdArbiter::pursue_claim(Group& group, Instant now) {
  Asking& asking = *group.asking;
  const Claim& claim = asking.claim;
  // What we know may be old. A swap succeeds only if it is not; a denial must not rest on it.
  const bool is_fresh = group.is_read && group.read_sent >= asking.began;
  const Record& record = group.record;
  const bool is_too_low = record.epoch >= claim.ballot;
  const bool is_out_of_sync = record.epoch != Epoch() && !claim.cold && !holds_connections(group, claim);
  // And an etcd that has not answered lately is asked for what it says before it is told anything: a swap
  // without an answer binds us until we know what has become of it.
  const bool is_doubtful = !group.trouble.empty() || now - group.read_sent > 2 * settings_.look_every;
  if (!group.is_read || is_doubtful || (!is_fresh && (group.is_foreign || is_too_low || is_out_of_sync)))
    return read(group, now);
  if (group.is_foreign)
    return deny(group, fmt::format("what stands under `{}` in etcd is no record of this program",
                                   group.settings.key));
  if (is_too_low)
    return deny(group, fmt::format("{} has owned it under epoch {}.{}", name_of(record.epoch.node),
                                   record.epoch.counter, record.epoch.node.value()));
  if (is_out_of_sync) return deny(group, "this node does not hold what the last owner promised", true);
  if (now < free_for(group, claim)) {
    asking.trouble = now < free_at(group)
                         ? fmt::format("the lease of {} may not be over", name_of(record.epoch.node))
                         : fmt::format("{} is in sync and may claim it", name_of(record.standby));
    // It may be given up sooner.
    if (now >= group.read_sent + settings_.retry) read(group, now);
    return;
  }
  if (const auto obstacle = own_.obstacle()) {
    asking.trouble = *obstacle;
    group.not_before = now + settings_.retry;
    return;
  }
  asking.trouble = "etcd has not confirmed the claim";
  swap(group, Record{claim.ballot, NodeId(), false, {}}, now);
}

void EtcdArbiter::tick(Instant now) {
  own_.tick(now, actions_);
  for (const Reply& reply : transport_.take_replies()) {
    const auto found = calls_.find(reply.call);
    if (found == calls_.end()) continue;
    Group& group = groups_.at(found->second);
    calls_.erase(found);
    take_reply(group, reply, now);
  }
  for (auto& [id, group] : groups_) {
    if (group.call && now >= group.call->give_up) {
      calls_.erase(group.call->id);
      fail(group, "it does not answer", now);
    }
    advance(group, now);
  }
}

Instant EtcdArbiter::due_at(const Group& group) const {
  const Instant patience = group.asking ? group.asking->began + settings_.patience : kNever;
  if (group.call) return std::min(patience, group.call->give_up);
  Instant next = group.next_look;
  if (group.owned && lease_of(group) != Instant::min()) next = std::min(next, renewal_due(group));
  if (group.asking && !group.owned)
    next = std::min({next, free_for(group, group.asking->claim), group.read_sent + settings_.retry});
  if (!group.attempts.empty() || group.to_release) next = group.not_before;
  return std::min(patience, std::max(next, group.not_before));
}

Instant EtcdArbiter::next_deadline() const {
  Instant next = own_.next_deadline();
  for (const auto& [id, group] : groups_) next = std::min(next, due_at(group));
  return next;
}

}  // namespace understudy::etcd
