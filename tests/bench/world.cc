#include "tests/bench/world.h"

#include <rte_cycles.h>

#include "dataplane/dpdk/clock.h"

namespace understudy::bench {
namespace {

constexpr Duration kStep = 20us;
constexpr Duration kInterruption = 1ms;  // no round takes as long by itself
constexpr uint32_t kWire = 8192;         // frames
constexpr uint32_t kShards = 64;
const MacAddress kGroupMac({0x02, 0x55, 0x53, 0, 0, 1});
constexpr GroupId kGroup{1};

IpAddress address(uint8_t network, uint8_t host) {
  return IpAddress::v4(10U << 24 | static_cast<uint32_t>(network) << 16 | host);
}

std::vector<IpAddress> client_addresses() {
  std::vector<IpAddress> found;
  for (uint8_t host = 100; host < 132; ++host) found.push_back(address(10, host));
  return found;
}

std::string unique_name() {
  static int worlds = 0;
  std::string name(1, 'w');
  return name += std::to_string(worlds++);
}

template <class Work>
void account(Cost& cost, Work work) {
  const uint64_t begin = rte_rdtsc();
  work();
  cost.add(rte_rdtsc() - begin);
}

}  // namespace

const IpAddress World::kVirtual = address(10, 10);

double ticks_per_second() {
  static const double rate = [] {
    const uint64_t begin = rte_rdtsc();
    const auto from = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(50ms);
    const uint64_t end = rte_rdtsc();
    return static_cast<double>(end - begin) /
           std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  }();
  return rate;
}

void Cost::add(uint64_t spent) {
  static const auto interruption =
      static_cast<uint64_t>(ticks_per_second() * std::chrono::duration<double>(kInterruption).count());
  ++rounds;
  if (spent > interruption)
    ++interrupted;
  else
    ticks += spent;
}

double Cost::seconds() const {
  if (rounds == interrupted) return 0;
  return static_cast<double>(ticks) / ticks_per_second() * static_cast<double>(rounds) /
         static_cast<double>(rounds - interrupted);
}

World::Wires::Wires(uint32_t capacity, uint8_t number)
    : front(capacity, 1500, MacAddress({2, 0, 0, 1, 0, number}), MacAddress({2, 0, 0, 1, 1, number})),
      back(capacity, 1500, MacAddress({2, 0, 0, 2, 0, number}), MacAddress({2, 0, 0, 2, 1, number})) {}

World::World(const WorldSettings& settings, rte_mempool* pool, tcp::Application& client,
             tcp::Application& backend)
    : settings_(settings),
      name_(unique_name()),
      shards_(kShards),
      owner_wires_(kWire, 1),
      standby_wires_(kWire, 2),
      peer_wire_(kWire, 1500, MacAddress({2, 0, 0, 3, 0, 1}), MacAddress({2, 0, 0, 3, 0, 2})),
      client_(host_settings(client_addresses()), owner_wires_.front.end(1), shards_, pool, now_),
      backend_(host_settings({address(20, 11)}), owner_wires_.back.end(1), shards_, pool, now_) {
  client_.serve(PortNumber(), client);
  backend_.serve(kHttp, backend);
  owner_ = std::make_unique<worker::Worker>(name_ + "o", worker_settings(1, owner_wires_, peer_wire_.end(0)),
                                            pool, 1, now_);
  promote(*owner_, 1);
  if (settings.standby) {
    standby_wires_.front.end(1).set_carrier(false);  // its frames go nowhere while the owner speaks
    standby_wires_.back.end(1).set_carrier(false);
    standby_ = std::make_unique<worker::Worker>(
        name_ + "s", worker_settings(2, standby_wires_, peer_wire_.end(1)), pool, 2, now_);
    if (!settings.standby_joins_later) introduce_standby();
  }
  const bool wants_standby = settings.standby && !settings.standby_joins_later;
  const bool ready = turn_until([&] { return !wants_standby || synced(); }, 2s);
  invariant(ready, "bench: the standby does not become synced");
}

void World::introduce_standby() {
  introduce(*owner_, 2, peer_wire_.end(1));
  introduce(*standby_, 1, peer_wire_.end(0));
}

double World::acknowledgement_seconds(uint32_t leg) {
  now_ += kStep;
  client_.run_once(now_);
  const Seq written = client_.engine().legs()[leg].snd.nxt;
  const FlowKey key = client_.engine().legs()[leg].key;
  const tcp::ConnectionTable& legs = owner_->engine().legs();
  const uint32_t at_owner = legs.find({key.remote, key.local, key.remote_port, key.local_port});
  invariant(at_owner != tcp::kNone, "bench: the owner does not know the connection");
  uint64_t ticks = 0;
  const auto run = [&](worker::Worker& worker) {
    const uint64_t begin = rte_rdtsc();
    worker.run_once(now_);
    ticks += rte_rdtsc() - begin;
  };
  for (int round = 0;; ++round) {
    invariant(round < 1000, "bench: what arrived is not acknowledged");
    run(*owner_);
    if (legs[at_owner].rcv.acked == written) break;
    peer_wire_.end(1).copy_shared();
    if (standby_ != nullptr) run(*standby_);
  }
  for (int turns = 0; turns < 4; ++turns) turn();  // what is left of this exchange
  return static_cast<double>(ticks) / ticks_per_second();
}

Host::Settings World::host_settings(std::vector<IpAddress> addresses) const {
  Host::Settings host;
  host.addresses = std::move(addresses);
  host.next_hop = kGroupMac;
  host.engine.legs = settings_.legs;
  host.engine.active_legs = settings_.legs;
  host.engine.sent_segments = std::max(65536U, 2 * settings_.legs);
  host.engine.pinned_max = 1ULL << 40;
  host.engine.time_wait = settings_.time_wait;
  return host;
}

worker::WorkerSettings World::worker_settings(uint16_t number, Wires& wires, MemoryPort& peer) const {
  worker::WorkerSettings s;
  const auto host = static_cast<uint8_t>(number);
  s.signs = std::make_shared<worker::SharedSigns>();
  s.node = NodeId(number);
  s.boot = BootId(number);
  s.cluster = 7;
  s.nodes = {NodeId(1), NodeId(2)};
  s.secret = Secret{{1, 2, 3}};
  s.shards = &shards_;
  s.engine.legs = settings_.legs;
  s.engine.active_legs = std::min(settings_.legs, settings_.active_legs);
  s.engine.sent_segments = std::max(4 * s.engine.active_legs, 65536U);
  s.engine.chunks = settings_.buffers / 4;
  s.engine.pinned_max = s.engine.chunks * 2304ULL;
  s.engine.time_wait = settings_.time_wait;
  s.mirror_window = 2048;
  s.gates_acknowledgements = settings_.gated;
  s.ports.push_back(
      {&wires.front.end(0), "front", false, {{address(10, static_cast<uint8_t>(10 + host)), 24}}});
  s.ports.push_back(
      {&wires.back.end(0), "back", false, {{address(20, static_cast<uint8_t>(20 + host)), 24}}});
  s.ports.push_back({&peer, "peer", true, {}});
  worker::GroupSetup group;
  group.id = kGroup;
  group.mac = kGroupMac;
  group.virtual_ips = {{kVirtual, 0}};
  for (uint8_t source = 200; source < 208; ++source)
    group.source_addresses.push_back({address(20, source), 1});
  s.groups.push_back(group);
  s.pools.push_back({PoolId(1), {{.address = address(20, 11), .port = kHttp, .weight = 1, .up = true}}});
  worker::ServiceSetup service;
  service.id = ServiceId(1);
  service.group = kGroup;
  service.first_port = service.last_port = kHttp;
  service.application = worker::ApplicationKind::proxy;
  service.pool = PoolId(1);
  s.services.push_back(service);
  return s;
}

void World::introduce(worker::Worker& to, uint16_t number, MemoryPort& port) {
  worker::Command command;
  command.kind = worker::Command::Kind::peer_up;
  command.node = NodeId(number);
  command.boot = BootId(number);
  command.workers = 1;
  command.mac = port.mac();
  invariant(to.commands().send(command), "bench: no room for a command");
  command.kind = worker::Command::Kind::standby;
  command.group = kGroup;
  invariant(to.commands().send(command), "bench: no room for a command");
}

void World::promote(worker::Worker& worker, uint32_t counter) {
  worker::Command command;
  command.kind = worker::Command::Kind::promote;
  command.group = kGroup;
  command.epoch = {counter, NodeId(1)};
  command.clock_us = static_cast<uint64_t>(to_us(now_.time_since_epoch()));
  invariant(worker.commands().send(command), "bench: no room for a command");
}

void World::turn() {
  now_ += kStep;
  account(client_cost, [this] { client_.run_once(now_); });
  if (owner_ != nullptr) {
    account(owner_cost, [this] {
      owner_->run_once(now_);
      owner_->next_deadline();
    });
    drain_reports(*owner_);
  }
  peer_wire_.end(1).copy_shared();
  if (standby_ != nullptr) {
    account(standby_cost, [this] {
      standby_->run_once(now_);
      standby_->next_deadline();
    });
    drain_reports(*standby_);
  }
  account(backend_cost, [this] { backend_.run_once(now_); });
}

bool World::turn_until(const std::function<bool()>& until, Duration limit) {
  for (const Instant end = now_ + limit; !until(); turn())
    if (now_ >= end) return false;
  return true;
}

bool World::drain_reports(worker::Worker& worker) {
  worker::Report report;
  bool spoke = false;
  while (worker.reports().receive(report)) {
    spoke |= report.kind == worker::Report::Kind::first_packet;
    if (report.frame != nullptr) rte_pktmbuf_free(report.frame);
  }
  return spoke;
}

bool World::synced() const {
  return owner_->status().groups[0].stream_state.load() == 2;
}

void World::reset_costs() {
  owner_cost = standby_cost = client_cost = backend_cost = Cost();
}

World::Takeover World::take_over() {
  drain_reports(*owner_);
  owner_.reset();
  drain_reports(*standby_);
  promote(*standby_, 2);
  uint64_t ticks = 0;  // nothing left out: a single event has no other rounds to stand in for it
  Takeover result{-1, -1};
  for (int round = 0; result.first_segment_seconds < 0 || result.sweep_seconds < 0; ++round) {
    invariant(round < 100000, "bench: the standby has nothing to say after a takeover");
    now_ += kStep;
    const uint64_t begin = rte_rdtsc();
    standby_->run_once(now_);
    ticks += rte_rdtsc() - begin;
    standby_->next_deadline();
    const double seconds = static_cast<double>(ticks) / ticks_per_second();
    if (drain_reports(*standby_) && result.first_segment_seconds < 0) result.first_segment_seconds = seconds;
    if (!standby_->engine().sweeping() && result.sweep_seconds < 0) result.sweep_seconds = seconds;
  }
  return result;
}

uint64_t World::frames_lost() const {
  auto& self = const_cast<World&>(*this);
  uint64_t lost = 0;
  for (const unsigned end : {0U, 1U}) {
    lost += self.owner_wires_.front.end(end).statistics().receive_missed;
    lost += self.owner_wires_.back.end(end).statistics().receive_missed;
    lost += self.peer_wire_.end(end).statistics().receive_missed;
  }
  return lost;
}

}  // namespace understudy::bench
