#include "control/cluster/members_arbiter.h"

#include <algorithm>

#include <fmt/format.h>

#include "control/cluster/kept_promises.h"

namespace understudy::cluster {
namespace {

constexpr size_t kDeferredMax = 256;
// Of an in-sync set that a majority has and somebody not yet.
constexpr Duration kRecordReminder = 200ms;
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
    groups_.emplace(id, Group{.member = VoteMember(votes_, promise, now),
                              .asking = {},
                              .owned = {},
                              .recording = {},
                              .echoed = {},
                              .holder_heard = {}});
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
  for (const auto& [id, group] : groups_)
    promises[id] = group.member.has_lost_memory() ? std::nullopt : std::optional(group.member.kept());
  return cluster::encode_promises(promises);
}

// At once if a restart would find already what has been promised.
void MembersArbiter::when_kept(std::function<void(Instant)> then, Instant now) {
  auto bytes = encode_promises();
  if (bytes != bytes_wanted_) {
    bytes_wanted_ = std::move(bytes);
    actions_.push_back(Keep{++sequence_, bytes_wanted_});
  }
  if (sequence_kept_ == sequence_)
    then(now);
  else if (deferred_.size() < kDeferredMax)  // a disk that fails: whoever waits asks again
    deferred_.push_back({sequence_, std::move(then)});
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

// ---- as a candidate and as an owner

void MembersArbiter::send(const VoteMessage& message) {
  actions_.push_back(SendVote{encode(message)});
}

void MembersArbiter::send_request(GroupId id, const Asking& asking) {
  send({.kind = Kind::request,
        .group = id,
        .asker = settings_.boot,
        .question = asking.question,
        .request = asking.candidate.request(),
        .record = groups_.at(id).member.kept().record});
}

void MembersArbiter::send_record(GroupId id, const Recording& recording) {
  send({.kind = Kind::record, .group = id, .asker = settings_.boot, .record = recording.record});
}

void MembersArbiter::claim(const Claim& claim, Instant now) {
  Group& group = groups_.at(claim.group);
  if (group.owned && group.owned->epoch != claim.ballot) group.owned.reset();
  const TakeoverRequest request{.ballot = claim.ballot,
                                .followed = claim.in_sync ? claim.followed : Epoch(),
                                .cold = claim.cold,
                                .void_from = group.void_from};
  group.asked = std::max(group.asked, claim.ballot);
  group.asking.reset();
  pose(claim.group, group, request, now);
}

void MembersArbiter::pose(GroupId id, Group& group, const TakeoverRequest& request, Instant now) {
  group.asking = Asking{.candidate = VoteCandidate(votes_, request, now),
                        .question = ++questions_,
                        .renews = group.owned && group.owned->epoch == request.ballot,
                        .is_recorded = group.asking && group.asking->has_grants,
                        .repeat_at = now + settings_.repeat,
                        .quiet_since = now};
  send_request(id, *group.asking);
  const TakeoverAnswer own = group.member.ask(request, now, holder_lives(group, settings_.self, now));
  const uint32_t question = group.asking->question;
  when_kept([=, this](Instant then) { hear(id, settings_.self, question, own, then); }, now);
}

void MembersArbiter::hear(GroupId id, NodeId from, uint32_t question, const TakeoverAnswer& answer,
                          Instant now) {
  Group& group = groups_.at(id);
  if (!group.asking || group.asking->question != question || group.asking->has_grants) return;
  Asking& asking = *group.asking;
  const auto before = asking.candidate.answers();
  asking.candidate.hear(from, answer, now);
  if (before != asking.candidate.answers()) asking.quiet_since = now;
  if (from == settings_.self) asking.own = answer.reason;
  weigh(id, group, now);
}

// Our own grant has to be among them: so a restart of this node knows of every ballot under which it may have
// owned.
void MembersArbiter::weigh(GroupId id, Group& group, Instant now) {
  Asking& asking = *group.asking;
  const auto& answers = asking.candidate.answers();
  if (asking.candidate.state() == VoteCandidate::State::failed) return deny(id, group, reasons(asking));
  if (asking.own.value_or(VoteReason::granted) != VoteReason::granted)
    return deny(id, group, reasons(asking));
  const auto denials = static_cast<size_t>(std::ranges::count_if(
      answers, [](const auto& answer) { return answer.second != VoteReason::granted; }));
  if (denials + votes_.majority() > votes_.members) return deny(id, group, reasons(asking));
  if (asking.candidate.state() != VoteCandidate::State::granted || !asking.own) return;
  asking.has_grants = true;
  asking.quiet_since = now;
  asking.repeat_at = kNever;
  if (asking.renews || asking.is_recorded) return grant(id, group);
  begin_record(id, group, {.epoch = asking.candidate.request().ballot, .version = 1, .standby = NodeId()},
               now);
}

void MembersArbiter::begin_record(GroupId id, Group& group, const InSyncRecord& record, Instant now) {
  group.recording = Recording{.record = record, .confirmed = {}, .repeat_at = now + settings_.repeat};
  send_record(id, *group.recording);
  if (group.member.record(record))
    when_kept([=, this](Instant then) { hear_recorded(id, settings_.self, record, then); }, now);
}

void MembersArbiter::hear_recorded(GroupId id, NodeId from, const InSyncRecord& record, Instant now) {
  Group& group = groups_.at(id);
  if (!group.recording || group.recording->record != record) return;
  Recording& recording = *group.recording;
  recording.confirmed.insert(from);
  if (group.asking) group.asking->quiet_since = now;
  if (recording.done || recording.confirmed.size() < votes_.majority()) return;
  recording.done = true;
  recording.repeat_at = now + kRecordReminder;
  if (group.asking && group.asking->has_grants && group.asking->candidate.request().ballot == record.epoch) {
    TakeoverRequest request = group.asking->candidate.request();
    if (group.asking->candidate.lease_until() - now >= settings_.lease / 2) return grant(id, group);
    // By the record we are in sync with ourselves.
    request.followed = request.ballot;
    request.cold = false;
    return pose(id, group, request, now);
  }
  verdicts_.push_back({.kind = Verdict::Kind::recorded,
                       .group = id,
                       .ballot = record.epoch,
                       .highest = {},
                       .standby = record.standby,
                       .why = {}});
}

void MembersArbiter::grant(GroupId id, Group& group) {
  const VoteCandidate& candidate = group.asking->candidate;
  const Epoch ballot = candidate.request().ballot;
  group.void_from = Epoch();
  group.owned = Owned{VoteLease(votes_, settings_.self, candidate.lease_until()), ballot};
  verdicts_.push_back({.kind = Verdict::Kind::granted,
                       .group = id,
                       .ballot = ballot,
                       .highest = {},
                       .why = consent(*group.asking)});
  group.asking.reset();
}

void MembersArbiter::deny(GroupId id, Group& group, std::string why) {
  const Asking& asking = *group.asking;
  const Epoch ballot = asking.candidate.request().ballot;
  verdicts_.push_back(
      {.kind = Verdict::Kind::denied,
       .group = id,
       .ballot = ballot,
       .highest = std::max(ballot, asking.candidate.highest()),
       .why = std::move(why),
       .out_of_sync = asking.candidate.is_out_of_sync() || asking.own == VoteReason::not_in_sync});
  const bool keeps_ballot = asking.renews;
  group.asking.reset();
  if (keeps_ballot) return;
  // Whoever comes next need not wait for what was promised to us.
  if (group.recording && group.recording->record.epoch == ballot) group.recording.reset();
  release(id, group, ballot, true, Instant::min());
}

void MembersArbiter::release(GroupId id, Group& group, const Epoch& ballot, bool never_owned, Instant now) {
  if (never_owned && group.void_from == Epoch()) group.void_from = ballot;
  group.member.release(ballot, never_owned, now);
  send({.kind = Kind::release,
        .group = id,
        .asker = settings_.boot,
        .request = {.ballot = ballot},
        .never_owned = never_owned});
}

// "n2 and n3 granted it, of 3 members"
std::string MembersArbiter::consent(const Asking& asking) const {
  std::string names;
  for (const auto& [node, answer] : asking.candidate.answers()) {
    if (answer != VoteReason::granted || node == settings_.self) continue;
    names += fmt::format("{}{}", names.empty() ? "" : " and ", name_of(node));
  }
  return fmt::format("{} granted ballot {}.{}, and with this node that is a majority of {} members", names,
                     asking.candidate.request().ballot.counter, settings_.self.value(), votes_.members);
}

// "n2 has promised to wait for another node; n3 does not answer"
std::string MembersArbiter::reasons(const Asking& asking) const {
  std::string text;
  for (const auto& [node, name] : settings_.members) {
    const auto answer = asking.candidate.answers().find(node);
    if (answer != asking.candidate.answers().end() && answer->second == VoteReason::granted) continue;
    if (!text.empty()) text += "; ";
    text += answer == asking.candidate.answers().end()
                ? fmt::format("{} has not answered", name)
                : fmt::format("{} says: {}", name, explain(answer->second));
  }
  if (asking.candidate.is_out_of_sync())
    text = fmt::format("{}{}{}", explain(VoteReason::not_in_sync), text.empty() ? "" : "; ", text);
  return text.empty() ? "no majority in time" : text;
}

void MembersArbiter::withdraw(GroupId id, Instant now) {
  Group& group = groups_.at(id);
  std::map<Epoch, bool> over;  // ballot -> it was never owned
  if (group.asking) over[group.asking->candidate.request().ballot] = true;
  if (group.owned) over[group.owned->epoch] = false;
  group.asking.reset();
  group.owned.reset();
  group.recording.reset();
  for (const auto& [ballot, never_owned] : over) release(id, group, ballot, never_owned, now);
}

void MembersArbiter::record(GroupId id, Epoch epoch, NodeId standby, Instant now) {
  Group& group = groups_.at(id);
  if (!group.owned || group.owned->epoch != epoch) return;
  const uint32_t version = group.recording ? group.recording->record.version : 1;
  if (group.recording && group.recording->record.standby == standby) {
    if (group.recording->done)
      verdicts_.push_back({.kind = Verdict::Kind::recorded,
                           .group = id,
                           .ballot = epoch,
                           .highest = {},
                           .standby = standby,
                           .why = {}});
    return;
  }
  begin_record(id, group, {.epoch = epoch, .version = version + 1, .standby = standby}, now);
}

bool MembersArbiter::is_recorded(GroupId id, Epoch epoch, NodeId standby) const {
  const auto& recording = groups_.at(id).recording;
  return recording && recording->done && recording->record.epoch == epoch &&
         recording->record.standby == standby;
}

Epoch MembersArbiter::highest(GroupId id) const {
  const Group& group = groups_.at(id);
  const KeptPromise& kept = group.member.kept();
  return std::max({kept.promised, kept.record.epoch, group.asked});
}

Instant MembersArbiter::lease_until(GroupId id, Epoch epoch) const {
  const auto& owned = groups_.at(id).owned;
  return owned && owned->epoch == epoch ? owned->lease.until() : Instant::min();
}

std::optional<std::string> MembersArbiter::obstacle(size_t heard) const {
  if (heard + 1 >= votes_.majority()) return std::nullopt;
  return "no majority of the members is heard, so it may be this node that is cut off";
}

std::string MembersArbiter::why_lease_ended(GroupId) const {
  return fmt::format("no majority has echoed a heartbeat of this node for {} ms", to_ms(settings_.lease));
}

// We are a member like the others: our own echo binds us as theirs do them.
void MembersArbiter::on_beat_sent(uint32_t number, Instant sent) {
  for (auto& [id, group] : groups_)
    if (group.owned && sent < group.owned->lease.until() && group.member.hear_owner(group.owned->epoch, sent))
      group.owned->lease.sent(number, sent);
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
    when_kept([this, message](Instant) { send(message); }, now);
  else
    send(message);
}

void MembersArbiter::take_record(GroupId id, Group& group, NodeId from, const InSyncRecord& record,
                                 Instant now) {
  if (record.epoch.node != from || !group.member.record(record)) return;
  when_kept(
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
