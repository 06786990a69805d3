#include "control/appliance/node.h"

#include <algorithm>
#include <thread>

#include <sys/random.h>
#include <unistd.h>

#include "control/appliance/promise_keeper.h"
#include "control/appliance/wiring.h"
#include "control/etcd/own_cluster.h"

namespace understudy::appliance {
namespace {

uint64_t random_u64() {
  uint64_t value = 0;
  if (getrandom(&value, sizeof value, 0) != sizeof value) value = static_cast<uint64_t>(getpid()) << 32 | 1;
  return value == 0 ? 1 : value;
}

HugepageUse hugepage_use(config::Hugepages wanted) {
  switch (wanted) {
    case config::Hugepages::always:
      return HugepageUse::always;
    case config::Hugepages::never:
      return HugepageUse::never;
    case config::Hugepages::automatic:
      break;
  }
  return HugepageUse::automatic;
}

// Packet buffers take this part of the node's memory; tables, streams and the environment itself the rest.
constexpr unsigned kPoolShareNumerator = 1;
constexpr unsigned kPoolShareDenominator = 2;

// The control loop looks this often at what workers report: a small part of any time-out.
constexpr auto kControlRound = std::chrono::milliseconds(2);

}  // namespace

Result<std::unique_ptr<Node>> Node::create(config::Config config, const RunOptions& options) {
  std::unique_ptr<Node> node(new Node(std::move(config), options));
  if (const Status opened = node->open(options.node); !opened) return opened.error();
  return node;
}

Status Node::open(const std::string& node_name) {
  node_ = config_.find_node(node_name);
  if (node_ == nullptr)
    return Error{fmt::format("{}: there is no node {}; --node takes a name from the list `nodes`",
                             config_.file, node_name)};
  const uint64_t seed = random_u64();
  boot_ = BootId(random_u64());
  EalSettings eal;
  eal.file_prefix = fmt::format("understudy-{}-{}", node_->name, getpid());
  eal.memory_mb = node_->memory_mb;
  eal.hugepages = hugepage_use(node_->hugepages);
  eal.workers = node_->workers;
  eal.cpus = node_->cpus;
  for (const config::PortConfig& port : node_->ports)
    if (port.device.find(':') != std::string::npos && port.device.find(',') == std::string::npos)
      eal.pci_devices.push_back(port.device);
  eal.extra_arguments = options_.eal_arguments;
  auto started = Eal::start(eal);
  if (!started)
    return Error{fmt::format("{}: node {}: {}", node_->mark.to_string(), node_->name, started.message())};
  eal_ = std::make_unique<Eal>(std::move(started).value());
  clock_ = std::make_unique<TscClock>(TscClock::calibrate());
  started_ = clock_->now();
  PoolSettings pool;
  pool.name = "frames";
  pool.memory_mb = node_->memory_mb * kPoolShareNumerator / kPoolShareDenominator;
  pool.lcores = node_->workers + 1;
  auto made = create_pool(pool);
  if (!made)
    return Error{fmt::format("{}: node {}: {}; give it more `memory`", node_->mark.to_string(), node_->name,
                             made.message())};
  pool_ = std::move(made).value();
  if (const Status opened = open_ports(); !opened) return opened;
  if (const Status opened = open_arbiter(); !opened) return opened;
  make_workers(seed);
  return {};
}

// What the arbiter needs outside: a file, or the way to etcd.
Status Node::open_arbiter() {
  const config::ClusterConfig& cluster = config_.cluster;
  if (cluster.arbiter == config::Arbiter::members) {
    auto keeper = PromiseKeeper::open(node_->promises, [this] { control_wakeup_->ring(); });
    if (!keeper)
      return Error{fmt::format("{}: node {}: {}", node_->mark.to_string(), node_->name, keeper.message())};
    keeper_ = std::move(keeper).value();
  }
  if (cluster.arbiter == config::Arbiter::etcd) {
    const config::EtcdConfig& etcd = *cluster.etcd;
    auto transport =
        etcd::CurlTransport::start({etcd.endpoints, etcd.ca_file, etcd.certificate_file, etcd.key_file},
                                   [this] { control_wakeup_->ring(); });
    if (!transport) return Error{fmt::format("{}: etcd: {}", config_.file, transport.message())};
    transport_ = std::move(transport).value();
    if (!etcd.cluster_id) return open_etcd_file();
  }
  return {};
}

// To which etcd cluster this node belongs, if a former life has found that out.
Status Node::open_etcd_file() {
  const std::string path = node_->etcd_file();
  auto keeper = PromiseKeeper::open(path, [this] { control_wakeup_->ring(); });
  if (!keeper)
    return Error{fmt::format("{}: node {}: {}, or give `cluster.etcd` a `cluster_id`",
                             node_->mark.to_string(), node_->name, keeper.message())};
  keeper_ = std::move(keeper).value();
  const cluster::KeptMemory& found = keeper_->found();
  if (found.state != cluster::KeptMemory::State::none && !etcd::decode_cluster_id(found.bytes))
    return Error{
        fmt::format("{}: node {}: {} does not say to which etcd cluster this node belongs; give "
                    "`cluster.etcd` its `cluster_id`, or stop all nodes and remove the file of each",
                    node_->mark.to_string(), node_->name, path)};
  return {};
}

Status Node::open_ports() {
  for (const config::PortConfig& config : node_->ports) {
    EthdevPortSettings settings;
    settings.device = config.device;
    settings.pool = pool_.get();
    settings.mtu = config.mtu;
    auto port = EthdevPort::open(settings);
    if (!port)
      return Error{fmt::format("{}: port {}: {}", config.mark.to_string(), config.name, port.message())};
    log_info("port", "{}: {}, MAC {}, MTU {}", config.name, config.device, port.value()->mac().to_string(),
             port.value()->mtu());
    ports_.push_back(std::move(port).value());
    Port* port_of_workers = ports_.back().get();
    if (config.vlan != 0) {
      wrapped_.push_back(std::make_unique<worker::TaggedPort>(*port_of_workers, config.vlan));
      port_of_workers = wrapped_.back().get();
    }
    if (config.reassembles) {
      wrapped_.push_back(std::make_unique<worker::ReassemblingPort>(
          *port_of_workers, wire::FragmentTable::Settings(), pool_.get(), [this] { return clock_->now(); }));
      port_of_workers = wrapped_.back().get();
    }
    seen_ports_.push_back(port_of_workers);
  }
  return {};
}

void Node::make_workers(uint64_t seed) {
  shards_ = std::make_unique<tcp::ShardMap>(config_.cluster.shards);
  for (unsigned i = 0; i < node_->workers; ++i) {
    lcores_.push_back(std::make_unique<Lcore>());
    auto wakeup = Wakeup::create();
    invariant(wakeup.ok(), "no descriptor left for a worker's wake-up");
    lcores_.back()->wakeup = std::move(wakeup).value();
  }
  auto control_wakeup = Wakeup::create();
  invariant(control_wakeup.ok(), "no descriptor left for the control loop's wake-up");
  control_wakeup_ = std::move(control_wakeup).value();
  Wakeup* io = lcores_[0]->wakeup.get();
  make_leases();
  for (size_t p = 0; p < ports_.size() && node_->workers > 1; ++p) {
    std::vector<worker::HandoverPort*> others;
    std::vector<std::function<void()>> wake;
    handovers_.emplace_back();
    for (unsigned w = 1; w < node_->workers; ++w) {
      handovers_[p].push_back(std::make_unique<worker::HandoverPort>(fmt::format("h{}w{}", p, w), port_at(p),
                                                                     [io] { io->ring(); }));
      others.push_back(handovers_[p].back().get());
      Wakeup* other = lcores_[w]->wakeup.get();
      wake.emplace_back([other] { other->ring(); });
    }
    distributors_.push_back(std::make_unique<worker::Distributor>(outer_port(p), others, wake, *shards_));
  }
  std::vector<OpenPort> open;
  std::vector<MacAddress> macs;
  for (size_t p = 0; p < ports_.size(); ++p) {
    open.push_back({&outer_port(p), &node_->ports[p]});
    macs.push_back(ports_[p]->mac());
  }
  worker::WorkerSettings settings =
      worker_settings(config_, *node_, boot_, open, pool_statistics(*pool_).buffers);
  settings.leases = leases_;
  settings.shards = shards_.get();
  std::vector<worker::Worker*> workers;
  for (unsigned w = 0; w < node_->workers; ++w) {
    settings.index = static_cast<uint16_t>(w);
    for (size_t p = 0; p < ports_.size() && node_->workers > 1; ++p)
      settings.ports[p].port =
          w == 0 ? static_cast<Port*>(distributors_[p].get()) : handovers_[p][w - 1].get();
    lcores_[w]->worker = std::make_unique<worker::Worker>(fmt::format("w{}", w), settings, pool_.get(),
                                                          seed + w, clock_->now());
    workers.push_back(lcores_[w]->worker.get());
  }
  NodeControl::Settings control{.config = &config_,
                                .node = node_,
                                .boot = boot_,
                                .macs = macs,
                                .pool = pool_.get(),
                                .now = clock_->now(),
                                .leases = leases_,
                                .transport = transport_.get()};
  if (keeper_ != nullptr) {
    control.memory = keeper_->found();
    control.keep = [this](const cluster::Keep& keep) { keeper_->keep(keep); };
  }
  control_ = std::make_unique<NodeControl>(control, workers, Random(seed ^ 0x5eed),
                                           [this](const NodeEvent& e) { log_event(e); });
}

// Where an arbiter gives leases, nothing leaves a port but by way of a look at the clock.
void Node::make_leases() {
  if (config_.cluster.arbiter == config::Arbiter::none) return;
  leases_ = std::make_shared<worker::Leases>(config_.groups.size());
  for (Port* port : seen_ports_)
    leased_ports_.push_back(std::make_unique<worker::LeasedPort>(*port, leases_, leased_addresses(config_),
                                                                 [this] { return clock_->now(); }));
}

Port& Node::outer_port(size_t index) {
  if (leased_ports_.empty()) return port_at(index);
  return *leased_ports_[index];
}

void Node::log_event(const NodeEvent& event) {
  log_line(event.level, event.subject, event.sentence);
}

// One lcore: rounds while there is something to do, then a wait for a frame, a ring or the next deadline.
void Node::work(unsigned index) {
  Lcore& lcore = *lcores_[index];
  worker::Worker& worker = *lcore.worker;
  PortWaiter waiter(*lcore.wakeup);
  const auto watch = [&] {
    std::vector<int> descriptors;
    for (const auto& port : ports_)
      if (index == 0) descriptors.push_back(port->poll_descriptor());
    waiter.watch(descriptors);
    return std::ranges::find(descriptors, -1) == descriptors.end();
  };
  bool can_sleep = watch();
  const bool adaptive = node_->idle == config::Idle::adaptive;
  const auto pending = [&] {
    if (worker.has_mail() || stop_workers_.load(std::memory_order_relaxed)) return true;
    if (index == 0) return std::ranges::any_of(distributors_, [](const auto& d) { return d->has_to_send(); });
    return std::ranges::any_of(handovers_,
                               [&](const auto& by_worker) { return by_worker[index - 1]->has_received(); });
  };
  constexpr int kIdleRounds = 4;
  int idle = 0;
  Instant awake_since = clock_->now();
  const auto note_busy = [&](Instant until) {
    lcore.busy_ns.fetch_add(static_cast<uint64_t>((until - awake_since).count()), std::memory_order_relaxed);
    awake_since = until;
  };
  while (!stop_workers_.load(std::memory_order_relaxed)) {
    if (index == 0 && lcore.reopen.exchange(false)) {
      reopen_ports();
      worker.ports_reopened();
      can_sleep = watch();
    }
    const Instant now = clock_->now();
    note_busy(now);
    const bool is_busy = worker.run_once(now);
    if (worker.is_urgent()) control_wakeup_->ring();
    if (is_busy) {
      idle = 0;
      continue;
    }
    if (!adaptive || ++idle < kIdleRounds) continue;
    const Instant before = clock_->now();
    Duration wait = worker.next_deadline() - before;
    // A device without a descriptor is looked at often enough that its ring does not overflow.
    if (!can_sleep) wait = std::min<Duration>(wait, 50us);
    note_busy(before);
    if (wait <= Duration::zero()) continue;
    waiter.wait(wait, pending);
    awake_since = clock_->now();
  }
}

// Whatever the ports kept while this node was away must not leave now.
void Node::reopen_ports() {
  for (size_t p = 0; p < ports_.size(); ++p)
    if (const Status done = ports_[p]->reopen(); !done)
      log_error("port", "{}: {}", node_->ports[p].name, done.message());
}

Status Node::launch() {
  for (unsigned i = 0; i < node_->workers; ++i)
    if (const Status launched = eal_->launch(i, [this, i] { work(i); }); !launched) return launched;
  return {};
}

// Commands reach sleeping workers at once.
void Node::wake_workers() {
  for (const auto& lcore : lcores_)
    if (lcore->worker->has_mail()) lcore->wakeup->ring();
}

Result<console::HandOverView> Node::hand_over(const std::string& group_name, const std::string& node_name) {
  const auto group = std::ranges::find(config_.groups, group_name, &config::GroupConfig::name);
  if (group == config_.groups.end())
    return Error{fmt::format("there is no group `{}`; `show cluster` names them", group_name)};
  const config::NodeConfig* to = config_.find_node(node_name);
  if (to == nullptr) return Error{fmt::format("there is no node `{}`; `show cluster` names them", node_name)};
  const Instant began = clock_->now();
  GroupId id;
  {
    const std::lock_guard lock(control_mutex_);
    id = control_->controller().current_of(group->id);
    if (const auto obstacle = control_->hand_over(group->id, to->id, began)) return Error{*obstacle};
    wake_workers();
  }
  constexpr Duration kAnswerMost = 2s;  // longer than the machine's own patience
  while (clock_->now() - began < kAnswerMost) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::lock_guard lock(control_mutex_);
    const cluster::FailoverMachine& machine = *control_->controller().machine(id);
    if (machine.state() == cluster::GroupState::yielding) continue;
    if (cluster::is_standby(machine.state())) return console::HandOverView{machine.since() - began};
    return Error{machine.why()};
  }
  return Error{
      fmt::format("group {} is still being handed over; `show cluster` tells how it ends", group_name)};
}

int Node::run() {
  {
    const std::lock_guard lock(control_mutex_);
    control_->start(clock_->now());
  }
  if (const Status launched = launch(); !launched) {
    log_error("node", "{}", launched.message());
    return 1;
  }
  log_notice("node", "{} is up: {} worker{}, {} packet buffers, {}", node_->name, node_->workers,
             node_->workers == 1 ? "" : "s", pool_statistics(*pool_).buffers,
             eal_->uses_hugepages() ? "hugepages" : "ordinary pages");
  PortWaiter waiter(*control_wakeup_);
  const auto is_urgent = [this] {
    if (keeper_ != nullptr && keeper_->has_done()) return true;
    if (transport_ != nullptr && transport_->has_replies()) return true;
    return std::ranges::any_of(lcores_, [](const auto& lcore) { return lcore->worker->is_urgent(); });
  };
  bool retiring = false;
  while (true) {
    {
      const std::lock_guard lock(control_mutex_);
      for (const auto& lcore : lcores_) lcore->worker->take_urgent();
      control_->gather();
      const Instant now = clock_->now();
      if (keeper_ != nullptr)
        for (const PromiseKeeper::Done& done : keeper_->take_done())
          control_->on_kept(done.sequence, done.is_kept, now);
      control_->round(now);
      if (control_->stop()) {
        log_error("node", "{}", *control_->stop());
        return 2;
      }
      if (control_->take_reopen_wish()) {
        lcores_[0]->reopen.store(true);
        lcores_[0]->wakeup->ring();
      }
      if (quit_.load(std::memory_order_relaxed) && !retiring) {
        retiring = true;
        control_->retire(now);
      }
      if (retiring && control_->retired()) return 0;
    }
    wake_workers();
    waiter.wait(kControlRound, is_urgent);
  }
}

Node::~Node() {
  stop_workers_.store(true);
  for (const auto& lcore : lcores_)
    if (lcore->wakeup != nullptr) lcore->wakeup->ring();
  if (eal_ != nullptr) eal_->join_all();
  // Workers and rings hold buffers of the pool, ports too: the pool goes last, and with it the environment.
  control_.reset();
  keeper_.reset();
  transport_.reset();
  lcores_.clear();
  distributors_.clear();
  handovers_.clear();
  leased_ports_.clear();
  wrapped_.clear();
  ports_.clear();
  pool_.reset();
  eal_.reset();
}

}  // namespace understudy::appliance
