#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include <rte_mbuf.h>

#include "common/address.h"
#include "common/instant.h"
#include "common/strong.h"
#include "dataplane/mirror/heartbeat.h"
#include "dataplane/mirror/replica.h"
#include "dataplane/tcp/engine_counters.h"
#include "dataplane/tcp/state.h"

namespace understudy::worker {

struct ConnectionQuery;
struct NeighbourQuery;

// From control to a worker. One flat value, so that a ring can carry it; each kind reads the fields it names.
struct Command {
  enum class Kind : uint32_t {
    promote,    // group, epoch, clock_us, flag (handed over), silence: speak for the group
    hand_over,  // group, node, flag (this node leaves): fall silent and give the group to that node
    demote,     // group, epoch, flag (handed over): stop; legs go, or stay as the mirror of who has got them
    mute,       // group: transmit nothing, keep everything
    unmute,     // group, epoch, silence
    beat,       // beat: what the heartbeats say of a group, but for what the worker knows itself
    reach,  // number: per cent of the other nodes heard on the front network, and 256 times that of the back
    peer_up,     // node, boot, workers, mac: another node lives; mirror frames of it are taken
    peer_down,   // node
    standby,     // group, node, boot, workers, mac: mirror the group to it when it is ours; node 0: to nobody
    follow,      // group, epoch: streams of an owner under a lower epoch are over
    mark_stale,  // group, node, worker, number (generation): the owner has dropped us
    drop_copies,   // group: what is mirrored must not be resumed
    drop_standby,  // group: acknowledge past the standby that was reported as silent
    backend,       // pool, backend, flag (up)
    check,         // number (id), address, port, when (give up)
    probe,         // address: a witness
    broadcast,     // frame: a cluster frame's payload, number: ClusterFrameKind; goes out on every link
    connections,   // query
    neighbours,    // neighbours
  };
  Kind kind = Kind::promote;
  GroupId group;
  NodeId node;
  Epoch epoch;
  PoolId pool;
  BackendId backend;
  PortNumber port;
  uint16_t workers = 0;
  uint16_t worker = 0;
  mirror::GroupBeat beat;
  bool flag = false;
  BootId boot;
  uint32_t silence = 0;  // of SharedSigns::silences, the last that control knew of when it decided
  uint64_t clock_us = 0;
  uint64_t number = 0;
  MacAddress mac;
  IpAddress address;
  Instant when{};
  rte_mbuf* frame = nullptr;
  ConnectionQuery* query = nullptr;
  NeighbourQuery* neighbours = nullptr;
};

// From a worker to control.
struct Report {
  enum class Kind : uint32_t {
    cluster_frame,      // frame, port: heartbeat, ownership, solicit or vote; control frees it
    check_result,       // number (id), flag (ok)
    witness_answer,     // address, when
    stalled,            // number (nanoseconds), silenced, silence, flag (ports were reopened meanwhile)
    first_packet,       // group, when
    promoted,           // group, number (counter of the epoch), when (worker 0: addresses announced)
    handed,             // group, flag: the owner has released it to us; false: it goes on after all
    hand_over_refused,  // group
    standby_dropped,    // group, node, number (generation)
    cut_off,            // group, node: nothing gets through to its standby, which has the addresses
    standby_silent,     // group, node: it has confirmed nothing for too long; waits for drop_standby
    beat_sent,          // number, when (before it left); worker 0 under leases only
    lease_lost,         // group, when: the worker has taken the voice away; only control gives it back
    rival,              // address, mac, port
  };
  Kind kind = Kind::cluster_frame;
  GroupId group;
  NodeId node;
  uint16_t port = 0;
  uint16_t worker = 0;
  bool flag = false;
  bool silenced = false;  // every worker takes the voice of every group away: only control gives it back
  uint32_t silence = 0;   // which one that is
  uint64_t number = 0;
  MacAddress mac;
  IpAddress address;
  Instant when{};
  rte_mbuf* frame = nullptr;
};

// What a worker holds of a group as standby, in one word, so that it is read whole.
struct ReplicaStatus {
  Epoch epoch;  // of the owner whose stream it is; the one that we own or follow when there is none
  mirror::Replica::State state = mirror::Replica::State::none;  // the worst of the streams
  uint64_t packed() const {
    return static_cast<uint64_t>(epoch.counter) << 32 | static_cast<uint64_t>(epoch.node.value()) << 16 |
           static_cast<uint64_t>(state);
  }
  static ReplicaStatus unpacked(uint64_t word) {
    return {{static_cast<uint32_t>(word >> 32), NodeId(static_cast<uint16_t>(word >> 16))},
            static_cast<mirror::Replica::State>(word & 0xff)};
  }
};

// One row of `show conn`.
struct ConnectionRow {
  FlowKey key;
  tcp::State state = tcp::State::established;
  ServiceId service;
  GroupId group;
  bool is_protected = false;
  bool adopted = false;
  bool owned = false;
  FlowKey partner;  // zero when there is none
  uint64_t held_bytes = 0;
  Duration srtt{0};
  uint32_t cwnd = 0;
  uint16_t worker = 0;
};

// Filled in by the worker, a bounded number of slots per round; control waits for `done`.
struct ConnectionQuery {
  uint32_t limit = 100;
  GroupId group;  // zero: all
  uint32_t next_slot = 0;
  uint32_t matching = 0;
  std::vector<ConnectionRow> rows;
  std::atomic<bool> done{false};
};

// One row of `show neighbour`.
struct NeighbourRow {
  IpAddress address;
  uint16_t port = 0;
  std::string_view state;
  MacAddress mac;  // zero while it has not answered
};

struct NeighbourQuery {
  std::vector<NeighbourRow> rows;
  std::atomic<bool> done{false};
};

// What a worker lets everybody see; written by the worker, relaxed.
struct WorkerStatus {
  static constexpr size_t kGroups = mirror::kHeartbeatGroupsMax;
  std::atomic<uint64_t> progress{0};
  std::atomic<int64_t> longest_stall_ns{0};
  std::atomic<uint32_t> stalls{0};     // longer than an interval
  std::atomic<uint64_t> passed_on{0};  // late frames, to the successor of a group that was handed over
  std::atomic<uint32_t> passing{0};    // groups whose late frames are still looked for
  struct GroupStatus {
    std::atomic<uint32_t> legs{0};
    std::atomic<uint32_t> unprotected{0};
    std::atomic<uint32_t> exempt{0};  // legs of services that want no protection, while the group is ours
    std::atomic<uint64_t> clock_us{0};
    // Owner's side: 0 closed, 1 syncing, 2 synced (the worst of the streams).
    std::atomic<uint32_t> stream_state{0};
    // How often control has told the worker whom to mirror to, or not to mirror any more, as far as
    // stream_state knows of it.
    std::atomic<uint32_t> standby_orders{0};
    std::atomic<uint32_t> stream_frames_waiting{0};
    std::atomic<uint64_t> stream_frames{0};
    std::atomic<uint64_t> stream_retransmitted{0};
    // Standby's side: a ReplicaStatus, and how often control has told the worker that an owner has dropped
    // one of its streams, as far as that knows of it.
    std::atomic<uint64_t> replica{0};
    std::atomic<uint32_t> stale_orders{0};
    ReplicaStatus replica_status() const {
      return ReplicaStatus::unpacked(replica.load(std::memory_order_relaxed));
    }
  };
  std::array<GroupStatus, kGroups> groups;
  std::atomic<uint32_t> standby_drops{0};
  std::array<std::atomic<uint64_t>, tcp::kEngineCounters.size()> counters{};  // as of the last heartbeat
};

}  // namespace understudy::worker
