#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "common/result.h"
#include "common/strong.h"

// What the console shows, as plain values. The appliance fills them from snapshots; the commands only
// lay them out. Times are ages and spans, never clock readings.
namespace understudy::console {

struct LinkView {
  std::string name;               // the port that it goes over
  std::optional<Duration> quiet;  // since the last beat; absent: none yet
};

struct PeerView {
  NodeId id;
  std::string name;
  BootId boot;        // 0 until it is heard
  std::string state;  // alive, suspect, never heard, ...
  std::vector<LinkView> links;
};

enum class StandbyState { none, syncing, synced, stale };

// How this node came to own a group: a receipt. The four spans follow each other without gaps.
struct TakeoverView {
  std::string what;  // "takeover from n1", "handed over by n1", "first claim"
  NodeId from;       // 0: nobody owned it before
  std::string from_name;
  Epoch epoch;
  std::string why;
  Duration ago{};
  Duration detection{};                  // last sign of life of the old owner to suspicion
  Duration decision{};                   // suspicion to decision
  std::optional<Duration> claim;         // decision to the announcement of the addresses
  std::optional<Duration> first_packet;  // announcement to the first packet to a client or a backend
  std::vector<LinkView> links;           // for how long the old owner had been silent when it was suspected
  uint64_t owner_legs = 0, owner_unprotected = 0;  // as the old owner said last
  uint64_t legs_held = 0, legs_lost = 0;
  bool handed = false, cold = false;
  std::string signs_of_life, consent, holdings, losses;  // sentences

  std::optional<Duration> total() const {
    if (!claim || !first_packet) return std::nullopt;
    return detection + decision + *claim + *first_packet;
  }
};

struct GroupView {
  GroupId id;
  std::string name;
  std::string state;  // of this node's failover machine: owner(protected), standby(synced), ...
  Duration in_state{};
  std::string why;  // the reason for the last change of it
  Epoch epoch;
  std::string owner;    // a node's name; empty: nobody known
  std::string standby;  // likewise
  StandbyState standby_state = StandbyState::none;
  uint64_t protected_legs = 0;
  uint64_t unprotected_legs = 0;
  std::vector<Prefix> virtual_ips;
  std::string arp_policy;
  MacAddress mac;
  std::optional<TakeoverView> last_takeover;
  uint64_t takeovers = 0;         // claims of this node
  uint64_t connections_lost = 0;  // in them
};

struct StreamView {  // one worker's mirror log of a group, towards the group's standby
  unsigned worker = 0;
  std::string group;
  NodeId peer;
  uint64_t lag_frames = 0;
  uint64_t lag_bytes = 0;
  uint64_t retransmitted_frames = 0;
  std::optional<Duration> last_commit;  // age; absent: none yet
};

struct ClusterView {
  std::string cluster;
  std::string node;
  NodeId id;
  BootId boot;
  Duration longest_stall{};  // of any worker since it started
  std::vector<PeerView> peers;
  std::vector<GroupView> groups;
  std::vector<StreamView> streams;
};

struct ConnectionView {
  FlowKey key;
  std::string state;  // as in RFC 9293: ESTABLISHED, ...
  std::string service;
  std::string group;
  bool is_protected = false;
  std::optional<FlowKey> partner;  // the proxied session's other leg
  uint64_t bytes_held = 0;
  std::optional<Duration> rtt;
  uint64_t congestion_window = 0;  // bytes; 0 while the leg has no soft state
};

struct ConnectionFilter {
  std::optional<std::string> group;
  size_t limit = 100;
};

struct ConnectionsView {
  uint64_t total = 0;  // that match the group, whatever the limit
  std::vector<ConnectionView> connections;
};

struct PortView {
  std::string name;
  std::string device;
  std::string roles;  // "front back"
  MacAddress mac;
  bool link_up = false;
  uint16_t mtu = 0;
  uint64_t received_frames = 0, received_bytes = 0, receive_missed = 0, receive_dropped = 0;
  uint64_t transmitted_frames = 0, transmitted_bytes = 0, transmit_dropped = 0;
  // Over the last second or so; absent: not measured yet.
  std::optional<uint64_t> receive_frames_per_second, receive_bits_per_second;
  std::optional<uint64_t> transmit_frames_per_second, transmit_bits_per_second;
};

struct EventView {
  Duration ago{};
  std::string subject;  // group web, node n2, port front
  std::string text;
};

struct TransitionView {
  Duration ago{};
  std::string from, to, why;
};

// What happened to a group, as this node saw it; the oldest first.
struct GroupStoryView {
  GroupView group;
  std::vector<TakeoverView> takeovers;  // by this node
  std::vector<TransitionView> transitions;
  std::vector<EventView> events;  // of this group, and of nodes, workers and ports
};

struct DropView {
  std::string name;  // tcp_checksum
  std::string text;  // TCP checksum wrong
  uint64_t frames = 0;
};

struct CounterView {
  std::string_view name;  // segments_received
  std::string_view unit;  // bytes, or nothing
  std::string_view text;  // Segments received
  uint64_t value = 0;
};

struct WorkerView {
  unsigned id = 0;
  int cpu = -1;  // -1: any
  uint64_t loops = 0;
  uint64_t connections = 0;  // legs
  unsigned shards = 0;
  unsigned busy_percent = 0;
  Duration longest_stall{};
  Duration busy{};                    // since it started
  uint64_t stalls = 0;                // absences for longer than a heartbeat interval
  uint64_t standby_drops = 0;         // a standby confirmed nothing for too long
  std::vector<CounterView> counters;  // of its TCP engine; the same ones of every worker
};

struct BackendView {
  std::string pool;
  std::string name;
  IpAddress address;
  std::optional<PortNumber> port;
  bool up = false;
  std::string why;  // of the last change
  unsigned weight = 0;
  uint64_t open_sessions = 0;
  uint64_t sessions_total = 0;
};

struct NeighbourView {
  IpAddress address;
  std::string port;
  std::string state;  // reachable, resolving, failed
  std::optional<MacAddress> mac;
  std::optional<Duration> age;
};

struct HandOverView {
  Duration took{};  // from the command until the group's new owner was heard
};

// Where the commands and the metrics get their data. Called from the console's threads, one call at a time,
// and from the thread of the metrics; answers from snapshots and does not block on workers.
class Source {
 public:
  virtual ~Source() = default;
  virtual ClusterView cluster() = 0;
  virtual ConnectionsView connections(const ConnectionFilter& filter) = 0;
  virtual std::vector<PortView> ports() = 0;
  virtual std::vector<EventView> events() = 0;                                // the oldest first
  virtual std::optional<GroupStoryView> story(const std::string& group) = 0;  // nothing: no such group
  virtual std::vector<DropView> drops() = 0;
  virtual std::vector<WorkerView> workers() = 0;
  virtual std::vector<BackendView> backends() = 0;
  virtual std::vector<NeighbourView> neighbours() = 0;
  // Hands a group over, and waits until that has succeeded or failed: a second or two at most. Names as in
  // the configuration.
  virtual Result<HandOverView> hand_over(const std::string& group, const std::string& node) = 0;
  // Asks the node to end; returns at once.
  virtual void quit() = 0;
};

}  // namespace understudy::console
