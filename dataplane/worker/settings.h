#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "common/siphash.h"
#include "common/strong.h"
#include "dataplane/seal/keys.h"
#include "dataplane/service/backend_pool.h"
#include "dataplane/tcp/engine.h"
#include "dataplane/worker/lease.h"
#include "dataplane/worker/port.h"
#include "dataplane/worker/syn_guard.h"

namespace understudy::worker {

enum class ApplicationKind : uint8_t { proxy, echo, discard, tally };

struct PortSetup {
  Port* port = nullptr;
  std::string name;
  bool peer = false;              // carries the mirror
  std::vector<Prefix> addresses;  // the node's own
};

struct GroupAddress {
  IpAddress address;
  uint16_t port = 0;  // position in WorkerSettings::ports
};

struct GroupSetup {
  GroupId id;
  std::optional<GroupId> twin;  // a second group with the same addresses and services (staying.cc)
  bool is_spare = false;        // the one of the two to which no service points; it comes after its twin
  MacAddress mac;               // for virtual_mac; the port's own under `gratuitous`
  bool virtual_mac = true;
  std::vector<GroupAddress> virtual_ips;
  std::vector<GroupAddress> source_addresses;
  bool accept_unprotected = true;
};

struct ServiceSetup {
  ServiceId id;
  GroupId group;
  PortNumber first_port, last_port;
  ApplicationKind application = ApplicationKind::echo;
  PoolId pool;
  bool protect = true;
  Duration idle_timeout = 15min;
  tcp::KeepAlive keepalive;
  Duration user_timeout{0};
  Duration connect_timeout = 60s;
  uint8_t dscp = 0;
};

struct PoolSetup {
  PoolId id;
  std::vector<service::Backend> backends;
};

struct RouteSetup {
  Prefix destination;
  IpAddress via;
};

// What the workers of one node tell each other without a message.
struct SharedSigns {
  static constexpr size_t kNodes = 16;
  struct Sign {
    std::atomic<uint64_t> boot{0};            // of whom the others speak
    std::atomic<int64_t> beat_ns{INT64_MIN};  // when it was last heard on any link
    std::atomic<int64_t> woke_ns{INT64_MIN};  // first heard again after a silence of more than two intervals
    std::atomic<int64_t> link_beat_ns{INT64_MIN};  // as beat_ns, on the link that carries the mirror
  };
  std::array<Sign, kNodes> nodes;  // by position in WorkerSettings::nodes; written by worker 0
  // How often a worker of this node has found that it was away for so long that another node may have
  // replaced this one. Whoever finds it raises the count, and all fall silent in their next round, before
  // they do anything else: what is said by one worker is said by the node.
  std::atomic<uint32_t> silences{0};
};

struct WorkerSettings {
  std::shared_ptr<SharedSigns> signs;     // the same for all workers of a node
  std::shared_ptr<Leases> leases;         // likewise; nothing where the arbiter gives none
  const tcp::ShardMap* shards = nullptr;  // likewise; outlives the workers
  NodeId node;
  BootId boot;
  uint32_t cluster = 0;  // id in the headers of opened frames
  seal::KeyRing keys;
  std::vector<NodeId> nodes;  // of the cluster, this one included; at most SharedSigns::kNodes
  Secret secret;
  uint16_t index = 0;
  uint16_t workers = 1;
  Duration interval = 20ms;
  Duration dead_after = 100ms;
  Duration standby_timeout = 100ms;
  Duration in_sync_lease = 60ms;  // without leases only
  Duration reset_hold = 3s;
  tcp::EngineSettings engine;
  uint32_t mirror_window = 1024;                       // frames, of each stream
  uint32_t syn_filter_lines = SynGuard::kFilterLines;  // a power of two
  // False: what is written to the standby counts as confirmed at once, and promise 1 does not hold. For
  // measuring what the gate costs; no configuration says it.
  bool gates_acknowledgements = true;
  std::vector<PortSetup> ports;
  std::vector<RouteSetup> routes;
  std::vector<GroupSetup> groups;
  std::vector<ServiceSetup> services;
  std::vector<PoolSetup> pools;
};

}  // namespace understudy::worker
