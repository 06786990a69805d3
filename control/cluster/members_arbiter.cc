#include "control/cluster/members_arbiter.h"

#include <algorithm>

#include <fmt/format.h>

#include "control/cluster/kept_promises.h"

namespace understudy::cluster {
namespace {

constexpr size_t kDeferredMax = 256;
constexpr Duration kKeepAgain = 100ms;

using Kind = VoteMessage::Kind;

}  // namespace

MembersArbiter::MembersArbiter(Settings settings, const KeptMemory& memory, Instant now)
    : settings_(std::move(settings)),
      votes_{settings_.members.size(), settings_.lease, settings_.cold_after} {
  const auto kept =
      memory.state == KeptMemory::State::readable ? decode_promises(memory.bytes) : std::nullopt;
  const bool lost = memory.state != KeptMemory::State::none && !kept;
  for (const GroupId id : settings_.groups) {
    // Whoever finds nothing waits, too: somebody may have thrown it away.
    std::optional<KeptPromise> promise = KeptPromise();
    if (lost)
      promise.reset();
    else if (kept && kept->contains(id))
      promise = kept->at(id);
    Group& group = groups_
                       .emplace(id, Group{.member = VoteMember(votes_, promise, now),
                                          .asking = {},
                                          .owned = {},
                                          .recording = {},
                                          .echoed = {},
                                          .holder_heard = {}})
                       .first->second;
    group.wanted = group.promise();
  }
  if (lost)
    actions_.push_back(Event{LogLevel::error,
                             "what this node promised before its restart cannot be read: it votes for nobody "
                             "until an owner has told it who is in sync"});
  bytes_wanted_ = memory.bytes;
}

const std::string& MembersArbiter::name_of(NodeId node) const {
  static const std::string kUnknown = "?";
  const auto found = std::ranges::find(settings_.members, node, &std::pair<NodeId, std::string>::first);
  return found == settings_.members.end() ? kUnknown : found->second;
}

// ---- promises on disk

std::vector<uint8_t> MembersArbiter::encode_promises() const {
  Promises promises;
  for (const auto& [id, group] : groups_) promises[id] = group.promise();
  return cluster::encode_promises(promises);
}

// At once if a restart would find already what has been promised for this group: another one's owner does not
// lose its lease because this one's promise takes the disk a while.
void MembersArbiter::when_kept(Group& group, std::function<void(Instant)> then, Instant now) {
  auto bytes = encode_promises();
  if (bytes != bytes_wanted_) {
    bytes_wanted_ = std::move(bytes);
    actions_.push_back(Keep{++sequence_, bytes_wanted_});
    for (auto& [id, each] : groups_) {
      const auto promise = each.promise();
      if (promise == each.wanted) continue;
      each.wanted = promise;
      each.wanted_sequence = sequence_;
    }
  }
  if (group.wanted_sequence <= sequence_kept_)
    then(now);
  else if (deferred_.size() < kDeferredMax)  // a disk that fails: whoever waits asks again
    deferred_.push_back({group.wanted_sequence, std::move(then)});
}

void MembersArbiter::on_kept(uint64_t sequence, bool is_kept, Instant now) {
  if (!is_kept) {
    keep_again_ = now + kKeepAgain;
    actions_.push_back(Event{
        LogLevel::error, "what this node promises cannot be kept on disk: it votes for nobody until it can"});
    return;
  }
  sequence_kept_ = std::max(sequence_kept_, sequence);
  std::vector<Deferred> due;
  std::erase_if(deferred_, [&](Deferred& each) {
    if (each.sequence > sequence_kept_) return false;
    due.push_back(std::move(each));
    return true;
  });
  for (const Deferred& each : due) each.then(now);
}

void MembersArbiter::send(const VoteMessage& message) {
  actions_.push_back(SendVote{encode(message)});
}

// ---- as a member

// A member that restarted may have lost what it had confirmed: it is told again.
void MembersArbiter::note_life(NodeId node, BootId boot, Instant now) {
  const auto [life, is_new] = lives_.try_emplace(node, boot);
  if (is_new || life->second == boot) return;
  life->second = boot;
  for (auto& [id, group] : groups_) {
    if (!group.recording) continue;
    group.recording->confirmed.erase(node);
    group.recording->repeat_at = std::min(group.recording->repeat_at, now);
  }
}

void MembersArbiter::on_beat(const mirror::Heartbeat& beat, Instant received) {
  note_life(beat.node, beat.boot, received);
  for (const mirror::GroupBeat& says : beat.groups) {
    const auto found = groups_.find(says.group);
    if (found == groups_.end()) continue;
    Group& group = found->second;
    if (lags(group, beat.node, says)) release_again(says.group, group, received);
    if (group.owned && says.echoed == group.owned->epoch)
      group.owned->lease.echoed(beat.node, says.echo_number);
    const bool holds = says.role == mirror::GroupRole::fenced ||
                       (says.role == mirror::GroupRole::standby && !says.legs_stale);
    if (holds)
      group.holder_heard[beat.node] = received;
    else
      group.holder_heard.erase(beat.node);
    const bool owns = says.role == mirror::GroupRole::owner && says.leased && says.epoch.node == beat.node;
    if (!owns || !group.member.hear_owner(says.epoch, received)) continue;
    when_kept(
        group,
        [&group, epoch = says.epoch, number = beat.number](Instant) {
          if (group.echoed == epoch && static_cast<int32_t>(number - group.echo_number) <= 0) return;
          group.echoed = epoch;
          group.echo_number = number;
        },
        received);
  }
}

void MembersArbiter::fill(mirror::GroupBeat& beat) const {
  const auto found = groups_.find(beat.group);
  if (found == groups_.end()) return;
  beat.echoed = found->second.echoed;
  beat.echo_number = found->second.echo_number;
}

// We hear an owner whom that member does not echo, though we have given up ballots above its epoch.
bool MembersArbiter::lags(const Group& group, NodeId member, const mirror::GroupBeat& says) const {
  if (group.given_up.empty() || group.asking || group.owned) return false;
  if (group.echoed == Epoch() || group.echoed.node == member) return false;
  return says.echoed != group.echoed ||
         static_cast<int32_t>(group.echo_number - says.echo_number) > kEchoesBehindMost;
}

// Somebody else than the candidate, who is in sync as far as this member knows.
bool MembersArbiter::holder_lives(const Group& group, NodeId candidate, Instant now) const {
  const InSyncRecord& record = group.member.kept().record;
  const auto counts = [&](NodeId node) { return node != candidate && record.holds(node); };
  return (group.holds && counts(settings_.self)) ||
         std::ranges::any_of(group.holder_heard, [&](const auto& heard) {
           return counts(heard.first) && now < heard.second + settings_.dead_after;
         });
}

// A record that has not reached this member yet may come with the question: whoever it names is in sync. Of
// our own ballots nobody knows more than we do, and perhaps not yet that we have given one up.
void MembersArbiter::answer(GroupId id, Group& group, const VoteMessage& question, Instant now) {
  if (question.record.epoch.node != settings_.self) group.member.learn(question.record);
  const bool holder = holder_lives(group, question.request.ballot.node, now);
  const TakeoverAnswer given = group.member.ask(question.request, now, holder);
  const VoteMessage message{.kind = Kind::answer,
                            .group = id,
                            .asker = question.asker,
                            .question = question.question,
                            .answer = given};
  if (given.is_grant())
    when_kept(
        group, [this, message](Instant) { send(message); }, now);
  else
    send(message);
}

void MembersArbiter::take_record(GroupId id, Group& group, NodeId from, const InSyncRecord& record,
                                 Instant now) {
  if (record.epoch.node != from || !group.member.record(record)) return;
  when_kept(
      group,
      [this, id, record](Instant) {
        send({.kind = Kind::recorded, .group = id, .asker = settings_.boot, .record = record});
      },
      now);
}

void MembersArbiter::on_vote(NodeId from, BootId, std::span<const uint8_t> payload, Instant now) {
  const auto message = decode_vote_message(payload);
  if (!message || from == settings_.self) return;
  const bool is_member = std::ranges::find(settings_.members, from, &std::pair<NodeId, std::string>::first) !=
                         settings_.members.end();
  const auto found = groups_.find(message->group);
  if (!is_member || found == groups_.end()) return;
  const GroupId id = found->first;
  Group& group = found->second;
  switch (message->kind) {
    case Kind::request:
      if (message->request.ballot.node == from) answer(id, group, *message, now);
      break;
    case Kind::answer:
      if (message->asker == settings_.boot) hear(id, from, message->question, message->answer, now);
      break;
    case Kind::release:
      if (message->request.ballot.node == from)
        group.member.release(message->request.ballot, message->never_owned, now);
      break;
    case Kind::record:
      take_record(id, group, from, message->record, now);
      break;
    case Kind::recorded:
      hear_recorded(id, from, message->record, now);
      break;
  }
}

// ---- time

void MembersArbiter::tick(Instant now) {
  if (keep_again_ <= now) {
    keep_again_ = kNever;
    actions_.push_back(
        Keep{++sequence_, bytes_wanted_});  // whoever waits for an older one is content with it
  }
  for (auto& [id, group] : groups_) {
    if (group.asking) {
      Asking& asking = *group.asking;
      const bool too_late = now >= asking.candidate.began() + settings_.lease;
      if (too_late || now >= asking.quiet_since + settings_.lease / 2) {
        deny(id, group, asking.has_grants ? "the members do not confirm the in-sync set" : reasons(asking));
      } else if (now >= asking.repeat_at) {
        asking.repeat_at = now + settings_.repeat;
        send_request(id, asking);
      }
    }
    if (!group.recording || now < group.recording->repeat_at) continue;
    Recording& recording = *group.recording;
    recording.repeat_at = recording.confirmed.size() == votes_.members ? kNever
                          : recording.done                             ? now + kRecordReminder
                                                                       : now + settings_.repeat;
    // An owner without a lease changes nothing any more: a successor may be on its way.
    const bool may_change = group.asking || (group.owned && now < group.owned->lease.until());
    if (recording.confirmed.size() < votes_.members && may_change) send_record(id, recording);
  }
}

Instant MembersArbiter::next_deadline() const {
  Instant next = keep_again_;
  for (const auto& [id, group] : groups_) {
    if (group.asking)
      next = std::min({next, group.asking->repeat_at, group.asking->candidate.began() + settings_.lease,
                       group.asking->quiet_since + settings_.lease / 2});
    if (group.recording) next = std::min(next, group.recording->repeat_at);
  }
  return next;
}

}  // namespace understudy::cluster
