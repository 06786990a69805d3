#pragma once

#include <memory>
#include <vector>

#include "control/cluster/members_arbiter.h"
#include "control/config/config.h"
#include "control/etcd/transport.h"
#include "dataplane/worker/settings.h"

namespace understudy::appliance {

// A port of this node as opened, in the order of the configuration.
struct OpenPort {
  Port* port = nullptr;
  const config::PortConfig* config = nullptr;
};

// What all workers of `node` are told, from a validated configuration; index and ports are filled in per
// worker. `buffers` is the size of the pool that all of them share.
worker::WorkerSettings worker_settings(const config::Config& config, const config::NodeConfig& node,
                                       BootId boot, const std::vector<OpenPort>& ports, uint32_t buffers);

// Keeps clusters that share a network apart: a keyed hash of the name.
uint32_t cluster_id(const config::ClusterConfig& cluster);

// The addresses of groups: frames that speak for them leave only while a lease lives.
std::vector<worker::LeasedPort::Address> leased_addresses(const config::Config& config);

// The arbiter that the configuration names: nothing for `none`. `memory` is what a former life has
// kept (under `etcd` something that decode_cluster_id() reads); `transport` the way to etcd, which outlives
// the arbiter.
std::unique_ptr<cluster::Arbiter> make_arbiter(const config::Config& config, const config::NodeConfig& node,
                                               BootId boot, const cluster::KeptMemory& memory,
                                               etcd::Transport* transport, Instant now);

// Addresses whose answer shows that this node's networks work: gateways and backends that are on-link.
std::vector<IpAddress> witnesses(const config::Config& config, const config::NodeConfig& node);

}  // namespace understudy::appliance
