#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/instant.h"
#include "common/log.h"
#include "common/strong.h"
#include "control/etcd/record.h"
#include "control/etcd/transport.h"

namespace understudy::etcd {

// What a node asks for.
struct Claim {
  GroupId group;
  // Of this node, above every ballot that it has seen. Or the one under which it owns the group and has not
  // withdrawn: then it asks for nothing but a new lease.
  Epoch ballot;
  Epoch followed;        // the owner's, that it mirrors; zero: it has followed nobody
  bool in_sync = false;  // it holds the connections of that owner, up to what that owner has promised
  bool cold = false;     // nobody in sync has been heard for long: it would discard them
};

struct Verdict {
  enum class Kind : uint8_t {
    granted,   // this node owns from now on, and speaks until lease_until()
    denied,    // not now, and why; the next claim needs a ballot above `highest`
    recorded,  // `standby` (zero: nobody) is in the in-sync set now, where every successor has to look
  };
  Kind kind = Kind::denied;
  GroupId group;
  Epoch ballot;
  Epoch highest;             // denied: that is known
  NodeId standby;            // recorded
  std::string why;           // denied
  bool out_of_sync = false;  // denied: what this node holds is not what the last owner promised
};

// What a node's heartbeat says of a group, as far as it matters here.
struct Beat {
  NodeId node;
  uint32_t number = 0;  // grows from heartbeat to heartbeat
  GroupId group;
  bool owns = false;         // it says that it owns the group,
  Epoch epoch;               // under this epoch
  Epoch echoed;              // of the owner whose heartbeats it echoes; zero: nobody's
  uint32_t echo_number = 0;  // the newest of them
};

// For the operator.
struct Event {
  LogLevel level = LogLevel::notice;
  std::string sentence;
};

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
class EtcdArbiter {
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
    Duration lease = 80ms;
    Duration renew_before = 25ms;  // the end of the lease; echoes leave more than that as long as they come
    Duration timeout = 40ms;       // of a request
    Duration retry = 10ms;         // after one that failed
    Duration patience = 1s;        // of a claim, then it is denied and may be made again
    Duration look_every = 500ms;   // at keys of groups that others own; keeps connections warm, too
  };
  // `transport` outlives the arbiter.
  EtcdArbiter(Settings settings, Transport& transport, Instant now);

  // Asks for a group. One claim per group: a new one takes the place of the one before. Repeats itself until
  // there is a verdict or withdraw().
  void claim(const Claim& claim, Instant now);
  // The claim is off, or the group is given up: its ballot is over for good. Whoever owned the group is
  // silent before this call.
  void withdraw(GroupId group, Instant now);
  // As owner under `epoch`: from now on `standby` is to count as in sync (zero: nobody). A new call takes the
  // place of the one before. A new owner's set is itself alone, recorded before it is granted.
  void record(GroupId group, Epoch epoch, NodeId standby, Instant now);
  // The set of that owner is itself and `standby` and nobody else, and every successor will find it so.
  bool is_recorded(GroupId group, Epoch epoch, NodeId standby) const;
  // The highest ballot that is known here.
  Epoch highest(GroupId group) const;
  // As owner under `epoch`: not to speak from this moment on. Instant::min() without a lease.
  Instant lease_until(GroupId group, Epoch epoch) const;

  // A numbered heartbeat left this node; `sent` is before it reached the port.
  void on_beat_sent(uint32_t number, Instant sent);
  // The first arrival of another node's heartbeat.
  void on_beat(const Beat& beat, Instant received);
  // Puts what this node promises the owner of `beat.group` into its own heartbeat: `echoed`, `echo_number`.
  void fill(Beat& beat) const;
  // Takes what has come from etcd and begins what is due.
  void tick(Instant now);
  Instant next_deadline() const;
  std::vector<Verdict> take_verdicts() { return std::exchange(verdicts_, {}); }
  std::vector<Event> take_events() { return std::exchange(events_, {}); }

 private:
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
    Instant read_sent = Instant::min();   // the read (or swap) that the newest answer belongs to
    // Echoes of ours.
    Epoch echo_epoch;
    uint32_t echo_number = 0;
    Instant last_echo = Instant::min();

    std::optional<Call> call;  // one at a time
    std::vector<Attempt> attempts;
    std::optional<Asking> asking;
    std::optional<Owned> owned;
    // Claims of ours that came to nothing and yet may stand in the key.
    std::vector<Claim> dead_claims;
    std::optional<Epoch> to_release;
    Instant release_until{};
    Instant not_before = Instant::min();  // of the next call
    Instant next_look = Instant::min();
  };

  void take_reply(Group& group, const Reply& reply, Instant now);
  void fail(Group& group, const std::string& why, Instant now);
  void bury(Group& group, const Claim& claim);
  void take_state(Group& group, const Answer& answer, const Call& call, Instant now);
  void settle(Group& group, Instant now);
  void succeed(Group& group, const Attempt& attempt, Instant now);
  void advance(Group& group, Instant now);
  void pursue_claim(Group& group, Instant now);
  void read(Group& group, Instant now);
  void swap(Group& group, Record record, Instant now);
  void grant(Group& group);
  void deny(Group& group, std::string why, bool out_of_sync = false);
  void lose(Group& group);
  Instant free_at(const Group& group) const;
  bool holds_connections(const Group& group, const Claim& claim) const;
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
  size_t endpoint_ = 0;                     // that is asked
  std::map<size_t, std::string> troubles_;  // endpoint -> what was wrong with it last
  std::optional<uint64_t> cluster_;         // id of the etcd cluster that answered first
  std::vector<Verdict> verdicts_;
  std::vector<Event> events_;
};

}  // namespace understudy::etcd
