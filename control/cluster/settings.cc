#include "control/cluster/settings.h"

#include <algorithm>

namespace understudy::cluster {
namespace {

// The MAC of the port whose network an address lies in, else of any port that serves clients.
MacAddress port_mac(const config::NodeConfig& node, const std::vector<MacAddress>& macs,
                    const IpAddress& address) {
  MacAddress fallback;
  for (size_t i = 0; i < node.ports.size() && i < macs.size(); ++i) {
    const config::PortConfig& port = node.ports[i];
    if (port.network_with(address) != nullptr) return macs[i];
    if (port.front && fallback.is_zero()) fallback = macs[i];
  }
  return fallback;
}

GroupSettings group_from(const config::GroupConfig& group, const config::NodeConfig& node,
                         const std::vector<MacAddress>& macs) {
  GroupSettings settings{.id = group.id,
                         .name = group.name,
                         .twin = group.twin,
                         .is_spare = group.is_spare,
                         .successors = group.successors,
                         .failover = group.failover,
                         .failback = group.failback,
                         .arp = group.arp,
                         .addresses = {},
                         .ports = {}};
  const bool own_mac = group.arp == config::ArpPolicy::gratuitous;
  auto add = [&](const Prefix& address, bool source) {
    const MacAddress mac = own_mac ? port_mac(node, macs, address.address) : group.mac;
    settings.addresses.push_back({address, mac, source});
  };
  for (const Prefix& address : group.virtual_ips) add(address, false);
  for (const Prefix& address : group.source_addresses) add(address, true);
  for (const config::ServiceConfig& service : group.services)
    settings.ports.push_back({service.first_port, service.last_port, service.application});
  return settings;
}

}  // namespace

ClusterSettings settings_from(const config::Config& config, const config::NodeConfig& node, BootId boot,
                              const std::vector<MacAddress>& macs) {
  ClusterSettings settings;
  settings.self = node.id;
  settings.boot = boot;
  for (const config::NodeConfig& each : config.nodes) settings.nodes.push_back({each.id, each.name});
  for (size_t i = 0; i < node.ports.size(); ++i)
    settings.links.push_back({node.ports[i].name, i < macs.size() ? macs[i] : MacAddress(),
                              node.ports[i].peer, node.ports[i].front, node.ports[i].back});
  for (const config::GroupConfig& group : config.groups)
    settings.groups.push_back(group_from(group, node, macs));
  settings.has_witnesses =
      !config.routes.empty() || std::any_of(config.pools.begin(), config.pools.end(),
                                            [](const auto& pool) { return !pool.backends.empty(); });
  settings.interval = config.cluster.heartbeat_interval;
  settings.dead_after = config.cluster.dead_after();
  settings.in_sync_lease = config.cluster.in_sync_lease;
  settings.arbiter = config.cluster.arbiter;
  settings.cold_takeover_after = config.cluster.cold_takeover_after;
  settings.learn_for = 2 * settings.dead_after + settings.interval;
  return settings;
}

}  // namespace understudy::cluster
