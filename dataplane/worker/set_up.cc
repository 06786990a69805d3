// From settings to a worker that can run.
#include <algorithm>

#include "dataplane/worker/worker.h"

namespace understudy::worker {
namespace {

// Not configured: the service of health checks, which nobody connects to.
constexpr ServiceId kCheckService(0xffff);

tcp::EngineSettings engine_settings(const WorkerSettings& settings) {
  tcp::EngineSettings engine = settings.engine;
  uint16_t mtu = 1500;
  for (const PortSetup& port : settings.ports)
    if (!port.addresses.empty()) mtu = std::min(mtu, port.port->mtu());
  engine.mtu = mtu;
  return engine;
}

}  // namespace

neighbour::ResolverSettings Worker::resolver_settings(const WorkerSettings& settings) {
  neighbour::ResolverSettings resolver;
  for (const PortSetup& port : settings.ports) resolver.ports.push_back({port.port->mac(), port.addresses});
  resolver.voice = settings.index == 0 ? neighbour::Voice::speaks : neighbour::Voice::silent;
  return resolver;
}

Worker::Worker(const std::string& name, const WorkerSettings& settings, rte_mempool* pool, uint64_t seed,
               Instant start)
    : settings_(settings),
      pool_(pool),
      random_(seed),
      shards_(*settings.shards),
      resolver_(resolver_settings(settings), pool, *this, drops_),
      engine_(engine_settings(settings), settings.secret, shards_, pool, *this, start),
      sealer_(settings.keys, settings.node, settings.boot, settings.ports.size()),
      opener_({settings.node, settings.boot, settings.cluster, settings.nodes}, settings.keys),
      peers_(settings.nodes.size()),
      mirrors_(settings.groups.size()),
      hand_overs_(settings.groups.size()),
      told_released_(settings.groups.size(), 0),
      commands_(name + "c", 1024),
      reports_(name + "p", 4096),
      beat_groups_(settings.groups.size()),
      now_(start),
      planned_(start),
      next_beat_(start),
      reserve_(pool, settings.ports.size() + 1),
      syn_guard_(settings.secret, settings.syn_filter_lines),
      outgoing_(settings.ports.size()) {
  invariant(settings.groups.size() <= WorkerStatus::kGroups, "more groups than a heartbeat carries");
  invariant(settings.nodes.size() <= SharedSigns::kNodes, "more nodes than a cluster has");
  if (settings_.signs == nullptr) settings_.signs = std::make_shared<SharedSigns>();
  for (auto& frames : outgoing_) frames.reserve(4 * kBurst);
  for (size_t port = 0; port < settings_.ports.size(); ++port)
    if (settings_.ports[port].peer) peer_port_ = static_cast<uint16_t>(port);
  for (const RouteSetup& route : settings_.routes) {
    const Status added = resolver_.add_route(route.destination, route.via);
    invariant(added.ok(), "a route that the configuration check should have refused");
  }
  log_round_.reserve(2 * static_cast<size_t>(engine_.settings().legs));
  add_groups();
  add_services();
}

void Worker::add_groups() {
  for (const PoolSetup& pool : settings_.pools)
    pools_.push_back(std::make_unique<service::BackendPool>(pool.backends));
  for (const GroupSetup& group : settings_.groups) {
    const tcp::GroupIndex index = engine_.add_group(group.id);
    if (group.is_spare) {
      const auto twin = static_cast<tcp::GroupIndex>(group_index(*group.twin));
      engine_.pair(twin, index);
      sources_.push_back(sources_[twin]);
      has_pairs_ = true;
      continue;
    }
    std::vector<IpAddress> sources;
    for (const auto* list : {&group.virtual_ips, &group.source_addresses}) {
      for (const GroupAddress& address : *list) {
        engine_.add_address(index, address.address);
        const MacAddress mac = group.virtual_mac ? group.mac : settings_.ports[address.port].port->mac();
        resolver_.add_group_address(group.id, address.port, address.address, mac);
      }
    }
    for (const GroupAddress& address : group.source_addresses) sources.push_back(address.address);
    sources_.push_back(std::make_shared<service::SourcePool>(sources, random_.next()));
  }
  local_group_ = engine_.add_group(GroupId(0), true);
  for (const PortSetup& port : settings_.ports)
    for (const Prefix& own : port.addresses) engine_.add_address(local_group_, own.address);
}

void Worker::add_services() {
  for (const ServiceSetup& setup : settings_.services) {
    tcp::Service service;
    service.id = setup.id;
    service.group = static_cast<uint8_t>(group_index(setup.group));
    for (const GroupAddress& address : settings_.groups[service.group].virtual_ips)
      service.addresses.push_back(address.address);
    service.first_port = setup.first_port;
    service.last_port = setup.last_port;
    service.protect = setup.protect;
    service.idle_timeout = setup.idle_timeout;
    service.keepalive = setup.keepalive;
    service.user_timeout = setup.user_timeout;
    service.connect_timeout = setup.connect_timeout;
    service.dscp = setup.dscp;
    switch (setup.application) {
      case ApplicationKind::echo:
        service.application = &echo_;
        break;
      case ApplicationKind::discard:
        service.application = &discard_;
        break;
      case ApplicationKind::tally:
        service.application = &tally_;
        break;
      case ApplicationKind::proxy: {
        const auto pool = std::ranges::find(settings_.pools, setup.pool, &PoolSetup::id);
        invariant(pool != settings_.pools.end(), "a proxy without a pool passed the configuration check");
        auto& backends = *pools_[static_cast<size_t>(pool - settings_.pools.begin())];
        proxies_.emplace_back(setup.id, std::make_unique<service::Proxy>(backends, *sources_[service.group]));
        service.application = proxies_.back().second.get();
        break;
      }
    }
    engine_.add_service(service);
  }
  tcp::Service check;
  check.id = kCheckService;
  check.group = local_group_;
  check.application = &check_;
  check.protect = false;
  check.idle_timeout = 60s;
  engine_.add_service(check);
}

}  // namespace understudy::worker
