#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "control/config/sections.h"

namespace understudy::config {
namespace {

bool is_set(const Prefix& prefix) {
  return !prefix.address.is_unspecified();
}

// Every address that the cluster itself uses has one use.
class AddressBook {
 public:
  explicit AddressBook(Reading& reading) : reading_(reading) {}
  void add(const IpAddress& address, const std::string& path, const std::string& use) {
    if (address.is_unspecified()) return;
    const auto [first, fresh] = uses_.emplace(address, use);
    if (!fresh)
      reading_.faults.add(reading_.places.at(path),
                          fmt::format("{} cannot be {}, it is {} already; choose a free address",
                                      address.to_string(), use, first->second));
  }
  void refuse(const IpAddress& address, const std::string& path, const std::string& use) {
    const auto found = uses_.find(address);
    if (found == uses_.end()) return;
    reading_.faults.add(reading_.places.at(path),
                        fmt::format("{} cannot be {}, it is {}; give another address", address.to_string(),
                                    use, found->second));
  }

 private:
  Reading& reading_;
  std::map<IpAddress, std::string> uses_;
};

enum class Role { front, back, any };

const PortConfig* connected_port(const NodeConfig& node, const IpAddress& address, Role role) {
  for (const PortConfig& port : node.ports) {
    if (role == Role::front && !port.front) continue;
    if (role == Role::back && !port.back) continue;
    if (port.network_with(address) != nullptr) return &port;
  }
  return nullptr;
}

// A port whose address was faulty might have been the one.
bool may_judge(const NodeConfig& node) {
  for (const PortConfig& port : node.ports)
    if ((port.front || port.back) && (port.addresses.empty() || !std::ranges::all_of(port.addresses, is_set)))
      return false;
  return !node.ports.empty();
}

bool reaches(const Config& config, const NodeConfig& node, const IpAddress& address) {
  if (connected_port(node, address, Role::any) != nullptr) return true;
  for (const RouteConfig& route : config.routes)
    if (route.destination.contains(address)) return true;
  return false;
}

const NodeConfig* node_of(const Config& config, NodeId id) {
  for (const NodeConfig& node : config.nodes)
    if (node.id == id && id != NodeId()) return &node;
  return nullptr;
}

// The first network that two ports share, as the place of the later port's address in it.
std::optional<size_t> shared_network(const PortConfig& earlier, const PortConfig& later) {
  for (size_t i = 0; i < later.addresses.size(); ++i)
    for (const Prefix& other : earlier.addresses) {
      const Prefix& own = later.addresses[i];
      if (!is_set(own) || !is_set(other) || own.address == other.address) continue;
      if (own.contains(other.address) || other.contains(own.address)) return i;
    }
  return std::nullopt;
}

void check_ports(Reading& reading, const NodeConfig& node, const std::string& path) {
  for (size_t later = 0; later < node.ports.size(); ++later)
    for (size_t earlier = 0; earlier < later; ++earlier) {
      const auto &a = node.ports[earlier], &b = node.ports[later];
      const auto shared = shared_network(a, b);
      if (!shared) continue;
      reading.faults.add(
          reading.places.at(fmt::format("{}.ports[{}].address[{}]", path, later, *shared)),
          fmt::format("ports `{}` and `{}` of node `{}` lie in one network, {}; give the roles to one "
                      "port or use two networks",
                      a.name, b.name, node.name, network_of(b.addresses[*shared]).to_string()));
    }
}

// `use` in a sentence: "virtual IP", "source address".
void check_home(Reading& reading, const Config& config, const GroupConfig& group, const Prefix& prefix,
                const std::string& path, Role role, std::string_view use) {
  if (!is_set(prefix)) return;
  const std::string_view role_name = role == Role::front ? "front" : "back";
  for (const NodeId id : group.successors) {
    const NodeConfig* node = node_of(config, id);
    if (node == nullptr || !may_judge(*node)) continue;
    const PortConfig* port = connected_port(*node, prefix.address, role);
    if (port == nullptr) {
      reading.faults.add(
          reading.places.at(path),
          fmt::format("{} {} lies in no {} network of node `{}`; take an address of such a network, or "
                      "correct the address of a {} port",
                      use, prefix.address.to_string(), role_name, node->name, role_name));
      return;
    }
    const Prefix& network = *port->network_with(prefix.address);
    if (prefix.length != network.length && prefix.length != (prefix.address.is_v4() ? 32 : 128)) {
      reading.faults.add(
          reading.places.at(path),
          fmt::format("{} {} says /{}, but port `{}` of node `{}` is in {}; write {}/{}", use,
                      prefix.address.to_string(), prefix.length, port->name, node->name,
                      network_of(network).to_string(), prefix.address.to_string(), network.length));
      return;
    }
  }
}

void check_routes(Reading& reading, const Config& config, AddressBook& book) {
  for (size_t i = 0; i < config.routes.size(); ++i) {
    const RouteConfig& route = config.routes[i];
    const std::string path = fmt::format("routes[{}].via", i);
    if (route.via.is_unspecified()) continue;
    book.refuse(route.via, path, "a gateway");
    for (const NodeConfig& node : config.nodes) {
      if (!may_judge(node) || connected_port(node, route.via, Role::any) != nullptr) continue;
      reading.faults.add(
          reading.places.at(path),
          fmt::format("gateway {} lies in no network of node `{}`; name a router that shares a network "
                      "with a port of every node",
                      route.via.to_string(), node.name));
      break;
    }
  }
}

// A leg to a backend begins at a source address of the backend's family.
bool has_source_for(const GroupConfig& group, const IpAddress& backend) {
  return group.source_addresses.empty() ||  // said already
         std::ranges::any_of(group.source_addresses, [&](const Prefix& source) {
           return !is_set(source) || source.address.is_v4() == backend.is_v4();
         });
}

// Whether every node that may own a group with this pool can send to the backend.
void check_backend(Reading& reading, const Config& config, const PoolConfig& pool,
                   const BackendConfig& backend, const std::string& path) {
  for (const GroupConfig& group : config.groups) {
    bool uses = false;
    for (const ServiceConfig& service : group.services) uses |= service.pool == pool.id;
    if (!uses) continue;
    if (!has_source_for(group, backend.address)) {
      reading.faults.add(
          reading.places.at(path),
          fmt::format("backend `{}` at {} is {}, and group `{}` has no such source address; add one "
                      "to its `source_addresses`",
                      backend.name, backend.address.to_string(), backend.address.is_v4() ? "IPv4" : "IPv6",
                      group.name));
      return;
    }
    for (const NodeId id : group.successors) {
      const NodeConfig* node = node_of(config, id);
      if (node == nullptr || !may_judge(*node) || reaches(config, *node, backend.address)) continue;
      reading.faults.add(
          reading.places.at(path),
          fmt::format("backend `{}` at {} is in no network of node `{}` and no route leads there; add "
                      "one under `routes`",
                      backend.name, backend.address.to_string(), node->name));
      return;
    }
  }
}

void check_backends(Reading& reading, const Config& config, AddressBook& book) {
  for (size_t i = 0; i < config.pools.size(); ++i)
    for (size_t j = 0; j < config.pools[i].backends.size(); ++j) {
      const BackendConfig& backend = config.pools[i].backends[j];
      const std::string path = fmt::format("pools[{}].backends[{}].address", i, j);
      if (backend.address.is_unspecified()) continue;
      book.refuse(backend.address, path, "a backend");
      check_backend(reading, config, config.pools[i], backend, path);
    }
}

}  // namespace

void validate_addresses(Reading& reading, const Config& config) {
  AddressBook book(reading);
  for (size_t i = 0; i < config.nodes.size(); ++i) {
    const NodeConfig& node = config.nodes[i];
    const std::string path = fmt::format("nodes[{}]", i);
    check_ports(reading, node, path);
    for (size_t j = 0; j < node.ports.size(); ++j)
      for (size_t k = 0; k < node.ports[j].addresses.size(); ++k)
        book.add(node.ports[j].addresses[k].address, fmt::format("{}.ports[{}].address[{}]", path, j, k),
                 fmt::format("the address of port `{}` of node `{}`", node.ports[j].name, node.name));
  }
  for (size_t i = 0; i < config.groups.size(); ++i) {
    const GroupConfig& group = config.groups[i];
    for (size_t j = 0; j < group.virtual_ips.size(); ++j) {
      const std::string path = fmt::format("groups[{}].virtual_ips[{}]", i, j);
      book.add(group.virtual_ips[j].address, path, fmt::format("a virtual IP of group `{}`", group.name));
      check_home(reading, config, group, group.virtual_ips[j], path, Role::front, "virtual IP");
    }
    for (size_t j = 0; j < group.source_addresses.size(); ++j) {
      const std::string path = fmt::format("groups[{}].source_addresses[{}]", i, j);
      book.add(group.source_addresses[j].address, path,
               fmt::format("a source address of group `{}`", group.name));
      check_home(reading, config, group, group.source_addresses[j], path, Role::back, "source address");
    }
  }
  check_routes(reading, config, book);
  check_backends(reading, config, book);
}

}  // namespace understudy::config
