#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "common/strong.h"
#include "control/cluster/ownership.h"
#include "control/config/config.h"

namespace understudy::cluster {

struct NodeSettings {
  NodeId id;
  std::string name;
};

// A network over which frames of the cluster travel: one of this node's ports.
struct LinkSettings {
  std::string name;
  MacAddress mac;       // ours on it
  bool mirror = false;  // carries the mirror
  bool front = false;   // clients are there
  bool back = false;    // backends are
};

struct GroupSettings {
  GroupId id;
  std::string name;
  std::optional<GroupId> twin;     // a second group with the same addresses and services
  bool is_spare = false;           // the one of the two that is not configured
  std::vector<NodeId> successors;  // most preferred first
  config::FailoverPolicy failover = config::FailoverPolicy::successor_order;
  config::Failback failback = config::Failback::never;
  config::ArpPolicy arp = config::ArpPolicy::virtual_mac;
  std::vector<OwnedAddress> addresses;  // what this node answers for when it owns the group
  std::vector<OwnedPorts> ports;
};

// What the controller of one node needs to know.
struct ClusterSettings {
  NodeId self;
  BootId boot;
  std::vector<NodeSettings> nodes;  // all of them
  std::vector<LinkSettings> links;  // LinkId is the position
  std::vector<GroupSettings> groups;
  bool has_witnesses = true;      // a gateway or a backend is configured
  Duration interval = 20ms;       // of heartbeats
  Duration dead_after = 100ms;    // at least 3 intervals
  Duration in_sync_lease = 60ms;  // a standby away for longer holds stale legs
  Duration learn_for = 250ms;     // at least 2 × dead_after
  Duration ownership_period = 1s;
  config::Arbiter arbiter = config::Arbiter::none;
  Duration cold_takeover_after = 3s;
};

// From a validated configuration. `macs` are those of the node's ports, in its order: under the gratuitous
// policy they answer for the addresses. Every port is a link.
ClusterSettings settings_from(const config::Config& config, const config::NodeConfig& node, BootId boot,
                              const std::vector<MacAddress>& macs);

}  // namespace understudy::cluster
