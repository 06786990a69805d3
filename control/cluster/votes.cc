#include "control/cluster/votes.h"

#include <algorithm>

namespace understudy::cluster {

std::string_view explain(VoteReason reason) {
  switch (reason) {
    case VoteReason::granted:
      return "granted";
    case VoteReason::restarted:
      return "it restarted a moment ago and may have promised something before";
    case VoteReason::memory_lost:
      return "it cannot read what it promised before and has not learnt yet who is in sync";
    case VoteReason::lease_is_live:
      return "it has promised to wait for another node whose lease may not be over";
    case VoteReason::promised_higher:
      return "it has granted a higher ballot";
    case VoteReason::not_in_sync:
      return "the candidate does not hold what the last owner promised";
    case VoteReason::holder_lives:
      return "somebody is heard who holds the connections, and the owner has not been silent for long";
  }
  return "unknown";
}

VoteMember::VoteMember(const VoteSettings& settings, const std::optional<KeptPromise>& kept, Instant now)
    : settings_(settings), memory_lost_(!kept), silent_until_(now + settings.embargo()) {
  if (kept) kept_ = *kept;
}

VoteReason VoteMember::judge(const TakeoverRequest& request, Instant now, bool holder_lives) const {
  if (now < silent_until_) return VoteReason::restarted;
  if (memory_lost_) return VoteReason::memory_lost;
  if (request.ballot < kept_.promised) return VoteReason::promised_higher;
  const bool waits_for_another = now < embargo_until_ && request.ballot.node != kept_.promised.node;
  if (waits_for_another) return VoteReason::lease_is_live;
  // For a while only: who is in sync may be unable to get a majority.
  if (request.cold && holder_lives && now < owner_heard_ + settings_.cold_after)
    return VoteReason::holder_lives;
  const InSyncRecord& record = kept_.record;
  const bool somebody_owned = record.epoch != Epoch();
  const bool in_sync = request.followed == record.epoch && record.holds(request.ballot.node);
  if (somebody_owned && !request.cold && !in_sync) return VoteReason::not_in_sync;
  return VoteReason::granted;
}

// The promise is also an embargo: the candidate's lease runs from before it asked.
TakeoverAnswer VoteMember::ask(const TakeoverRequest& request, Instant now, bool holder_lives) {
  forget_former(request, now);
  const VoteReason reason = judge(request, now, holder_lives);
  if (reason == VoteReason::granted) {
    add_layer(request.ballot);
    kept_.promised = request.ballot;
    embargo_until_ = now + settings_.embargo();
  }
  return {request.ballot, reason, std::max(kept_.promised, request.ballot), kept_.record};
}

void VoteMember::add_layer(const Epoch& ballot) {
  if (ballot == kept_.promised || std::ranges::find(layers_, ballot, &Layer::ballot) != layers_.end()) return;
  if (layers_.size() == kLayersMax) layers_.erase(layers_.begin());
  layers_.push_back({ballot, kept_});
}

void VoteMember::release(const Epoch& ballot, bool never_owned, Instant now) {
  if (ballot == kept_.promised) embargo_until_ = std::min(embargo_until_, now);
  if (never_owned) forget(ballot);
}

// The releases may have been lost.
void VoteMember::forget_former(const TakeoverRequest& request, Instant now) {
  if (request.void_from == Epoch()) return;
  std::vector<Epoch> over;
  for (const Layer& layer : layers_)
    if (layer.ballot.node == request.ballot.node && layer.ballot >= request.void_from &&
        layer.ballot < request.ballot)
      over.push_back(layer.ballot);
  for (const Epoch& ballot : over) release(ballot, true, now);
}

// Whatever was taken from this ballot, now or as what counted before a later one, is what counted before it.
// A restart forgets the layers, and then a promise stands that binds nobody: that is slow, not wrong.
void VoteMember::forget(const Epoch& ballot) {
  const auto layer = std::ranges::find(layers_, ballot, &Layer::ballot);
  if (layer == layers_.end()) return;
  const KeptPromise before = layer->before;
  layers_.erase(layer);
  const auto restore = [&](KeptPromise& promise) {
    if (promise.promised == ballot) promise.promised = before.promised;
    if (promise.record.epoch == ballot) promise.record = before.record;
  };
  restore(kept_);
  for (Layer& other : layers_) restore(other.before);
}

// An owner above our promise has a majority without us. Whatever was asked before it is history.
bool VoteMember::hear_owner(const Epoch& epoch, Instant received) {
  if (received < silent_until_ || memory_lost_ || epoch < kept_.promised) return false;
  kept_.promised = epoch;
  owner_heard_ = received;
  std::erase_if(layers_, [&](const Layer& layer) { return layer.ballot <= epoch; });
  embargo_until_ = std::max(embargo_until_, received + settings_.embargo());
  return true;
}

bool VoteMember::record(const InSyncRecord& record) {
  if (record.epoch < kept_.promised) return false;
  add_layer(record.epoch);
  kept_.promised = record.epoch;
  kept_.record = std::max(kept_.record, record);
  memory_lost_ = false;
  return kept_.record == record;
}

void VoteMember::learn(const InSyncRecord& record) {
  if (record <= kept_.record) return;
  add_layer(record.epoch);
  kept_.record = record;
}

VoteCandidate::State VoteCandidate::hear(NodeId from, const TakeoverAnswer& answer, Instant now) {
  highest_ = std::max({highest_, request_.ballot, answer.highest});
  if (state_ != State::asking || answer.ballot != request_.ballot) return state_;
  // The grants are as old as the question: later nobody is bound by them any more.
  if (now >= began_ + settings_.lease) return state_ = State::failed;
  VoteReason& heard = answers_.try_emplace(from, answer.reason).first->second;
  if (heard != VoteReason::granted) heard = answer.reason;
  record_ = std::max(record_, answer.record);
  const auto grants = static_cast<size_t>(
      std::ranges::count(answers_, VoteReason::granted, &std::map<NodeId, VoteReason>::value_type::second));
  if (grants < settings_.majority()) return state_;
  // A single member may not have heard of the newest record; a majority has.
  const bool may_claim = request_.cold || record_.epoch == Epoch() || holds();
  return state_ = may_claim ? State::granted : State::failed;
}

void VoteLease::sent(uint32_t number, Instant sent) {
  beats_[number] = sent;
  if (beats_.size() > kBeatsKept) beats_.erase(beats_.begin());
  echoed(self_, number);
}

void VoteLease::echoed(NodeId member, uint32_t number) {
  const auto beat = beats_.find(number);
  if (beat == beats_.end()) return;
  Instant& newest = confirmed_.try_emplace(member, Instant::min()).first->second;
  newest = std::max(newest, beat->second);
  if (confirmed_.size() < settings_.majority()) return;
  std::vector<Instant> times;
  for (const auto& [node, when] : confirmed_) times.push_back(when);
  std::ranges::sort(times, std::greater<>());
  until_ = std::max(until_, times[settings_.majority() - 1] + settings_.lease);
}

}  // namespace understudy::cluster
