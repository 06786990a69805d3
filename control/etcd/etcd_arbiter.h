#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/instant.h"
#include "common/strong.h"
#include "control/cluster/arbiter.h"
#include "control/etcd/own_cluster.h"
#include "control/etcd/record.h"
#include "control/etcd/transport.h"

namespace understudy::etcd {

using cluster::Claim;
using cluster::Verdict;

// The arbiter `etcd` as a function of messages and time, on one thread: the owner of a group is who stands in
// the group's key, which changes by compare-and-swap on its modification revision only. A lease L comes from
// either of two places:
//
//   - a swap of the owner's (the claim, a renewal): until L after it was first sent;
//   - every other candidate of the group has echoed a heartbeat of the owner: until L after that was sent.
//   Who
//     echoes promises not to swap for 1.01 L. So a healthy pair outlives etcd.
//
// A candidate swaps when 1.01 L have passed since its own last echo, and since it first read the revision
// that it swaps (which may be the owner's newest renewal; and before that it had not started): by then no
// lease under that revision is left, and a later renewal makes the swap fail. It does not echo from the claim
// on until every swap that it has sent is known to be done or impossible: one without an answer may still
// come to pass, as long as the key has the revision that it compares.
//
// Swaps of unknown outcome are settled by a linearizable read: the own request id, or another revision.
class EtcdArbiter final : public cluster::Arbiter {
 public:
  struct GroupSettings {
    GroupId id;
    std::string key;
    std::vector<NodeId> candidates;  // whoever may claim it, this node included
  };
  struct Settings {
    NodeId self;
    BootId boot;
    std::vector<std::pair<NodeId, std::string>> nodes;  // names, for sentences
    std::vector<GroupSettings> groups;
    OwnCluster::Settings own;
    Duration lease = 80ms;
    // The end of the lease, an owner swaps: echoes leave more than that as long as they come. Where they do
    // not, and it lives by its swaps, each of them may take longer.
    Duration renew_before = 25ms;
    Duration renew_before_by_swap = 50ms;
    Duration timeout = 40ms;  // of a request
    Duration retry = 10ms;    // after one that failed
    // A cold claim waits so long after the owner's last sign of life, while another node is in sync.
    Duration cold_after = 3s;
    Duration patience = 1s;  // of a claim, then it is denied and may be made again
    // At keys: of groups that others own, so that a claim begins with what is there; of own ones, so that the
    // connection stays warm.
    Duration look_every = 100ms;
    Duration look_every_as_owner = 500ms;
  };
  // `transport` outlives the arbiter.
  EtcdArbiter(Settings settings, Transport& transport, Instant now);

  std::string_view name() const override { return "etcd"; }
  void claim(const Claim& claim, Instant now) override;
  void withdraw(GroupId group, Instant now) override;
  void record(GroupId group, Epoch epoch, NodeId standby, Instant now) override;
  bool is_recorded(GroupId group, Epoch epoch, NodeId standby) const override;
  Epoch highest(GroupId group) const override;
  Instant lease_until(GroupId group, Epoch epoch) const override;
  // Whom this node hears says nothing of etcd: it is asked in any case.
  std::optional<std::string> obstacle(size_t) const override { return std::nullopt; }
  std::string why_lease_ended(GroupId group) const override;
  void on_beat_sent(uint32_t number, Instant sent) override;
  void on_beat(const mirror::Heartbeat& beat, Instant received) override;
  void fill(mirror::GroupBeat& beat) const override;
  void on_kept(uint64_t sequence, bool is_kept, Instant now) override {
    own_.on_kept(sequence, is_kept, now, actions_);
  }
  void tick(Instant now) override;
  Instant next_deadline() const override;
  std::vector<Verdict> take_verdicts() override { return std::exchange(verdicts_, {}); }
  cluster::Actions take_actions() override { return std::exchange(actions_, {}); }

 private:
  static constexpr size_t kAttemptsMax = 64;  // and of claims that came to nothing
  static constexpr Duration kReleaseFor = 1s;
  enum class CallKind : uint8_t { read, swap };
  struct Call {
    uint64_t id;
    CallKind kind;
    size_t endpoint;
    Instant sent;
    Instant give_up;  // the transport has promised a reply by then
  };
  // A swap of ours whose outcome is not known. All that a group has compare the same revision.
  struct Attempt {
    Record record;
    Instant sent;
  };
  // What was wrong with one, since it answered well last.
  struct Endpoint {
    std::string trouble;    // empty: nothing
    std::string objection;  // that was told, see OwnCluster
  };
  struct Asking {
    Claim claim;
    Instant began;
    bool renews = false;  // under the ballot that we own
    std::string trouble;  // why there is no verdict yet
  };
  struct Owned {
    Epoch epoch;
    Instant lease_by_swap = Instant::min();
    NodeId standby;                    // as the key has it
    NodeId wanted;                     // as it is to have it
    bool owes_verdict = false;         // `recorded`
    std::map<NodeId, Instant> echoed;  // candidate -> when the newest heartbeat that it echoed was sent
  };
  struct Group {
    GroupSettings settings;
    // The key, as read or written last.
    bool is_read = false;
    bool is_foreign = false;  // it holds what is no record
    int64_t revision = 0;
    Record record;
    Instant first_seen = Instant::min();  // an answer that showed this revision
    Instant changed = Instant::min();     // likewise, if there was an earlier one
    Instant read_sent = Instant::min();   // the read (or swap) that the newest answer belongs to
    // Echoes of ours.
    Epoch echo_epoch;
    uint32_t echo_number = 0;
    Instant last_echo = Instant::min();

    std::optional<Call> call;  // one at a time
    std::vector<Attempt> attempts;
    std::optional<Asking> asking;
    std::optional<Owned> owned;
    std::string trouble;  // the last that this group's calls met; empty since one went well
    std::string loss;     // who stands in the key instead of us
    // Claims of ours that came to nothing and yet may stand in the key.
    std::vector<Claim> dead_claims;
    std::optional<Epoch> to_release;
    Instant release_until{};
    Instant not_before = Instant::min();  // of the next call
    Instant next_look = Instant::min();
  };

  void take_reply(Group& group, const Reply& reply, Instant now);
  void fail(Group& group, const std::string& why, Instant now);
  void refuse(Group& group, const std::string& objection, Instant now);
  void bury(Group& group, const Claim& claim);
  void take_state(Group& group, const Answer& answer, const Call& call, Instant now);
  void settle(Group& group, Instant now);
  void succeed(Group& group, const Attempt& attempt, size_t endpoint, Instant now);
  void hear_owner(Group& group, uint32_t number, Epoch epoch, Instant received);
  void advance(Group& group, Instant now);
  void pursue_claim(Group& group, Instant now);
  void read(Group& group, Instant now);
  void swap(Group& group, Record record, Instant now);
  void grant(Group& group, std::string why);
  std::string others_of(const Group& group) const;
  void deny(Group& group, std::string why, bool out_of_sync = false);
  void lose(Group& group);
  Instant renewal_due(const Group& group) const;
  Instant free_at(const Group& group) const;
  Instant free_for(const Group& group, const Claim& claim) const;
  Duration look_period(const Group& group) const;
  bool holds_connections(const Group& group, const Claim& claim) const;
  Instant lease_by_echo(const Group& group) const;
  Instant lease_of(const Group& group) const;
  bool wants_swap(const Group& group, Instant now) const;
  Instant due_at(const Group& group) const;
  Duration embargo() const { return settings_.lease + settings_.lease / 100; }
  std::string request_id();
  const std::string& name_of(NodeId node) const;
  void note_endpoint(size_t endpoint, const std::string& trouble);

  Settings settings_;
  Transport& transport_;
  std::map<GroupId, Group> groups_;
  std::map<uint64_t, GroupId> calls_;
  std::map<uint32_t, Instant> beats_;  // number -> sent; the last few
  uint64_t calls_begun_ = 0;
  uint64_t requests_drawn_ = 0;
  size_t endpoint_ = 0;                  // that is asked
  std::map<size_t, Endpoint> troubled_;  // by index
  OwnCluster own_;
  std::vector<Verdict> verdicts_;
  cluster::Actions actions_;
};

}  // namespace understudy::etcd
