#include <bit>
#include <map>

#include <fmt/format.h>

#include "control/config/quantity.h"
#include "control/config/sections.h"

namespace understudy::config {
namespace {

// Says that a value is taken, and by which line. Empty keys are values that were faulty already.
class Unique {
 public:
  Unique(Reading& reading, std::string what) : reading_(reading), what_(std::move(what)) {}
  void add(const std::string& key, const std::string& path) {
    if (key.empty()) return;
    const Mark& mark = reading_.places.at(path);
    const auto [first, fresh] = first_.emplace(key, mark);
    if (!fresh)
      reading_.faults.add(mark, fmt::format("{} `{}` is taken on line {}; give each its own", what_, key,
                                            first->second.line));
  }

 private:
  Reading& reading_;
  std::string what_;
  std::map<std::string, Mark> first_;
};

std::string id_text(uint16_t id) {
  return id == 0 ? "" : std::to_string(id);
}

void check_timing(Reading& reading, const ClusterConfig& cluster) {
  if (cluster.in_sync_lease >= cluster.standby_timeout)
    reading.faults.add(
        reading.places.at("cluster.in_sync_lease"),
        fmt::format(
            "in_sync_lease ({}) must be shorter than standby_timeout ({}), or a standby that was dropped "
            "could still believe that it is in sync; shorten it to {}",
            duration_text(cluster.in_sync_lease), duration_text(cluster.standby_timeout),
            duration_text(std::chrono::duration_cast<std::chrono::microseconds>(cluster.standby_timeout) * 3 /
                          5)));
  if (cluster.in_sync_lease < 2 * cluster.heartbeat_interval)
    reading.faults.add(
        reading.places.at("cluster.in_sync_lease"),
        fmt::format(
            "in_sync_lease ({}) must span two heartbeats ({} each), or one lost frame makes a standby stale; "
            "lengthen it or shorten heartbeat.interval",
            duration_text(cluster.in_sync_lease), duration_text(cluster.heartbeat_interval)));
  if (cluster.dead_after() < 10ms)
    reading.faults.add(
        reading.places.at("cluster.heartbeat"),
        fmt::format(
            "a node would count as dead after {} of silence, which a busy processor can cause by itself; "
            "interval x misses must be at least 10ms",
            duration_text(cluster.dead_after())));
  if (!std::has_single_bit(cluster.shards))
    reading.faults.add(reading.places.at("cluster.shards"),
                       fmt::format("`shards` must be a power of two, and {} is none; choose {}",
                                   cluster.shards, std::bit_ceil(cluster.shards)));
}

void check_roles(Reading& reading, const NodeConfig& node, const std::string& path) {
  bool front = false, back = false, peer = false;
  for (const PortConfig& port : node.ports) {
    front |= port.front;
    back |= port.back;
    peer |= port.peer;
  }
  if (node.ports.empty()) return;
  const auto need = [&](bool has, std::string_view role) {
    if (!has)
      reading.faults.add(
          reading.places.at(path + ".ports"),
          fmt::format("no port of node `{}` has the {} role; add it to the `roles` of one, a port "
                      "may have several",
                      node.name, role));
  };
  need(front, "front");
  need(back, "back");
  need(peer, "peer");
}

void check_node(Reading& reading, const Config& config, const NodeConfig& node, const std::string& path) {
  Unique names(reading, "the port name");
  Unique devices(reading, "the device");
  for (size_t i = 0; i < node.ports.size(); ++i) {
    const std::string port = fmt::format("{}.ports[{}]", path, i);
    names.add(node.ports[i].name, port + ".name");
    // The virtual device's name identifies it to DPDK; its arguments do not.
    devices.add(node.ports[i].device.substr(0, node.ports[i].device.find(',')), port + ".device");
  }
  check_roles(reading, node, path);
  if (node.workers > config.cluster.shards)
    reading.faults.add(
        reading.places.at(path + ".workers"),
        fmt::format("node `{}` has {} workers for {} shards, so some would have nothing to do; lower "
                    "`workers` or raise `cluster.shards`",
                    node.name, node.workers, config.cluster.shards));
}

void check_nodes(Reading& reading, Config& config) {
  Unique names(reading, "the node name");
  Unique ids(reading, "the node id");
  for (size_t i = 0; i < config.nodes.size(); ++i) {
    const std::string path = fmt::format("nodes[{}]", i);
    names.add(config.nodes[i].name, path + ".name");
    ids.add(id_text(config.nodes[i].id.value()), path + ".id");
    check_node(reading, config, config.nodes[i], path);
  }
  if (config.nodes.size() > 2 && config.cluster.arbiter == Arbiter::none)
    config.warnings.push_back(
        fmt::format("{}: `arbiter: none` is made for two nodes; with {} a split network can "
                    "leave more than one owner",
                    reading.places.at("cluster.arbiter").to_string(), config.nodes.size()));
}

void check_pools(Reading& reading, const Config& config) {
  Unique names(reading, "the pool name");
  for (size_t i = 0; i < config.pools.size(); ++i) {
    const PoolConfig& pool = config.pools[i];
    const std::string path = fmt::format("pools[{}]", i);
    names.add(pool.name, path + ".name");
    Unique backends(reading, "the backend name");
    for (size_t j = 0; j < pool.backends.size(); ++j) {
      const std::string backend = fmt::format("{}.backends[{}]", path, j);
      backends.add(pool.backends[j].name, backend + ".name");
      if (!pool.backends[j].port && !pool.check.port)
        reading.faults.add(
            reading.places.at(backend),
            fmt::format("backend `{}` has no `port`, and the pool's check does not say which to try; "
                        "add `check: {{port: N}}` to pool `{}`",
                        pool.backends[j].name, pool.name));
    }
  }
}

void check_port_ranges(Reading& reading, const GroupConfig& group, const std::string& path) {
  const auto& services = group.services;
  for (size_t later = 0; later < services.size(); ++later)
    for (size_t earlier = 0; earlier < later; ++earlier) {
      const ServiceConfig &a = services[earlier], &b = services[later];
      if (a.first_port.value() == 0 || b.first_port.value() == 0) continue;
      if (a.last_port < b.first_port || b.last_port < a.first_port) continue;
      const PortNumber shared = std::max(a.first_port, b.first_port);
      reading.faults.add(
          reading.places.at(fmt::format("{}.services[{}].ports", path, later)),
          fmt::format("services `{}` and `{}` both listen on port {}; let each port belong to one", a.name,
                      b.name, shared.value()));
    }
}

void check_group(Reading& reading, const GroupConfig& group, const std::string& path) {
  Unique services(reading, "the service name");
  bool has_proxy = false;
  for (size_t i = 0; i < group.services.size(); ++i) {
    services.add(group.services[i].name, fmt::format("{}.services[{}].name", path, i));
    has_proxy |= group.services[i].application == ApplicationKind::proxy;
  }
  check_port_ranges(reading, group, path);
  if (has_proxy && group.source_addresses.empty())
    reading.faults.add(
        reading.places.at(path),
        fmt::format("group `{}` has a proxy service and no `source_addresses`; add an address of the "
                    "back network, from which it talks to backends",
                    group.name));
}

void check_groups(Reading& reading, Config& config) {
  Unique names(reading, "the group name");
  Unique ids(reading, "the group id");
  Unique macs(reading, "the group MAC");
  for (size_t i = 0; i < config.groups.size(); ++i) {
    const GroupConfig& group = config.groups[i];
    const std::string path = fmt::format("groups[{}]", i);
    names.add(group.name, path + ".name");
    ids.add(id_text(group.id.value()), path + ".id");
    macs.add(group.mac.is_zero() ? "" : group.mac.to_string(), path + ".mac");
    check_group(reading, group, path);
    if (group.successors.size() == 1)
      config.warnings.push_back(fmt::format(
          "{}: group `{}` has one successor, so nobody takes over and its connections are unprotected",
          reading.places.at(path + ".successors").to_string(), group.name));
  }
}

}  // namespace

void validate(Reading& reading, Config& config) {
  check_timing(reading, config.cluster);
  validate_arbiter(reading, config);
  check_nodes(reading, config);
  check_pools(reading, config);
  check_groups(reading, config);
  check_number_of_groups(reading, config);
  validate_addresses(reading, config);
}

}  // namespace understudy::config
