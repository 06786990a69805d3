#include <algorithm>

#include <fmt/format.h>

#include "control/cluster/members_arbiter.h"

// The part of the arbiter in which this node asks the members: as a candidate, and as an owner.

namespace understudy::cluster {
namespace {

using Kind = VoteMessage::Kind;

}  // namespace

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
                                .void_from = group.given_up.empty() ? Epoch() : group.given_up.front()};
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
  when_kept(
      group, [=, this](Instant then) { hear(id, settings_.self, question, own, then); }, now);
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
    when_kept(
        group, [=, this](Instant then) { hear_recorded(id, settings_.self, record, then); }, now);
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
  group.given_up.clear();
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
  if (never_owned) {
    // The first one stays: requests say from which on they are void.
    if (group.given_up.size() == kGivenUpMost) group.given_up.erase(group.given_up.begin() + 1);
    group.given_up.push_back(ballot);
  }
  group.member.release(ballot, never_owned, now);
  send_release(id, ballot, never_owned);
}

void MembersArbiter::send_release(GroupId id, const Epoch& ballot, bool never_owned) {
  send({.kind = Kind::release,
        .group = id,
        .asker = settings_.boot,
        .request = {.ballot = ballot},
        .never_owned = never_owned});
}

// It is said once, and may have been lost.
void MembersArbiter::release_again(GroupId id, Group& group, Instant now) {
  if (now < group.release_again) return;
  group.release_again = now + kReleaseReminder;
  for (const Epoch& ballot : group.given_up) send_release(id, ballot, true);
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

}  // namespace understudy::cluster
