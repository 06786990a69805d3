#include "control/appliance/wiring.h"

#include <algorithm>
#include <bit>

#include "common/check.h"
#include "control/etcd/etcd_arbiter.h"
#include "dataplane/mirror/heartbeat.h"

namespace understudy::appliance {
namespace {

uint16_t port_of(const std::vector<OpenPort>& ports, const IpAddress& address, bool front) {
  for (size_t i = 0; i < ports.size(); ++i) {
    const config::PortConfig& port = *ports[i].config;
    if ((front ? port.front : port.back) && port.network_with(address) != nullptr)
      return static_cast<uint16_t>(i);
  }
  return 0;  // the configuration check has seen to it that there is one
}

worker::GroupSetup group_setup(const config::GroupConfig& group, const std::vector<OpenPort>& ports) {
  worker::GroupSetup setup;
  setup.id = group.id;
  setup.twin = group.twin;
  setup.is_spare = group.is_spare;
  setup.mac = group.mac;
  setup.virtual_mac = group.arp == config::ArpPolicy::virtual_mac;
  setup.accept_unprotected = group.accept_unprotected;
  for (const Prefix& ip : group.virtual_ips)
    setup.virtual_ips.push_back({ip.address, port_of(ports, ip.address, true)});
  for (const Prefix& ip : group.source_addresses)
    setup.source_addresses.push_back({ip.address, port_of(ports, ip.address, false)});
  return setup;
}

worker::ServiceSetup service_setup(const config::ServiceConfig& service, GroupId group) {
  worker::ServiceSetup setup;
  setup.id = service.id;
  setup.group = group;
  setup.first_port = service.first_port;
  setup.last_port = service.last_port;
  setup.application = static_cast<worker::ApplicationKind>(service.application);
  setup.pool = service.pool.value_or(PoolId());
  setup.protect = service.protect;
  setup.idle_timeout = service.idle_timeout;
  if (const auto& keepalive = service.keepalive)
    setup.keepalive = {keepalive->idle, keepalive->interval, static_cast<uint8_t>(keepalive->probes)};
  setup.user_timeout = service.user_timeout;
  setup.connect_timeout = service.connect_timeout;
  setup.dscp = static_cast<uint8_t>(service.dscp);
  return setup;
}
static_assert(static_cast<int>(config::ApplicationKind::tally) ==
              static_cast<int>(worker::ApplicationKind::tally));
static_assert(config::kGroupsMax == mirror::kHeartbeatGroupsMax);
static_assert(static_cast<int>(config::Ecn::request) == static_cast<int>(tcp::Ecn::request));

cluster::MembersArbiter::Settings members_settings(const config::Config& config,
                                                   const config::NodeConfig& node, BootId boot) {
  cluster::MembersArbiter::Settings settings;
  settings.self = node.id;
  settings.boot = boot;
  for (const config::NodeConfig& each : config.nodes) settings.members.emplace_back(each.id, each.name);
  for (const config::GroupConfig& group : config.groups) settings.groups.push_back(group.id);
  settings.lease = config.cluster.lease_length();
  settings.dead_after = config.cluster.dead_after();
  settings.cold_after = config.cluster.cold_takeover_after;
  return settings;
}

etcd::OwnCluster::Settings own_etcd(const config::EtcdConfig& etcd, const config::NodeConfig& node,
                                    const cluster::KeptMemory& memory) {
  using State = cluster::KeptMemory::State;
  etcd::OwnCluster::Settings own{
      .id = etcd.cluster_id, .is_configured = etcd.cluster_id.has_value(), .kept_in = node.etcd_file()};
  if (own.is_configured || memory.state == State::none) return own;
  own.id = etcd::decode_cluster_id(memory.bytes);
  invariant(own.id.has_value(), "an unreadable id of an etcd cluster was let through");
  return own;
}

// Names of keys are those of the configuration: nodes of the same cluster find the same key.
etcd::EtcdArbiter::Settings etcd_settings(const config::Config& config, const config::NodeConfig& node,
                                          BootId boot, const cluster::KeptMemory& memory) {
  const config::ClusterConfig& cluster = config.cluster;
  etcd::EtcdArbiter::Settings settings;
  settings.self = node.id;
  settings.boot = boot;
  for (const config::NodeConfig& each : config.nodes) settings.nodes.emplace_back(each.id, each.name);
  for (const config::GroupConfig& group : config.groups)
    settings.groups.push_back({.id = group.id,
                               .key = cluster.etcd->prefix + cluster.name + "/" + group.name,
                               .candidates = group.successors});
  settings.own = own_etcd(*cluster.etcd, node, memory);
  settings.lease = cluster.lease_length();
  settings.cold_after = cluster.cold_takeover_after;
  settings.timeout = cluster.etcd_timeout();
  settings.renew_before = settings.lease * 5 / 16;
  settings.renew_before_by_swap = settings.lease * 5 / 8;
  settings.retry = settings.lease / 8;
  return settings;
}

}  // namespace

uint32_t cluster_id(const config::ClusterConfig& cluster) {
  return static_cast<uint32_t>(siphash(cluster.secret, cluster.name.data(), cluster.name.size()));
}

worker::WorkerSettings worker_settings(const config::Config& config, const config::NodeConfig& node,
                                       BootId boot, const std::vector<OpenPort>& ports, uint32_t buffers) {
  worker::WorkerSettings settings;
  const config::ClusterConfig& cluster = config.cluster;
  settings.signs = std::make_shared<worker::SharedSigns>();
  settings.node = node.id;
  settings.boot = boot;
  settings.cluster = cluster_id(cluster);
  settings.keys = cluster.keys;
  for (const config::NodeConfig& each : config.nodes) settings.nodes.push_back(each.id);
  settings.secret = cluster.secret;
  settings.workers = static_cast<uint16_t>(node.workers);
  settings.interval = cluster.heartbeat_interval;
  settings.dead_after = cluster.dead_after();
  settings.standby_timeout = cluster.standby_timeout;
  settings.in_sync_lease = cluster.in_sync_lease;
  settings.reset_hold = cluster.reset_hold;
  settings.engine.legs = std::max(node.connections / node.workers, 64U);
  settings.engine.active_legs = std::min(settings.engine.legs, 32768U);
  settings.engine.sent_segments = std::max(4 * settings.engine.active_legs, 65536U);
  settings.engine.receive_buffer = config.tcp.receive_buffer;
  settings.engine.ecn = static_cast<tcp::Ecn>(config.tcp.ecn);
  settings.engine.hop_limit = static_cast<uint8_t>(config.tcp.hop_limit);
  // Streams may pin half of the buffers, each worker its part: there is always one for the acknowledgement
  // that frees them.
  constexpr uint64_t kBufferCharge = 2304;
  settings.engine.chunks = buffers / (2 * node.workers);
  settings.engine.pinned_max = settings.engine.chunks * kBufferCharge;
  // The mirror's window holds buffers too, at both ends of every stream.
  const uint32_t windows = buffers / node.workers >= 32768 ? 2048 : 512;
  const auto groups = static_cast<uint32_t>(std::max<size_t>(config.groups.size(), 1));
  settings.mirror_window = std::max(windows / std::bit_ceil(groups), 64U);
  for (const OpenPort& port : ports) {
    settings.ports.push_back({.port = port.port,
                              .name = port.config->name,
                              .peer = port.config->peer,
                              .addresses = port.config->addresses});
  }
  for (const config::RouteConfig& route : config.routes)
    settings.routes.push_back({route.destination, route.via});
  for (const config::PoolConfig& pool : config.pools) {
    worker::PoolSetup setup{.id = pool.id, .backends = {}};
    for (const config::BackendConfig& backend : pool.backends)
      setup.backends.push_back(
          {.address = backend.address, .port = backend.port, .weight = backend.weight, .up = false});
    settings.pools.push_back(std::move(setup));
  }
  for (const config::GroupConfig& group : config.groups) {
    settings.groups.push_back(group_setup(group, ports));
    for (const config::ServiceConfig& service : group.services)
      settings.services.push_back(service_setup(service, group.id));
  }
  return settings;
}

std::vector<worker::LeasedPort::Address> leased_addresses(const config::Config& config) {
  std::vector<worker::LeasedPort::Address> addresses;
  for (size_t i = 0; i < config.groups.size(); ++i)
    for (const auto* list : {&config.groups[i].virtual_ips, &config.groups[i].source_addresses})
      for (const Prefix& each : *list) addresses.push_back({each.address, i});
  return addresses;
}

std::unique_ptr<cluster::Arbiter> make_arbiter(const config::Config& config, const config::NodeConfig& node,
                                               BootId boot, const cluster::KeptMemory& memory,
                                               etcd::Transport* transport, Instant now) {
  switch (config.cluster.arbiter) {
    case config::Arbiter::none:
      return nullptr;
    case config::Arbiter::members:
      return std::make_unique<cluster::MembersArbiter>(members_settings(config, node, boot), memory, now);
    case config::Arbiter::etcd:
      invariant(transport != nullptr, "arbiter etcd without a way to etcd");
      return std::make_unique<etcd::EtcdArbiter>(etcd_settings(config, node, boot, memory), *transport, now);
  }
  return nullptr;
}

std::vector<IpAddress> witnesses(const config::Config& config, const config::NodeConfig& node) {
  std::vector<IpAddress> found;
  const auto add = [&](const IpAddress& address) {
    const bool on_link = std::ranges::any_of(
        node.ports, [&](const config::PortConfig& port) { return port.network_with(address) != nullptr; });
    if (on_link && std::ranges::find(found, address) == found.end()) found.push_back(address);
  };
  for (const config::RouteConfig& route : config.routes) add(route.via);
  for (const config::PoolConfig& pool : config.pools)
    for (const config::BackendConfig& backend : pool.backends) add(backend.address);
  return found;
}

}  // namespace understudy::appliance
