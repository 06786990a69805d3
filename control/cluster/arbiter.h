#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/instant.h"
#include "common/strong.h"
#include "control/cluster/action.h"
#include "dataplane/mirror/heartbeat.h"

namespace understudy::cluster {

// What the arbiter says in its own time.
struct Verdict {
  enum class Kind : uint8_t {
    granted,   // the claim of `ballot`: this node owns from now on, and speaks until lease_until()
    denied,    // not now, and why; the next claim needs a ballot above `highest`
    recorded,  // `standby` (zero: nobody) is in the in-sync set now, where every successor has to look
  };
  Kind kind = Kind::denied;
  GroupId group;
  Epoch ballot;
  Epoch highest;    // denied: the highest ballot that anybody answered with
  NodeId standby;   // recorded
  std::string why;  // granted, denied: a sentence
  // denied: what this node holds is not what the last owner promised. It must not be resumed.
  bool out_of_sync = false;
};

// Who may own a group, and for how long its owner may speak. Asynchronous and pure: calls carry the time, and
// none of them waits; what is to be done outside (frames to send, promises to sync to disk) comes out of
// take_actions(), what was decided out of take_verdicts(). An implementation that talks to a service of its
// own (etcd) gets a transport in its constructor, starts calls in claim(), record() and tick(), and looks for
// their answers in tick(). What withdraw() has to tell others leaves with the actions or in tick(): only then
// is everything silent that was told to be. One thread, that of control.
//
// The contract that keeps a group at one voice:
//   - between two moments at which lease_until(group, epoch) lies ahead, on two nodes, for two epochs, there
//     is one at which the older lease is over, on every clock that is off by less than 0.5 %;
//   - a verdict `granted` for a ballot comes after every lease under a lower one is over for good;
//   - a candidate outside the recorded in-sync set is granted nothing but a cold claim;
//   - `recorded` comes only when whoever decides the next claim knows it.
class Arbiter {
 public:
  virtual ~Arbiter() = default;
  virtual std::string_view name() const = 0;

  // Asks for a group. One claim per group: a new one takes the place of the one before. Repeats itself until
  // there is a verdict or withdraw().
  virtual void claim(const Claim& claim, Instant now) = 0;
  // The claim is off, or the group is given up: whatever was promised to this node is free for others. Its
  // ballot is over for good. Whoever owned the group is silent before this call.
  virtual void withdraw(GroupId group, Instant now) = 0;
  // As owner under `epoch`: from now on `standby` is to count as in sync (zero: nobody). A new call takes the
  // place of the one before. A new owner's set is itself alone, recorded before it is granted.
  virtual void record(GroupId group, Epoch epoch, NodeId standby, Instant now) = 0;
  // The set of that owner is itself and `standby` and nobody else, and every successor will find it so.
  virtual bool is_recorded(GroupId group, Epoch epoch, NodeId standby) const = 0;
  // The highest ballot that is known here, from former lives of this node, too.
  virtual Epoch highest(GroupId group) const = 0;
  // As owner under `epoch`: not to speak from this moment on. Instant::min() without a lease, kNever where
  // leases are not used.
  virtual Instant lease_until(GroupId group, Epoch epoch) const = 0;
  // Whether this node, as standby, candidate or silent owner, holds connections of the group that it may
  // resume.
  virtual void hold(GroupId, bool) {}
  // Why it is of no use to ask for a group while `heard` other nodes are heard, as a sentence; nothing: it
  // is.
  virtual std::optional<std::string> obstacle(size_t heard) const = 0;
  // As owner whose lease is over: what did not renew it, as a sentence.
  virtual std::string why_lease_ended(GroupId group) const = 0;

  // A numbered heartbeat of worker 0 left this node; `sent` is before it reached the port.
  virtual void on_beat_sent(uint32_t number, Instant sent) = 0;
  // The first arrival of a heartbeat of another node's worker 0.
  virtual void on_beat(const mirror::Heartbeat& beat, Instant received) = 0;
  // What this node's heartbeats say of its promises: echoes.
  virtual void fill(mirror::GroupBeat& beat) const = 0;
  // A vote frame from a member (ClusterFrameKind::vote). Only of `members`.
  virtual void on_vote(NodeId, BootId, std::span<const uint8_t>, Instant) {}
  // What action Keep{sequence} asked for is on disk, or could not be put there. Not of `none`.
  virtual void on_kept(uint64_t, bool, Instant) {}

  virtual void tick(Instant now) = 0;
  virtual Instant next_deadline() const = 0;
  virtual std::vector<Verdict> take_verdicts() = 0;
  virtual Actions take_actions() = 0;
};

}  // namespace understudy::cluster
