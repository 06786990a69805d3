#include "control/etcd/etcd_arbiter.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::etcd {
namespace {

constexpr size_t kBeatsKept = 64;
constexpr size_t kAttemptsMax = 64;
constexpr Duration kReleaseFor = 1s;

}  // namespace

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

std::string EtcdArbiter::request_id() {
  return fmt::format("{}-{:016x}-{}", name_of(settings_.self), settings_.boot.value(), ++requests_drawn_);
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

// ---- leases and echoes

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

// ---- calls

void EtcdArbiter::read(Group& group, Instant now) {
  const uint64_t id = ++calls_begun_;
  group.call = Call{id, CallKind::read, endpoint_, now, now + 2 * settings_.timeout};
  calls_[id] = group.settings.id;
  transport_.post(id, endpoint_, kRangePath, range_request(group.settings.key), settings_.timeout);
}

void EtcdArbiter::swap(Group& group, Record record, Instant now) {
  if (group.attempts.size() >= kAttemptsMax) return read(group, now);
  record.request = request_id();
  group.attempts.push_back({record, now});
  const uint64_t id = ++calls_begun_;
  group.call = Call{id, CallKind::swap, endpoint_, now, now + 2 * settings_.timeout};
  calls_[id] = group.settings.id;
  transport_.post(id, endpoint_, kTxnPath, swap_request(group.settings.key, group.revision, encode(record)),
                  settings_.timeout);
}

void EtcdArbiter::note_endpoint(size_t endpoint, const std::string& trouble) {
  Endpoint& known = troubled_[endpoint];
  if (known.trouble.empty() == trouble.empty()) return;
  known.trouble = trouble;
  if (trouble.empty()) known.objection.clear();
  if (trouble.empty())
    actions_.push_back(
        cluster::Event{LogLevel::notice, fmt::format("etcd at {} answers again", transport_.name(endpoint))});
  else
    actions_.push_back(
        cluster::Event{LogLevel::warning, fmt::format("etcd at {}: {}", transport_.name(endpoint), trouble)});
}

void EtcdArbiter::fail(Group& group, const std::string& why, Instant now) {
  const size_t endpoint = group.call->endpoint;
  note_endpoint(endpoint, why);
  group.trouble = fmt::format("etcd at {}: {}", transport_.name(endpoint), why);
  if (group.asking) group.asking->trouble = group.trouble;
  if (endpoint == endpoint_) endpoint_ = (endpoint_ + 1) % transport_.endpoints();
  group.call.reset();
  group.not_before = now + settings_.retry;
  group.next_look = std::max(group.next_look, now + look_period(group));
}

// One that was away may be another when it is back: that is told beside what was told already.
void EtcdArbiter::refuse(Group& group, const std::string& objection, Instant now) {
  Endpoint& known = troubled_[group.call->endpoint];
  if (known.objection != objection) known.trouble.clear();
  known.objection = objection;
  fail(group, objection, now);
}

void EtcdArbiter::take_reply(Group& group, const Reply& reply, Instant now) {
  if (!group.call || group.call->id != reply.call) return;  // given up already
  const bool is_swap = group.call->kind == CallKind::swap;
  if (is_swap && !reply.left) group.attempts.pop_back();  // for certain it has not come to pass
  if (reply.status == 0) return fail(group, reply.error, now);
  const auto answer = is_swap ? parse_swap_answer(reply.status, reply.body, group.settings.key)
                              : parse_range_answer(reply.status, reply.body, group.settings.key);
  if (!answer) return fail(group, answer.message(), now);
  if (const auto objection = own_.objection(answer.value().cluster)) return refuse(group, *objection, now);
  if (answer.value().revision < group.revision)
    return fail(group,
                fmt::format("it says revision {} of `{}`, which had revision {} before",
                            answer.value().revision, group.settings.key, group.revision),
                now);
  // A swap that was done makes a new revision, and one that was refused was refused because there is one.
  if (is_swap && answer.value().revision == group.revision)
    return fail(group, "it answers a swap with the revision that the key had before", now);
  own_.accept(answer.value().cluster, actions_);
  note_endpoint(group.call->endpoint, "");
  group.trouble.clear();
  const Call call = *group.call;
  group.call.reset();
  group.next_look = now + look_period(group);
  take_state(group, answer.value(), call, now);
}

void EtcdArbiter::take_state(Group& group, const Answer& answer, const Call& call, Instant now) {
  const bool is_new = !group.is_read || answer.revision != group.revision;
  group.is_read = true;
  group.read_sent = call.sent;
  if (is_new) {
    if (group.first_seen != Instant::min()) group.changed = now;
    group.revision = answer.revision;
    group.first_seen = now;
  }
  if (answer.swapped) {
    const Attempt done = group.attempts.back();
    group.attempts.clear();  // the others compared the same revision
    group.record = done.record;
    group.is_foreign = false;
    succeed(group, done, call.endpoint, now);
  } else if (is_new) {
    const auto record = decode_record(answer.value);
    group.is_foreign = answer.revision != 0 && !record;
    group.record = record.value_or(Record());
    const auto ours = std::ranges::find(group.attempts, group.record.request,
                                        [](const Attempt& attempt) { return attempt.record.request; });
    const std::optional<Attempt> done =
        record && ours != group.attempts.end() ? std::optional(*ours) : std::nullopt;
    group.attempts.clear();  // the key has another revision than they compare
    if (done) succeed(group, *done, call.endpoint, now);
  }
  settle(group, now);
}

void EtcdArbiter::succeed(Group& group, const Attempt& attempt, size_t endpoint, Instant now) {
  const Epoch epoch = attempt.record.epoch;
  const bool is_claim = group.asking && !group.asking->renews && group.asking->claim.ballot == epoch;
  if (is_claim && !group.owned) group.owned = Owned{.epoch = epoch, .echoed = {}};
  if (group.owned && group.owned->epoch == epoch) {
    group.owned->standby = attempt.record.standby;
    group.owned->lease_by_swap = std::max(group.owned->lease_by_swap, attempt.sent + settings_.lease);
    if (group.asking && now < lease_of(group))
      grant(group, fmt::format("etcd at {} has written ballot {}.{} into `{}`, revision {}",
                               transport_.name(endpoint), epoch.counter, epoch.node.value(),
                               group.settings.key, group.revision));
    return;
  }
  // A claim that was withdrawn has come to pass after all: whoever comes next need not wait for us.
  if (epoch.node == settings_.self && !attempt.record.released) {
    group.to_release = epoch;
    group.release_until = now + kReleaseFor;
  }
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
