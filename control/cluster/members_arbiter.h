#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control/cluster/arbiter.h"
#include "control/cluster/vote_message.h"
#include "control/cluster/votes.h"

namespace understudy::cluster {

// What a node found of its former life's promises when it started.
struct KeptMemory {
  enum class State : uint8_t {
    none,        // there was nothing: it has never voted
    readable,    // `bytes` are those of the last Keep
    unreadable,  // there was something
  };
  State state = State::none;
  std::vector<uint8_t> bytes;
};

// The arbiter `members`: a majority of the nodes decides, by the rules of votes.h. Each node is a member, and
// answers the others also for groups that it may not take over itself.
//
// A claim takes two exchanges: requests, which a majority (the candidate included) grants, and then the new
// owner's in-sync set, itself alone, which a majority records. The second one is there because an owner
// without a standby acknowledges at once: from then on nobody may resume what the owner before it had left.
// If disks or members were slow and less than half of the lease is left then, the request is made once more,
// under the same ballot, which takes no disk: whoever begins with the rest of a lease may lose it before a
// heartbeat has been echoed.
class MembersArbiter final : public Arbiter {
 public:
  struct Settings {
    NodeId self;
    BootId boot;
    std::vector<std::pair<NodeId, std::string>> members;  // this node included; the names are for sentences
    std::vector<GroupId> groups;
    Duration lease = 80ms;
    Duration repeat = 10ms;  // of what nobody has answered
    Duration dead_after = 100ms;
    Duration cold_after = 3s;  // see VoteSettings
  };
  MembersArbiter(Settings settings, const KeptMemory& memory, Instant now);

  std::string_view name() const override { return "members"; }
  void claim(const Claim& claim, Instant now) override;
  void withdraw(GroupId group, Instant now) override;
  void record(GroupId group, Epoch epoch, NodeId standby, Instant now) override;
  bool is_recorded(GroupId group, Epoch epoch, NodeId standby) const override;
  Epoch highest(GroupId group) const override;
  Instant lease_until(GroupId group, Epoch epoch) const override;
  void hold(GroupId group, bool holds) override { groups_.at(group).holds = holds; }
  std::optional<std::string> obstacle(size_t heard) const override;
  std::string why_lease_ended(GroupId group) const override;
  void on_beat_sent(uint32_t number, Instant sent) override;
  void on_beat(const mirror::Heartbeat& beat, Instant received) override;
  void fill(mirror::GroupBeat& beat) const override;
  void on_vote(NodeId from, BootId boot, std::span<const uint8_t> payload, Instant now) override;
  void on_kept(uint64_t sequence, bool is_kept, Instant now) override;
  void tick(Instant now) override;
  Instant next_deadline() const override;
  std::vector<Verdict> take_verdicts() override { return std::exchange(verdicts_, {}); }
  Actions take_actions() override { return std::exchange(actions_, {}); }

  const VoteMember& member(GroupId group) const { return groups_.at(group).member; }

 private:
  // Of an in-sync set that a majority has and somebody not yet.
  static constexpr Duration kRecordReminder = 200ms;
  // A member that is further behind does not echo the owner that we echo: it has not heard, perhaps, that we
  // gave up a ballot, and would refuse that owner for good.
  static constexpr int32_t kEchoesBehindMost = 5;
  static constexpr Duration kReleaseReminder = 200ms;
  static constexpr size_t kGivenUpMost = 16;  // what a member remembers
  // A question of ours to the members, and then the record of our in-sync set.
  struct Asking {
    VoteCandidate candidate;
    uint32_t question = 0;
    std::optional<VoteReason> own;  // our own answer; on disk
    bool has_grants = false;        // a majority's, and our own among them
    bool renews = false;            // under the ballot that we own
    bool is_recorded = false;       // the set that we begin with; only the lease is asked for
    Instant repeat_at;
    Instant quiet_since;  // nothing new was answered since
  };
  struct Owned {
    VoteLease lease;
    Epoch epoch;
  };
  // The in-sync set that we want recorded, and who has it on disk.
  struct Recording {
    InSyncRecord record;
    std::set<NodeId> confirmed;
    bool done = false;  // by a majority
    Instant repeat_at;
  };
  struct Group {
    VoteMember member;
    std::optional<Asking> asking;
    std::optional<Owned> owned;
    std::optional<Recording> recording;
    Epoch asked;   // the highest ballot that this life has asked under: it never does so again
    Epoch echoed;  // what heartbeats may say: it is on disk
    uint32_t echo_number = 0;
    bool holds = false;                 // this node, connections
    std::optional<KeptPromise> wanted;  // on disk, or in a Keep that is under way
    uint64_t wanted_sequence = 0;       // of that Keep
    std::vector<Epoch> given_up;        // ballots of this life that never owned, since one did
    Instant release_again;
    std::map<NodeId, Instant> holder_heard;  // who said that it holds some -> when last

    std::optional<KeptPromise> promise() const {
      return member.has_lost_memory() ? std::nullopt : std::optional(member.kept());
    }
  };
  struct Deferred {
    uint64_t sequence;
    std::function<void(Instant)> then;
  };

  void when_kept(Group& group, std::function<void(Instant)> then, Instant now);
  std::vector<uint8_t> encode_promises() const;
  void send(const VoteMessage& message);
  void send_request(GroupId id, const Asking& asking);
  void pose(GroupId id, Group& group, const TakeoverRequest& request, Instant now);
  void send_record(GroupId id, const Recording& recording);
  void note_life(NodeId node, BootId boot, Instant now);
  bool holder_lives(const Group& group, NodeId candidate, Instant now) const;
  void answer(GroupId id, Group& group, const VoteMessage& question, Instant now);
  void hear(GroupId id, NodeId from, uint32_t question, const TakeoverAnswer& answer, Instant now);
  void weigh(GroupId id, Group& group, Instant now);
  void begin_record(GroupId id, Group& group, const InSyncRecord& record, Instant now);
  void take_record(GroupId id, Group& group, NodeId from, const InSyncRecord& record, Instant now);
  void hear_recorded(GroupId id, NodeId from, const InSyncRecord& record, Instant now);
  void grant(GroupId id, Group& group);
  void deny(GroupId id, Group& group, std::string why);
  void release(GroupId id, Group& group, const Epoch& ballot, bool never_owned, Instant now);
  void send_release(GroupId id, const Epoch& ballot, bool never_owned);
  bool lags(const Group& group, NodeId member, const mirror::GroupBeat& says) const;
  void release_again(GroupId id, Group& group, Instant now);
  std::string reasons(const Asking& asking) const;
  std::string consent(const Asking& asking) const;
  const std::string& name_of(NodeId node) const;

  Settings settings_;
  VoteSettings votes_;
  std::map<GroupId, Group> groups_;
  std::map<NodeId, BootId> lives_;  // of the other members, as heard last
  uint32_t questions_ = 0;
  std::vector<Verdict> verdicts_;
  Actions actions_;

  // What is on disk, and what waits until it is.
  std::vector<uint8_t> bytes_wanted_;
  uint64_t sequence_ = 0;       // of the newest Keep
  uint64_t sequence_kept_ = 0;  // of the newest that is on disk
  Instant keep_again_ = kNever;
  std::vector<Deferred> deferred_;
};

}  // namespace understudy::cluster
