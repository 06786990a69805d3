#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "common/result.h"
#include "common/siphash.h"
#include "common/strong.h"
#include "dataplane/seal/keys.h"

namespace understudy::config {

// Where a value stands in its file, for messages: file:line:column.
struct Mark {
  std::string file;
  int line = 0;
  int column = 0;
  std::string to_string() const;
};

enum class Arbiter { none, members, etcd };
enum class Idle { poll, adaptive };
enum class ArpPolicy {
  virtual_mac,
  gratuitous
};  // virtual_mac: the group's MAC moves; gratuitous: own MAC, neighbours are told
enum class FailoverPolicy { successor_order, none };
// manual: by the console's `failover group`; when_synced: by itself, with the live connections;
// new_connections: by itself, without those that are open, which stay where they are until they end.
enum class Failback { never, manual, when_synced, new_connections };
enum class ApplicationKind { proxy, echo, discard, tally };
enum class Hugepages { automatic, always, never };

struct PortConfig {
  std::string name;
  std::string device;  // PCI address (0000:03:00.0) or vdev string (net_af_packet0,iface=front)
  bool front = false, back = false, peer = false;  // roles; a port may have several
  std::vector<Prefix> addresses;                   // the node's own; required unless the port is only peer
  uint16_t mtu = 1500;
  uint16_t vlan = 0;         // IEEE 802.1Q tag of all frames there; 0: none
  bool reassembles = false;  // fragments of IP packets; otherwise they are dropped
  Mark mark;

  // The address whose network holds `address`, or null.
  const Prefix* network_with(const IpAddress& address) const;
};

struct NodeConfig {
  std::string name;
  NodeId id;
  std::vector<PortConfig> ports;
  unsigned workers = 1;
  std::vector<unsigned> cpus;  // processors to run on; empty: any
  Idle idle = Idle::adaptive;
  Hugepages hugepages = Hugepages::automatic;
  unsigned memory_mb = 512;        // for packet buffers and tables
  uint32_t connections = 100'000;  // legs per node, all workers together
  std::string console_socket;      // default /run/understudy/NAME.sock
  std::string
      promises;  // arbiter members: file of what it promised; default /var/lib/understudy/NAME.promises
  Mark mark;

  // Beside it, arbiter etcd without a configured cluster_id: to which etcd cluster it belongs.
  std::string etcd_file() const { return promises + ".etcd"; }
};

struct RouteConfig {
  Prefix destination;
  IpAddress via;
  Mark mark;
};

struct BackendConfig {
  std::string name;
  IpAddress address;
  std::optional<PortNumber> port;  // absent: the port that the client asked for
  unsigned weight = 1;             // 1..256
  Mark mark;
};

struct CheckConfig {
  Duration interval = 500ms;
  Duration timeout = 300ms;
  unsigned rise = 2;
  unsigned fall = 3;
  std::optional<PortNumber> port;  // absent: the backend's own; required when that is absent too
};

struct PoolConfig {
  std::string name;
  PoolId id;  // position in Config::pools, from 0
  std::vector<BackendConfig> backends;
  CheckConfig check;
  Mark mark;
};

// TCP keep-alive (RFC 9293 section 3.8.4), to clients and to backends.
struct KeepaliveConfig {
  Duration idle = 2h;
  Duration interval = 75s;
  unsigned probes = 9;
};

struct ServiceConfig {
  std::string name;
  ServiceId id;  // position over all groups in the file, from 0
  PortNumber first_port, last_port;
  ApplicationKind application = ApplicationKind::echo;
  std::optional<PoolId> pool;  // proxy only
  bool protect = true;
  Duration idle_timeout = 15min;
  std::optional<KeepaliveConfig> keepalive;
  unsigned dscp = 0;               // differentiated services codepoint
  Duration connect_timeout = 60s;  // proxy only
  Duration user_timeout{0};        // 0: the number of retransmissions decides
  Mark mark;
};

struct GroupConfig {
  std::string name;
  GroupId id;
  MacAddress mac;
  ArpPolicy arp = ArpPolicy::virtual_mac;
  std::vector<Prefix> virtual_ips;
  std::vector<Prefix> source_addresses;  // for legs to backends
  std::vector<NodeId> successors;        // most preferred first
  FailoverPolicy failover = FailoverPolicy::successor_order;
  Failback failback = Failback::never;
  bool accept_unprotected = true;  // take new connections while there is no standby
  // failback new_connections: a second group with the same addresses and services, which is made from this
  // one (pairs.cc); connections that stay are in one of the two, new ones in the other. Each names the other.
  std::optional<GroupId> twin;
  bool is_spare = false;  // the one that was made; it has no services of its own
  std::vector<ServiceConfig> services;
  Mark mark;
};

enum class Ecn : uint8_t { off, accept, request };

struct TcpConfig {
  uint32_t receive_buffer = 512 * 1024;  // bytes per direction
  Ecn ecn = Ecn::accept;                 // RFC 3168
  unsigned hop_limit = 64;               // or time to live
};

// Where the arbiter `etcd` is.
struct EtcdConfig {
  std::vector<std::string> endpoints;  // http://HOST:PORT or https://HOST:PORT; one is asked after the other
  std::string prefix = "understudy/";  // of the keys: PREFIX CLUSTER "/" GROUP
  Duration timeout{0};                 // of a request, as configured; zero: half a lease
  std::optional<uint64_t> cluster_id;  // of the only one that counts; nothing: NodeConfig::etcd_file() says
  std::string ca_file;                 // of the servers' certificates; empty: the system's
  std::string certificate_file, key_file;  // by which this node shows itself; empty: not at all
};

struct ClusterConfig {
  std::string name;
  Arbiter arbiter = Arbiter::none;
  // From secret_file or, for trials, from the name with a warning.
  Secret secret;       // keys sequence numbers and hashes
  seal::KeyRing keys;  // seal the frames between nodes; accept_secret_file gives the second one
  Duration heartbeat_interval = 20ms;
  unsigned heartbeat_misses = 5;     // dead_after = interval * misses
  Duration standby_timeout = 100ms;  // no commit progress for this long: the standby is dropped
  Duration in_sync_lease =
      60ms;  // silence on the mirror after which a standby calls itself stale; < standby_timeout
  Duration reset_hold = 3s;  // after a takeover, unknown connections get no RST for this long
  unsigned shards = 64;      // power of two
  // Arbiter members: how long an owner speaks after it sent the heartbeat that a majority has echoed. Arbiter
  // etcd: or that all others have echoed, or after it sent what etcd has confirmed.
  Duration lease{0};  // as configured; zero: four fifths of dead_after
  Duration lease_length() const { return lease > Duration(0) ? lease : dead_after() * 4 / 5; }
  // Nobody who is in sync has been heard for so long: a node without the connections may claim.
  Duration cold_takeover_after = 3s;
  std::optional<EtcdConfig> etcd;
  Duration etcd_timeout() const {
    return etcd && etcd->timeout > Duration(0) ? etcd->timeout : lease_length() / 2;
  }
  Duration dead_after() const { return heartbeat_interval * heartbeat_misses; }
};

// Where each node answers GET /metrics; nowhere unless it is configured.
struct MetricsConfig {
  IpAddress address;
  PortNumber port;
  Mark mark;
};

struct Config {
  std::string file;
  ClusterConfig cluster;
  TcpConfig tcp;
  std::optional<MetricsConfig> metrics;
  std::vector<NodeConfig> nodes;
  std::vector<RouteConfig> routes;
  std::vector<PoolConfig> pools;
  std::vector<GroupConfig> groups;
  // What is allowed and yet worth a word at every start, each as "file:line:column: sentence".
  std::vector<std::string> warnings;
  const NodeConfig* find_node(std::string_view name) const;
  size_t groups_configured() const;  // without the spares
};

// Under which a group's spare is spoken of.
std::string spare_name(const std::string& group);

// With spares. No more fit into a heartbeat.
constexpr size_t kGroupsMax = 16;

// Every fault that was found, each as "file:line:column: what is wrong, and the cure".
struct Faults {
  std::vector<std::string> lines;
};

// Reads and validates a file. All faults are reported at once, not the first only.
std::variant<Config, Faults> load(const std::string& path);
// The same from text; `name` stands in messages.
std::variant<Config, Faults> parse(const std::string& text, const std::string& name);

}  // namespace understudy::config
