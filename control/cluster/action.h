#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/log.h"
#include "common/strong.h"

namespace understudy::cluster {

// What the cluster logic wants done; the wiring does it, in this order.

// Workers: take the group's role as owner under this epoch, program the MAC, announce. Then on_promoted().
struct Promote {
  GroupId group;
  Epoch epoch;
  bool handed = false;  // the former owner has released it: nothing is uncertain
};
// Workers: fall silent, write the group's last records and its release to the synced standby `to`, and pass
// on to it what still arrives. Then the standby's on_handed(); if it cannot be done, on_hand_over_refused().
struct HandOver {
  GroupId group;
  NodeId to;
  bool leaves = false;  // this node will not be there to be the successor's standby
};
// Workers: stop owning. Connections of the group are forgotten silently; with `handed`, they stay as the
// mirror of the successor, to whom they were handed over. `epoch` is the highest seen.
struct Demote {
  GroupId group;
  Epoch epoch;
  bool handed = false;
};
// Workers: another node owns the group under this epoch; what was mirrored from an owner under another one is
// void.
struct Follow {
  GroupId group;
  Epoch epoch;
};
// Workers: as owner, mirror the group to this node; zero: to nobody.
struct MirrorTo {
  GroupId group;
  NodeId standby;
};
// Ask the arbiter for the group; what it says comes as an event. The controller does it itself.
struct Claim {
  GroupId group;
  // Of this node, above every ballot that it has seen. Or the one under which it owns the group and has not
  // withdrawn: then it asks for nothing but a new lease.
  Epoch ballot;
  Epoch followed;        // the owner's, that it mirrors; zero: it has followed nobody
  bool in_sync = false;  // it holds the connections of that owner, up to what that owner has promised
  bool cold = false;     // nobody in sync has been heard for cold_takeover_after: it would discard them
};
// The arbiter: nothing that was promised to this node for the group holds any more. Likewise.
struct Withdraw {
  GroupId group;
};
// Workers: legs that they mirror of this group must not be resumed.
struct DropCopies {
  GroupId group;
};
// Workers: what waited for the standby that they had may be acknowledged; no successor takes it for in sync.
struct StandbyRemoved {
  GroupId group;
};
// Workers: transmit nothing for the group, keep everything.
struct Mute {
  GroupId group;
};
// Workers: speak again, under the epoch of the last Promote.
struct Unmute {
  GroupId group;
};
// Ask the gateways and backends for an answer now (ARP or a ping that they must answer); on_witness_answer().
struct ProbeWitnesses {
  GroupId group;
};
// Broadcast these payloads as ownership frames on every link.
struct SendOwnership {
  std::vector<std::vector<uint8_t>> payloads;
};
// Broadcast a solicit frame (no payload) on every link.
struct SendSolicit {};
// Broadcast this payload as a vote frame on every link.
struct SendVote {
  std::vector<uint8_t> payload;
};
// Put these bytes where a restart finds them, synced, in place of what was kept before; then
// Arbiter::on_kept(sequence). What was promised in them is told to nobody before.
struct Keep {
  uint64_t sequence = 0;
  std::vector<uint8_t> bytes;
};
// For the operator: log, and count.
struct Event {
  LogLevel level = LogLevel::notice;
  std::string sentence;
};
// This process must not go on: log the sentence and exit.
struct Stop {
  std::string sentence;
};

using Action =
    std::variant<Promote, HandOver, Demote, Follow, MirrorTo, Claim, Withdraw, DropCopies, StandbyRemoved,
                 Mute, Unmute, ProbeWitnesses, SendOwnership, SendSolicit, SendVote, Keep, Event, Stop>;
using Actions = std::vector<Action>;

}  // namespace understudy::cluster
