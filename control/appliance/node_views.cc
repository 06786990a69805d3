// What the console shows of a node.
#include <algorithm>
#include <thread>

#include "control/appliance/cluster_views.h"
#include "control/appliance/node.h"

namespace understudy::appliance {
namespace {

std::string roles_of(const config::PortConfig& port) {
  std::string roles;
  for (const auto& [has, name] : {std::pair{port.front, "front"}, {port.back, "back"}, {port.peer, "peer"}}) {
    if (!has) continue;
    if (!roles.empty()) roles += ' ';
    roles += name;
  }
  return roles;
}

}  // namespace

console::ClusterView Node::cluster() {
  const std::lock_guard lock(control_mutex_);
  console::ClusterView view = cluster_view(*control_, config_, *node_, boot_, clock_->now());
  for (const auto& lcore : lcores_)
    view.longest_stall =
        std::max(view.longest_stall,
                 Duration(lcore->worker->status().longest_stall_ns.load(std::memory_order_relaxed)));
  const auto groups = control_->controller().groups(clock_->now());
  for (size_t group = 0; group < config_.groups.size(); ++group) {
    const auto snapshot = std::ranges::find(groups, config_.groups[group].id, &cluster::GroupSnapshot::group);
    if (snapshot->is_hidden) continue;
    for (size_t i = 0; i < lcores_.size(); ++i) {
      const auto& status = lcores_[i]->worker->status().groups[group];
      if (status.stream_frames.load(std::memory_order_relaxed) == 0) continue;
      console::StreamView stream;
      stream.worker = static_cast<unsigned>(i);
      stream.group = snapshot->name;
      stream.peer = control_->controller().standby_of(config_.groups[group].id);
      stream.lag_frames = status.stream_frames_waiting.load(std::memory_order_relaxed);
      stream.retransmitted_frames = status.stream_retransmitted.load(std::memory_order_relaxed);
      view.streams.push_back(stream);
    }
  }
  return view;
}

// The worker owns what the command points to until it says done; it does within a few rounds as long as it
// runs at all.
void Node::ask(Lcore& lcore, const worker::Command& command, const std::atomic<bool>& done) {
  {
    const std::lock_guard lock(control_mutex_);  // the mailbox has one producer at a time
    if (!lcore.worker->commands().send(command)) return;
  }
  lcore.wakeup->ring();
  while (!done.load(std::memory_order_acquire) && !stop_workers_.load())
    std::this_thread::sleep_for(std::chrono::microseconds(200));
}

console::ConnectionsView Node::connections(const console::ConnectionFilter& filter) {
  console::ConnectionsView view;
  GroupId group;
  if (filter.group) {
    const auto it = std::ranges::find(config_.groups, *filter.group, &config::GroupConfig::name);
    if (it == config_.groups.end()) return view;
    group = it->id;
  }
  for (const auto& lcore : lcores_) {
    worker::ConnectionQuery query;
    query.limit = static_cast<uint32_t>(std::min<size_t>(filter.limit, 1'000'000));
    query.group = group;
    query.rows.reserve(std::min(query.limit, 4096U));
    worker::Command command;
    command.kind = worker::Command::Kind::connections;
    command.query = &query;
    ask(*lcore, command, query.done);
    view.total += query.matching;
    for (const worker::ConnectionRow& row : query.rows) {
      if (view.connections.size() >= filter.limit) break;
      console::ConnectionView c;
      c.key = row.key;
      c.state = std::string(tcp::name_of(row.state));
      for (const config::GroupConfig& g : config_.groups) {
        if (g.id == row.group) c.group = g.name;
        for (const config::ServiceConfig& service : g.services)
          if (service.id == row.service) c.service = service.name;
      }
      if (row.group == GroupId()) c.service = "check";
      c.is_protected = row.is_protected;
      if (row.partner != FlowKey()) c.partner = row.partner;
      c.bytes_held = row.held_bytes;
      if (row.srtt > Duration::zero()) c.rtt = row.srtt;
      c.congestion_window = row.cwnd;
      view.connections.push_back(std::move(c));
    }
  }
  return view;
}

std::vector<console::PortView> Node::ports() {
  std::vector<console::PortView> views;
  for (size_t i = 0; i < ports_.size(); ++i) {
    const PortStatistics s = port_at(i).statistics();
    console::PortView v;
    v.name = node_->ports[i].name;
    v.device = node_->ports[i].device;
    v.roles = roles_of(node_->ports[i]);
    v.mac = ports_[i]->mac();
    v.link_up = ports_[i]->carrier();
    v.mtu = ports_[i]->mtu();
    v.received_frames = s.received_frames;
    v.received_bytes = s.received_bytes;
    v.receive_missed = s.receive_missed;
    v.receive_dropped = s.receive_dropped;
    v.transmitted_frames = s.transmitted_frames;
    v.transmitted_bytes = s.transmitted_bytes;
    v.transmit_dropped = s.transmit_dropped;
    views.push_back(std::move(v));
  }
  return views;
}

std::vector<console::EventView> Node::events() {
  const std::lock_guard lock(control_mutex_);
  return event_views(*control_, clock_->now());
}

std::optional<console::GroupStoryView> Node::story(const std::string& group) {
  const std::lock_guard lock(control_mutex_);
  return group_story(*control_, config_, group, clock_->now());
}

std::vector<console::DropView> Node::drops() {
  std::vector<console::DropView> views;
  for (size_t i = 0; i < kDropReasons; ++i) {
    const auto reason = static_cast<DropReason>(i);
    uint64_t frames = 0;
    for (const auto& lcore : lcores_) frames += lcore->worker->drops_of(reason);
    for (const auto& distributor : distributors_) frames += distributor->drops().of(reason);
    for (const auto& port : leased_ports_) frames += port->drops().of(reason);
    if (frames > 0) views.push_back({std::string(name_of(reason)), std::string(text_of(reason)), frames});
  }
  return views;
}

std::vector<console::WorkerView> Node::workers() {
  std::vector<console::WorkerView> views;
  const auto uptime = std::max<int64_t>(1, (clock_->now() - started_).count());
  for (size_t i = 0; i < lcores_.size(); ++i) {
    const worker::WorkerStatus& status = lcores_[i]->worker->status();
    console::WorkerView v;
    v.id = static_cast<unsigned>(i);
    if (node_->cpus.size() >= lcores_.size()) v.cpu = static_cast<int>(node_->cpus[i]);
    v.loops = status.progress.load(std::memory_order_relaxed);
    for (const auto& group : status.groups) v.connections += group.legs.load(std::memory_order_relaxed);
    for (unsigned shard = 0; shard < config_.cluster.shards; ++shard)
      v.shards += worker::worker_of_shard(static_cast<uint8_t>(shard), node_->workers) == i;
    v.busy_percent = static_cast<unsigned>(lcores_[i]->busy_ns.load(std::memory_order_relaxed) * 100 /
                                           static_cast<uint64_t>(uptime));
    v.longest_stall = Duration(status.longest_stall_ns.load(std::memory_order_relaxed));
    v.busy = Duration(static_cast<int64_t>(lcores_[i]->busy_ns.load(std::memory_order_relaxed)));
    v.stalls = status.stalls.load(std::memory_order_relaxed);
    v.standby_drops = status.standby_drops.load(std::memory_order_relaxed);
    for (size_t c = 0; c < tcp::kEngineCounters.size(); ++c) {
      const tcp::EngineCounter& counter = tcp::kEngineCounters[c];
      v.counters.push_back(
          {counter.name, counter.unit, counter.text, status.counters[c].load(std::memory_order_relaxed)});
    }
    views.push_back(v);
  }
  return views;
}

std::vector<console::BackendView> Node::backends() {
  const std::lock_guard lock(control_mutex_);
  std::vector<console::BackendView> views;
  for (const health::BackendSnapshot& snapshot : control_->health().snapshot()) {
    const config::PoolConfig& pool = config_.pools[snapshot.pool.value()];
    const config::BackendConfig& backend = pool.backends[snapshot.backend.value()];
    console::BackendView v;
    v.pool = pool.name;
    v.name = snapshot.name;
    v.address = backend.address;
    v.port = backend.port;
    v.up = snapshot.state == health::BackendState::up;
    v.why = fmt::format("{}: {} of {} checks failed, the last {} agree", health::name_of(snapshot.state),
                        snapshot.failures, snapshot.checks, snapshot.streak);
    v.weight = backend.weight;
    views.push_back(std::move(v));
  }
  return views;
}

// Worker 0's table: it speaks ARP for the node, and the others hear what it hears.
std::vector<console::NeighbourView> Node::neighbours() {
  worker::NeighbourQuery query;
  query.rows.reserve(1024);
  worker::Command command;
  command.kind = worker::Command::Kind::neighbours;
  command.neighbours = &query;
  ask(*lcores_[0], command, query.done);
  std::vector<console::NeighbourView> views;
  for (const worker::NeighbourRow& row : query.rows) {
    console::NeighbourView v;
    v.address = row.address;
    v.port = node_->ports[row.port].name;
    v.state = std::string(row.state);
    if (!row.mac.is_zero()) v.mac = row.mac;
    views.push_back(std::move(v));
  }
  return views;
}

}  // namespace understudy::appliance
