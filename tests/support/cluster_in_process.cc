#include "tests/support/cluster_in_process.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "common/check.h"
#include "control/appliance/wiring.h"
#include "tests/support/mbuf_pool.h"

namespace understudy {
namespace {

constexpr uint32_t kVirtual = 0x0a0a000a;  // 10.10.0.10
constexpr uint32_t kSource = 0x0a140064;   // 10.20.0.100
constexpr MacAddress kGroupMac({0x02, 0x55, 0x53, 0x00, 0x00, 0x01});
constexpr unsigned kNodeBuffers = 4095;
constexpr Duration kControlRound = 2ms;
constexpr uint16_t kFirstClientPort = 20000;

std::string configuration(const ClusterInProcess::Settings& settings) {
  return fmt::format(R"(
cluster: {{name: in-process}}
tcp: {{receive_buffer: 128KiB}}
nodes:
  - name: n1
    id: 1
    workers: {}
    connections: 2000
    ports:
      - {{name: front, device: "net_af_packet0,iface=front", roles: [front], address: 10.10.0.11/24}}
      - {{name: back, device: "net_af_packet1,iface=back", roles: [back], address: 10.20.0.21/24}}
      - {{name: peer, device: "net_af_packet2,iface=peer", roles: [peer]}}
  - name: n2
    id: 2
    workers: {}
    connections: 2000
    ports:
      - {{name: front, device: "net_af_packet0,iface=front", roles: [front], address: 10.10.0.12/24}}
      - {{name: back, device: "net_af_packet1,iface=back", roles: [back], address: 10.20.0.22/24}}
      - {{name: peer, device: "net_af_packet2,iface=peer", roles: [peer]}}
pools:
  - name: web
    check: {{interval: 200ms, timeout: 150ms, rise: 2, fall: 3}}
    backends:
      - {{name: b1, address: 10.20.0.11, port: 80}}
      - {{name: b2, address: 10.20.0.12, port: 80}}
groups:
  - name: web
    id: 1
    mac: "02:55:53:00:00:01"
    virtual_ips: [10.10.0.10/24]
    source_addresses: [10.20.0.100/24]
    successors: [n1, n2]
    accept_unprotected: {}
    services:
      - {{name: http, ports: 80, application: proxy, pool: web}}
      - {{name: echo, ports: 7, application: echo}}
)",
                     settings.workers_of_n1, settings.workers_of_n2, settings.accept_unprotected);
}

config::Config parse_or_end(const std::string& text) {
  auto parsed = config::parse(text, "in-process");
  if (const auto* faults = std::get_if<config::Faults>(&parsed)) {
    for (const std::string& line : faults->lines) fprintf(stderr, "%s\n", line.c_str());
    invariant(false, "tests: the configuration of the cluster is faulty");
  }
  return std::get<config::Config>(std::move(parsed));
}

uint32_t address_at(std::span<const uint8_t> frame, size_t at) {
  return static_cast<uint32_t>(frame[at]) << 24 | static_cast<uint32_t>(frame[at + 1]) << 16 |
         static_cast<uint32_t>(frame[at + 2]) << 8 | frame[at + 3];
}

}  // namespace

ClusterInProcess::Pool ClusterInProcess::make_pool(unsigned buffers) {
  static int unique = 0;
  test_mbuf_pool();  // starts the EAL
  Pool pool(rte_pktmbuf_pool_create(fmt::format("sim{}", unique++).c_str(), buffers, 0, 0,
                                    RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY));
  invariant(pool != nullptr, "tests: no memory for a node's buffers");
  return pool;
}

ClusterInProcess::ClusterInProcess(const Settings& settings)
    : settings_(settings),
      random_(settings.seed),
      config_(parse_or_end(configuration(settings))),
      shards_(config_.cluster.shards) {
  static int unique = 0;
  host_pool_ = make_pool(8191);
  for (size_t n = 0; n < networks; ++n) {
    networks_[n] = std::make_unique<SwitchedNetwork>(random_.next());
    networks_[n]->bits_per_second = n == peer ? settings.peer_bits_per_second : settings.bits_per_second;
    networks_[n]->observer = [this, n](const SwitchPort& from, std::span<const uint8_t> frame) {
      watch(static_cast<Network>(n), from, frame);
    };
  }
  const auto add = [&](Network on, const char* name, uint32_t address, uint8_t mac) {
    hosts_.push_back(std::make_unique<StreamHost>(*networks_[on], fmt::format("{}{}", name, unique++),
                                                  IpAddress::v4(address), MacAddress({2, 0, 0, 0, 1, mac}),
                                                  host_pool_.get(), shards_, random_.next(), now_));
  };
  add(front, "client", 0x0a0a0064, 1);
  add(back, "b", 0x0a14000b, 2);
  add(back, "b", 0x0a14000c, 3);
  for (size_t b = 0; b < 2; ++b) backend(b).listen(PortNumber(80), PortNumber(80));
}

ClusterInProcess::~ClusterInProcess() {
  for (Slot& slot : slots_) slot.node.reset();
  hosts_.clear();
}

void ClusterInProcess::start(size_t slot, const std::string& as) {
  Slot& s = slots_[slot];
  s.node = std::make_unique<Node>();
  Node& node = *s.node;
  s.last_words.clear();
  node.pool = make_pool(kNodeBuffers);
  node.config = config_.find_node(as.empty() ? fmt::format("n{}", slot + 1) : as);
  for (size_t n = 0; n < networks; ++n) {
    const MacAddress mac({2, 0, 0, 0, static_cast<uint8_t>(0x10 + slot), static_cast<uint8_t>(n)});
    node.ports.push_back(std::make_unique<SwitchPort>(*networks_[n], mac, node.pool.get()));
  }
  make_workers(node, slot);
  node.control_due = now_;
  node.control->start(now_);
}

// As the program does it.
void ClusterInProcess::make_workers(Node& node, size_t slot) {
  static int unique = 0;
  const int id = unique++;
  std::vector<appliance::OpenPort> open;
  std::vector<MacAddress> macs;
  const unsigned count = node.config->workers;
  for (size_t p = 0; p < networks; ++p) {
    open.push_back({node.ports[p].get(), &node.config->ports[p]});
    macs.push_back(node.ports[p]->mac());
    if (count == 1) continue;
    std::vector<worker::HandoverPort*> others;
    node.handovers.emplace_back();
    for (unsigned w = 1; w < count; ++w) {
      node.handovers[p].push_back(
          std::make_unique<worker::HandoverPort>(fmt::format("s{}h{}w{}", id, p, w), *node.ports[p], [] {}));
      others.push_back(node.handovers[p].back().get());
    }
    const std::vector<std::function<void()>> wake(count - 1, [] {});
    node.distributors.push_back(std::make_unique<worker::Distributor>(*node.ports[p], others, wake, shards_));
  }
  const BootId boot(random_.next());
  worker::WorkerSettings settings = worker_settings(config_, *node.config, boot, open, kNodeBuffers);
  std::vector<worker::Worker*> workers;
  for (unsigned w = 0; w < count; ++w) {
    settings.index = static_cast<uint16_t>(w);
    for (size_t p = 0; p < networks && count > 1; ++p)
      settings.ports[p].port =
          w == 0 ? static_cast<Port*>(node.distributors[p].get()) : node.handovers[p][w - 1].get();
    node.workers.push_back(std::make_unique<worker::Worker>(fmt::format("s{}w{}", id, w), settings,
                                                            node.pool.get(), random_.next(), now_));
    workers.push_back(node.workers.back().get());
  }
  node.deadlines.assign(count, now_);
  node.busy.assign(count, 1);
  const appliance::NodeControl::Settings control{
      .config = &config_, .node = node.config, .boot = boot, .macs = macs, .pool = node.pool.get()};
  node.control = std::make_unique<appliance::NodeControl>(
      control, workers, Random(random_.next()), [this, slot](const appliance::NodeEvent& e) {
        slots_[slot].log.push_back(fmt::format("{:9.3f} ms n{} {}: {}",
                                               static_cast<double>((e.when - Instant(10s)).count()) / 1e6,
                                               slot + 1, e.subject, e.sentence));
      });
}

void ClusterInProcess::kill(size_t slot) {
  slots_[slot].node.reset();
}
void ClusterInProcess::pause(size_t slot) {
  slots_[slot].node->paused = true;
}
void ClusterInProcess::resume(size_t slot) {
  slots_[slot].node->paused = false;
}

void ClusterInProcess::retire(size_t slot) {
  slots_[slot].node->retiring = true;
  slots_[slot].node->control->retire(now_);
}

void ClusterInProcess::cut(size_t slot, Network network, bool is_cut) {
  SwitchPort& p = port(slot, network);
  p.cut_in = p.cut_out = is_cut;
}

SwitchPort& ClusterInProcess::port(size_t slot, Network which) {
  return *slots_[slot].node->ports[which];
}
worker::Worker& ClusterInProcess::worker(size_t slot, size_t index) {
  return *slots_[slot].node->workers[index];
}
appliance::NodeControl& ClusterInProcess::control(size_t slot) {
  return *slots_[slot].node->control;
}
rte_mempool* ClusterInProcess::pool(size_t slot) {
  return slots_[slot].node->pool.get();
}

bool ClusterInProcess::is_ready(const Node& node, size_t w) const {
  if (node.busy[w] != 0 || node.deadlines[w] <= now_ || node.workers[w]->has_mail()) return true;
  if (w == 0)
    return std::ranges::any_of(node.ports, [](const auto& port) { return port->has_received(); }) ||
           std::ranges::any_of(node.distributors, [](const auto& port) { return port->has_to_send(); });
  return std::ranges::any_of(node.handovers,
                             [&](const auto& by_worker) { return by_worker[w - 1]->has_received(); });
}

void ClusterInProcess::run_workers(Node& node) {
  for (int turn = 0; turn < 16; ++turn) {
    bool any = false;
    for (size_t w = 0; w < node.workers.size(); ++w) {
      if (!is_ready(node, w)) continue;
      any = true;
      if (w == 0 && std::exchange(node.reopen, false))
        for (const auto& port : node.ports) port->discard_received();
      node.busy[w] = node.workers[w]->run_once(now_) ? 1 : 0;
      node.deadlines[w] = node.workers[w]->next_deadline();
    }
    if (!any) return;
  }
}

void ClusterInProcess::run_node(size_t slot) {
  Node& node = *slots_[slot].node;
  const bool workers_first = random_.chance(1, 2);
  if (workers_first) run_workers(node);
  if (node.control_due <= now_) {
    node.control_due = now_ + kControlRound;
    node.control->round(now_);
    if (node.control->take_reopen_wish()) node.reopen = true;
    if (node.control->stop()) {
      slots_[slot].last_words = *node.control->stop();
      return kill(slot);
    }
    if (node.retiring && node.control->retired()) {
      slots_[slot].last_words = "retired";
      return kill(slot);
    }
  }
  run_workers(node);
}

Instant ClusterInProcess::next_instant() const {
  Instant next = now_ + 10ms;
  for (const auto& network : networks_) next = std::min(next, network->next_arrival());
  for (const auto& host : hosts_) next = std::min(next, host->has_received() ? now_ : host->next_deadline());
  for (const Slot& slot : slots_) {
    if (slot.node == nullptr || slot.node->paused) continue;
    next = std::min(next, slot.node->control_due);
    for (size_t w = 0; w < slot.node->workers.size(); ++w)
      next = std::min(next, is_ready(*slot.node, w) ? now_ : slot.node->deadlines[w]);
  }
  return std::max(next, now_ + 1us);
}

void ClusterInProcess::step() {
  now_ = next_instant();
  for (const auto& network : networks_) {
    network->set_now(now_);
    network->deliver_due();
  }
  for (const auto& host : hosts_) host->round(now_);
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot].node != nullptr && !slots_[slot].node->paused) run_node(slot);
}

bool ClusterInProcess::run_until(const std::function<bool()>& until, Duration limit) {
  const Instant end = now_ + limit;
  while (!until()) {
    if (now_ >= end) return false;
    step();
  }
  return true;
}

void ClusterInProcess::run_for(Duration length) {
  run_until([] { return false; }, length);
}

bool ClusterInProcess::boot() {
  start(0);
  run_for(3ms);
  start(1);
  return run_until(
      [&] {
        return owner() == size_t{0} && is_protected() && control(0).health().up_count(PoolId(0)) == 2 &&
               control(1).health().up_count(PoolId(0)) == 2;
      },
      10s);
}

StreamEnd& ClusterInProcess::transfer(uint32_t up, uint32_t down) {
  const auto number = static_cast<uint32_t>(transfers_.size() + 1);
  StreamEnd& end = client().open(IpAddress::v4(kVirtual), PortNumber(80),
                                 static_cast<uint16_t>(kFirstClientPort + number), number, up, down, now_);
  transfers_.push_back(&end);
  return end;
}

StreamEnd* ClusterInProcess::partner_of(const StreamEnd& client_end, int& count) {
  StreamEnd* found = nullptr;
  count = 0;
  for (size_t b = 0; b < 2; ++b)
    for (const auto& end : backend(b).ends())
      if (end->heard >= 4 && end->hear_stream == client_end.say_stream) {
        found = end.get();
        ++count;
      }
  return found;
}

bool ClusterInProcess::all_done() {
  int count = 0;
  return std::ranges::all_of(transfers_, [&](const StreamEnd* end) {
    if (!end->is_complete()) return false;
    const StreamEnd* partner = partner_of(*end, count);
    return partner != nullptr && partner->is_complete();
  });
}

std::optional<size_t> ClusterInProcess::owner() const {
  std::optional<size_t> found;
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    const Node* node = slots_[slot].node.get();
    if (node == nullptr || node->paused ||
        !cluster::is_owner(node->control->controller().machine(GroupId(1))->state()))
      continue;
    if (found) return std::nullopt;
    found = slot;
  }
  return found;
}

bool ClusterInProcess::is_protected() const {
  const auto owner_slot = owner();
  if (!owner_slot) return false;
  const auto state = [&](size_t slot) {
    return slots_[slot].node->control->controller().machine(GroupId(1))->state();
  };
  if (state(*owner_slot) != cluster::GroupState::owner_protected) return false;
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (slot != *owner_slot && runs(slot) && state(slot) == cluster::GroupState::standby_synced) return true;
  return false;
}

uint64_t ClusterInProcess::unprotected_legs() const {
  const auto slot = owner();
  uint64_t count = 0;
  for (size_t w = 0; slot && w < slots_[*slot].node->workers.size(); ++w) {
    const tcp::ConnectionTable& legs = slots_[*slot].node->workers[w]->engine().legs();
    for (uint32_t leg = 0; leg < legs.capacity(); ++leg)
      count +=
          legs.is_live(leg) && legs[leg].group == 0 && legs[leg].partner != tcp::kNone && !legs[leg].mirrored;
  }
  return count;
}

size_t ClusterInProcess::slot_of_group_mac(Network which) const {
  const SwitchPort* behind = networks_[which]->learned(kGroupMac);
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (behind != nullptr && slots_[slot].node != nullptr && slots_[slot].node->ports[which].get() == behind)
      return slot;
  return SIZE_MAX;
}

// From the bytes alone, without the code under test.
void ClusterInProcess::watch(Network, const SwitchPort& from, std::span<const uint8_t> frame) {
  const std::array<uint8_t, 6> mac = from.mac().bytes();
  if (mac[4] < 0x10 || frame.size() < 42) return;  // a host's
  Voice& voice = slots_[mac[4] - 0x10U].voice;
  const int type = frame[12] << 8 | frame[13];
  if (type == 0x0806) {
    const uint32_t sender = address_at(frame, 28);
    if (sender != kVirtual && sender != kSource) return;
    if (voice.claims++ == 0) voice.first_claim = now_;
  } else if (type == 0x0800 && frame[23] == 6) {
    const uint32_t sender = address_at(frame, 26);
    if (sender != kVirtual && sender != kSource) return;
    if (voice.segments++ == 0) voice.first_segment = now_;
    voice.resets += (frame[47] & 4) != 0;
    voice.fins += (frame[47] & 1) != 0;
  }
}

std::vector<std::string> ClusterInProcess::faults() {
  std::vector<std::string> found;
  for (const auto& host : hosts_) {
    if (host->resets_met() > 0)
      found.push_back(fmt::format("{} resets met live connections, the last one {}", host->resets_met(),
                                  host->last_reset()));
    for (const auto& end : host->ends())
      if (end->wrong > 0)
        found.push_back(fmt::format("{}: {} wrong bytes", end->key.to_string(), end->wrong));
  }
  for (const StreamEnd* end : transfers_) {
    int count = 0;
    partner_of(*end, count);
    if (count > 1)
      found.push_back(fmt::format("transfer {} reached backends {} times", end->say_stream, count));
  }
  return found;
}

std::string ClusterInProcess::describe() {
  std::string text = fmt::format("\nseed {} at {:.3f} ms\n", settings_.seed,
                                 static_cast<double>((now_ - Instant(10s)).count()) / 1e6);
  for (const Slot& slot : slots_) {
    const size_t skip = slot.log.size() > 40 ? slot.log.size() - 40 : 0;
    for (size_t i = skip; i < slot.log.size(); ++i) text += slot.log[i] + "\n";
    if (slot.node == nullptr) continue;
    const auto* machine = slot.node->control->controller().machine(GroupId(1));
    text += fmt::format("  now {} ({})\n", cluster::name_of(machine->state()), machine->why());
    for (const auto& worker : slot.node->workers) {
      text += fmt::format("  replica {} stream {} legs {} drops:", worker->status().replica_state.load(),
                          worker->status().stream_state.load(), worker->engine().legs().size());
      for (size_t reason = 0; reason < kDropReasons; ++reason)
        if (const uint64_t n = worker->drops_of(static_cast<DropReason>(reason)); n > 0)
          text += fmt::format(" [{}: {}]", text_of(static_cast<DropReason>(reason)), n);
      text += "\n";
    }
  }
  const auto say = [&](const char* who, const StreamEnd& end) {
    text += fmt::format("  {} {} stream {} said {}/{} heard {}/{}{}{}\n", who, end.key.to_string(),
                        end.say_stream & 0xffffffff, end.said, end.to_say, end.heard, end.to_hear,
                        end.peer_finished ? " peer finished" : "",
                        end.closed ? fmt::format(" closed: {}", tcp::name_of(end.reason)) : "");
  };
  for (const StreamEnd* end : transfers_) {
    say("client ", *end);
    int count = 0;
    if (const StreamEnd* partner = partner_of(*end, count)) say("backend", *partner);
  }
  return text;
}

}  // namespace understudy
