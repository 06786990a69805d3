#include <algorithm>

#include <fmt/format.h>

#include "control/etcd/etcd_arbiter.h"

// The part of the arbiter that talks to etcd: reads and swaps, what their answers say of the key and of swaps
// without an answer, and which endpoint is asked.

namespace understudy::etcd {

std::string EtcdArbiter::request_id() {
  return fmt::format("{}-{:016x}-{}", name_of(settings_.self), settings_.boot.value(), ++requests_drawn_);
}

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

}  // namespace understudy::etcd
