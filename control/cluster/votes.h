#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "common/instant.h"
#include "common/strong.h"

namespace understudy::cluster {

// The votes of the arbiter `members`, for one group: pure values and functions of (message, now), without
// frames, files and clocks of their own. ARCHITECTURE.md, "Why two voices are impossible", has the argument.
//
//   VoteMember      what a member has promised: it answers candidates and echoes the owner's heartbeats
//   VoteCandidate   a node that asks for the group under a ballot and counts what is granted
//   VoteLease       an owner's permission to speak, which a majority renews

struct VoteSettings {
  size_t members = 3;
  // How long an owner speaks after it sent what a majority has confirmed. A member that confirmed grants
  // nobody else for 1 % longer after it received it: clocks that differ by less than that do not matter.
  Duration lease = 100ms;
  // A cold claim has to wait as long since the owner's last word, while somebody who is in sync is heard.
  Duration cold_after = 3s;
  Duration embargo() const { return lease + lease / 100; }
  size_t majority() const { return members / 2 + 1; }
};

// Who holds the connections of an epoch up to what its owner has promised: the owner, and `standby` (zero:
// nobody). A standby is removed here, with a majority, before the owner acknowledges past it.
struct InSyncRecord {
  Epoch epoch;
  uint32_t version = 0;  // grows within an epoch
  NodeId standby;
  bool holds(NodeId node) const { return node != NodeId() && (node == standby || node == epoch.node); }
  friend auto operator<=>(const InSyncRecord&, const InSyncRecord&) = default;
};

struct TakeoverRequest {
  Epoch ballot;       // its node is the candidate
  Epoch followed;     // of the owner whose connections the candidate holds; zero: it holds none
  bool cold = false;  // would discard the old connections; nobody who is in sync has been heard for long
  // The candidate's own ballots from this one to below `ballot` were given up, and it never owned under any
  // of them; zero: there are none.
  Epoch void_from = Epoch();
};

enum class VoteReason : uint8_t {
  granted,
  restarted,        // it may have promised something, before it restarted, that is not over yet
  memory_lost,      // it cannot read what it promised, and waits until it has learnt who is in sync
  lease_is_live,    // it has promised the owner, or another candidate, not to grant anybody else yet
  promised_higher,  // it has granted a higher ballot
  not_in_sync,      // the candidate does not hold what the last owner has promised
  holder_lives,     // the claim is cold, and somebody in sync is heard who had no time yet to claim
};
constexpr uint8_t kVoteReasons = 7;
std::string_view explain(VoteReason reason);

struct TakeoverAnswer {
  Epoch ballot;  // that of the request
  VoteReason reason = VoteReason::promised_higher;
  Epoch highest;        // the highest ballot that this member knows of
  InSyncRecord record;  // the newest that it knows of
  bool is_grant() const { return reason == VoteReason::granted; }
};

// What a member has to find again after a restart. It is on disk before anybody is told of it.
struct KeptPromise {
  Epoch promised;
  InSyncRecord record;
  friend bool operator==(const KeptPromise&, const KeptPromise&) = default;
};

class VoteMember {
 public:
  // One that has never promised anything: no file was there.
  explicit VoteMember(const VoteSettings& settings) : settings_(settings) {}
  // One that comes back at `now` with what it kept; nothing: there was something, and it cannot be read.
  VoteMember(const VoteSettings& settings, const std::optional<KeptPromise>& kept, Instant now);

  // A grant, a true from hear_owner and one from record may be told to others when kept() is on disk.
  // `holder_lives`: another node of the recorded in-sync set than the candidate is heard, or is this one, and
  // says that it holds the connections.
  TakeoverAnswer ask(const TakeoverRequest& request, Instant now, bool holder_lives = false);
  // The candidate gives up, and never asks under this ballot again: whoever comes next need not wait for it.
  // If it never owned under it, either, then it is as if it had not asked: what was promised and recorded
  // before counts again, so the owner of before is echoed and its standby is in sync.
  void release(const Epoch& ballot, bool never_owned, Instant now);
  // A numbered heartbeat of an owner that says it has a lease arrived. True: echo its number.
  bool hear_owner(const Epoch& epoch, Instant received);
  // An owner changes its in-sync set. True: confirm it.
  bool record(const InSyncRecord& record);
  // Somebody else than its owner tells of a record. That confirms nothing, so a promise does not stand in its
  // way; nor does it make up for a memory that was lost, for whoever tells may not know the newest. It may be
  // of a ballot that has been released as never owned, so that can still be said of it.
  void learn(const InSyncRecord& record);

  const KeptPromise& kept() const { return kept_; }
  bool has_lost_memory() const { return memory_lost_; }
  Instant embargo_until() const { return embargo_until_; }
  Instant silent_until() const { return silent_until_; }

  // Of ballots that may still be released as never owned, the newest last: what counted before each.
  struct Layer {
    Epoch ballot;
    KeptPromise before;
    friend bool operator==(const Layer&, const Layer&) = default;
  };
  const std::vector<Layer>& layers() const { return layers_; }

 private:
  static constexpr size_t kLayersMax = 16;
  VoteReason judge(const TakeoverRequest& request, Instant now, bool holder_lives) const;
  void add_layer(const Epoch& ballot);
  void forget(const Epoch& ballot);
  void forget_former(const TakeoverRequest& request, Instant now);

  VoteSettings settings_;
  KeptPromise kept_;
  std::vector<Layer> layers_;
  bool memory_lost_ = false;
  Instant silent_until_ = Instant::min();   // after a restart: neither grants nor echoes
  Instant embargo_until_ = Instant::min();  // grants nobody but whom it has promised
  Instant owner_heard_ = Instant::min();    // an owner with a lease
};

class VoteCandidate {
 public:
  // `began` is before the first request left.
  VoteCandidate(const VoteSettings& settings, const TakeoverRequest& request, Instant began)
      : settings_(settings), request_(request), began_(began) {}

  enum class State : uint8_t { asking, granted, failed };
  // `from` is the member that answered. Repeated and late answers do no harm.
  State hear(NodeId from, const TakeoverAnswer& answer, Instant now);
  State state() const { return state_; }
  // Of an owner by this ballot, at first. Instant::min() as long as it is not granted.
  Instant lease_until() const { return state_ == State::granted ? began_ + settings_.lease : Instant::min(); }
  const TakeoverRequest& request() const { return request_; }
  Instant began() const { return began_; }
  // A majority has answered, and one of them knows that it does not hold what the last owner promised.
  bool is_out_of_sync() const {
    return answers_.size() >= settings_.majority() && !request_.cold && record_.epoch != Epoch() && !holds();
  }
  // Of all ballots that were seen.
  const Epoch& highest() const { return highest_; }
  Epoch next_ballot() const { return {highest_.counter + 1, request_.ballot.node}; }
  const std::map<NodeId, VoteReason>& answers() const { return answers_; }

 private:
  bool holds() const { return request_.followed == record_.epoch && record_.holds(request_.ballot.node); }
  VoteSettings settings_;
  TakeoverRequest request_;
  Instant began_;
  State state_ = State::asking;
  std::map<NodeId, VoteReason> answers_;
  InSyncRecord record_;  // the newest that anybody knows of
  Epoch highest_;
};

class VoteLease {
 public:
  VoteLease(const VoteSettings& settings, NodeId self, Instant until)
      : settings_(settings), self_(self), until_(until) {}
  // Heartbeat `number` left; `sent` is before it reached the port. Counts as echoed by ourselves.
  void sent(uint32_t number, Instant sent);
  void echoed(NodeId member, uint32_t number);
  // Not to speak from then on. What arrives moves it only by what it says was sent, never by when it arrives.
  Instant until() const { return until_; }

 private:
  static constexpr size_t kBeatsKept = 64;
  VoteSettings settings_;
  NodeId self_;
  Instant until_;
  std::map<uint32_t, Instant> beats_;    // number -> sent; the last few
  std::map<NodeId, Instant> confirmed_;  // member -> when the newest heartbeat that it echoed was sent
};

}  // namespace understudy::cluster
