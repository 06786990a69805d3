#pragma once

#include <optional>
#include <span>
#include <vector>

#include "common/instant.h"
#include "common/strong.h"

namespace understudy::mirror {

// What a node says of a group in every heartbeat.
enum class GroupRole : uint8_t {
  idle,      // knows the group, has nothing to do with it
  standby,   // mirrors it, or is ready to
  owner,     // speaks for it
  fenced,    // was owner and has silenced itself
  releasing  // gives it up; a successor may claim at once
};

struct GroupBeat {
  GroupId group;
  GroupRole role = GroupRole::idle;
  Epoch epoch;  // under which the owner owns; the highest one seen by anybody else
  uint64_t clock_us =
      0;  // the group's clock (initial sequence numbers, timestamps); meaningful from the owner
  bool standby_synced =
      false;  // from the owner: its standby holds every protected leg and the snapshot is complete
  bool legs_stale = false;        // from a standby: it holds no legs that may be resumed
  uint32_t legs = 0;              // owned or mirrored here by this worker
  uint32_t legs_unprotected = 0;  // from the owner: legs that its standby does not hold
  NodeId standby;                 // from the owner: to whom it mirrors; zero: to nobody
  // From the owner: the last standby that this worker has dropped, and its stream then. So it knows over any
  // link that still works that its legs are stale (the in-sync set).
  NodeId dropped_standby;
  uint32_t dropped_generation = 0;
  uint32_t era = 0;  // of a pair, the group with the later one takes new connections; as far as is known
  // Where an arbiter gives leases (control/cluster/arbiter.h).
  bool leased = false;  // from the owner: it may speak now; who echoes this number promises to wait
  Epoch echoed;         // from a member: under which the owner owns whose heartbeats it echoes; zero: nobody
  uint32_t echo_number = 0;  // its newest heartbeat of worker 0 that the member has heard
};

// A numbered sign of life. Each worker sends one per interval on every link.
struct Heartbeat {
  NodeId node;
  BootId boot;
  uint16_t worker = 0;    // sender
  uint16_t workers = 1;   // of the sender's node
  uint32_t number = 0;    // grows by one per interval of this worker
  uint64_t progress = 0;  // loop count of the worker: a hung worker beats no more, a starved one shows here
  // Of the other nodes that the sender's node hears at all, per cent that it hears on each network.
  uint8_t reach_front = 0;
  uint8_t reach_back = 0;
  std::vector<GroupBeat> groups;
};

constexpr size_t kHeartbeatGroupsMax = 16;

// Bytes after the cluster frame header. Written in a version-tolerant form: the fixed fields and each group
// entry carry their length, so a reader skips fields that it does not know, entries whose role it does not
// know, entries beyond kHeartbeatGroupsMax, and whatever follows. Nothing when malformed: truncated, shorter
// than the fields of this version, node 0, or a worker outside 0..workers-1. At most kHeartbeatGroupsMax
// groups may be encoded.
std::vector<uint8_t> encode(const Heartbeat& beat);
std::optional<Heartbeat> decode_heartbeat(std::span<const uint8_t> bytes);

}  // namespace understudy::mirror
