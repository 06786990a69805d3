#include "tests/support/cluster_in_process.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "common/check.h"

namespace understudy {
namespace {

constexpr uint32_t kVirtual = 0x0a0a000a;  // 10.10.0.10
constexpr uint32_t kSource = 0x0a140064;   // 10.20.0.100
constexpr MacAddress kGroupMac({0x02, 0x55, 0x53, 0x00, 0x00, 0x01});
constexpr uint16_t kFirstClientPort = 20000;
constexpr uint8_t kFirstSlotMac = 0x10;

std::string node_text(unsigned number, unsigned workers) {
  return fmt::format(R"(
  - name: n{0}
    id: {0}
    workers: {1}
    connections: 2000
    ports:
      - {{name: front, device: "net_af_packet0,iface=front", roles: [front], address: 10.10.0.{2}/24}}
      - {{name: back, device: "net_af_packet1,iface=back", roles: [back], address: 10.20.0.{3}/24}}
      - {{name: peer, device: "net_af_packet2,iface=peer", roles: [peer]}})",
                     number, workers, 10 + number, 20 + number);
}

// The second group's order of successors begins with the second node.
std::string group_text(unsigned number, const ClusterInProcess::Settings& settings) {
  const unsigned nodes = settings.nodes;
  std::string successors;
  for (unsigned i = 0; i < nodes; ++i)
    successors += fmt::format("{}n{}", i == 0 ? "" : ", ", (number - 1 + i) % nodes + 1);
  return fmt::format(R"(
  - name: {0}
    id: {1}
    mac: "02:55:53:00:00:0{1}"
    virtual_ips: [10.10.0.{1}0/24]
    source_addresses: [10.20.0.10{2}/24]
    successors: [{3}]
    accept_unprotected: {4}
    failback: {5}
    services:
      - {{name: http, ports: 80, application: proxy, pool: web}}
      - {{name: echo, ports: 7, application: echo}})",
                     number == 1 ? "web" : "other", number, number - 1, successors,
                     settings.accept_unprotected, settings.failback);
}

std::string configuration(const ClusterInProcess::Settings& settings) {
  std::string text = fmt::format(
      "cluster: {{name: in-process, arbiter: {}, cold_takeover_after: {}ms{}}}\n"
      "tcp: {{receive_buffer: 128KiB}}\nnodes:",
      settings.arbiter, to_ms(settings.cold_takeover_after),
      settings.arbiter == "etcd" ? ", etcd: {endpoints: [\"http://etcd:2379\"]}" : "");
  for (unsigned n = 1; n <= settings.nodes; ++n)
    text += node_text(n, n == 1 ? settings.workers_of_n1 : n == 2 ? settings.workers_of_n2 : 1);
  text += R"(
pools:
  - name: web
    check: {interval: 200ms, timeout: 150ms, rise: 2, fall: 3}
    backends:
      - {name: b1, address: 10.20.0.11, port: 80}
      - {name: b2, address: 10.20.0.12, port: 80}
groups:)";
  for (unsigned group = 1; group <= settings.groups; ++group) text += group_text(group, settings);
  return text + "\n";
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

ClusterInProcess::ClusterInProcess(const Settings& settings)
    : settings_(settings),
      random_(settings.seed),
      config_(parse_or_end(configuration(settings))),
      shards_(config_.cluster.shards),
      etcd_(slots, settings.seed) {
  for (size_t n = 0; n < networks; ++n) {
    networks_[n] = std::make_unique<SwitchedNetwork>(random_.next());
    networks_[n]->bits_per_second = n == peer ? settings.peer_bits_per_second : settings.bits_per_second;
    networks_[n]->observer = [this, n](const SwitchPort& from, std::span<const uint8_t> frame) {
      watch(static_cast<Network>(n), from, frame);
    };
  }
  const auto add = [&](Network on, uint32_t address, uint8_t mac) {
    random_.next();  // hosts drew once: a seed means what it meant
    hosts_.push_back(std::make_unique<StreamHost>(*networks_[on], IpAddress::v4(address),
                                                  MacAddress({2, 0, 0, 0, 1, mac}), host_pool_.get(), shards_,
                                                  now_));
  };
  add(front, 0x0a0a0064, 1);
  add(back, 0x0a14000b, 2);
  add(back, 0x0a14000c, 3);
  for (size_t b = 0; b < 2; ++b) backend(b).listen(PortNumber(80), PortNumber(80));
}

ClusterInProcess::~ClusterInProcess() {
  for (Slot& slot : slots_) slot.node.reset();
  hosts_.clear();
}

void ClusterInProcess::start(size_t slot, const std::string& as) {
  Slot& s = slots_[slot];
  s.node.reset();
  s.last_words.clear();
  s.transport = etcd_.connect(slot);
  const NodeInProcess::Settings settings{
      .config = &config_,
      .node = config_.find_node(as.empty() ? fmt::format("n{}", slot + 1) : as),
      .shards = &shards_,
      .networks = {networks_[front].get(), networks_[back].get(), networks_[peer].get()},
      .slot = static_cast<uint8_t>(kFirstSlotMac + slot),
      .reopening = settings_.reopening,
      .disk = &s.disk,
      .transport = s.transport.get()};
  s.node =
      std::make_unique<NodeInProcess>(settings, random_, now_, [this, slot](const appliance::NodeEvent& e) {
        slots_[slot].log.push_back(fmt::format("{:9.3f} ms n{} {}: {}",
                                               static_cast<double>((e.when - Instant(10s)).count()) / 1e6,
                                               slot + 1, e.subject, e.sentence));
      });
}

void ClusterInProcess::kill(size_t slot) {
  slots_[slot].node.reset();
}
void ClusterInProcess::pause_worker(size_t slot, size_t index, Duration length) {
  slots_[slot].node->pause_worker(index, now_ + length);
}

void ClusterInProcess::pause(size_t slot) {
  slots_[slot].node->pause();
}
void ClusterInProcess::resume(size_t slot) {
  slots_[slot].node->resume();
}

void ClusterInProcess::retire(size_t slot) {
  slots_[slot].node->retire(now_);
}

std::optional<std::string> ClusterInProcess::hand_over(size_t from, size_t to) {
  return control(from).hand_over(GroupId(1), NodeId(static_cast<uint16_t>(to + 1)), now_);
}

void ClusterInProcess::cut(size_t slot, Network network, bool is_cut) {
  SwitchPort& p = port(slot, network);
  p.cut_in = p.cut_out = is_cut;
}

void ClusterInProcess::cut(size_t slot, Network network, Direction direction, bool is_cut) {
  SwitchPort& p = port(slot, network);
  (direction == in ? p.cut_in : p.cut_out) = is_cut;
}

void ClusterInProcess::cut_all(size_t slot, bool is_cut) {
  for (const Direction direction : {in, out}) cut_all(slot, direction, is_cut);
}

void ClusterInProcess::cut_all(size_t slot, Direction direction, bool is_cut) {
  for (size_t network = 0; network < networks; ++network)
    cut(slot, static_cast<Network>(network), direction, is_cut);
}

// From the workers' own view of their voices: a paused node has none, it can say nothing.
void ClusterInProcess::count_voices() {
  for (uint8_t group = 0; group < settings_.groups; ++group) {
    size_t voices = 0;
    for (const Slot& slot : slots_) {
      if (slot.node == nullptr || slot.node->paused()) continue;
      const Instant lease = slot.node->control().controller().lease_until(group_id(group));
      voices += slot.node->worker(0).engine().group(group).voice && lease > slot.node->local_time(now_);
    }
    most_voices_ = std::max(most_voices_, voices);
  }
}

SwitchPort& ClusterInProcess::port(size_t slot, Network which) {
  return slots_[slot].node->port(which);
}
worker::Worker& ClusterInProcess::worker(size_t slot, size_t index) {
  return slots_[slot].node->worker(index);
}
appliance::NodeControl& ClusterInProcess::control(size_t slot) {
  return slots_[slot].node->control();
}
rte_mempool* ClusterInProcess::pool(size_t slot) {
  return slots_[slot].node->pool();
}

void ClusterInProcess::run_node(size_t slot) {
  NodeInProcess& node = *slots_[slot].node;
  node.run(now_, random_.chance(1, 2));
  if (node.last_words().empty()) return;
  slots_[slot].last_words = node.last_words();
  kill(slot);
}

Instant ClusterInProcess::next_instant() const {
  Instant next = now_ + 10ms;
  for (const auto& network : networks_) next = std::min(next, network->next_arrival());
  for (const auto& host : hosts_) next = std::min(next, host->has_received() ? now_ : host->next_deadline());
  for (const Slot& slot : slots_)
    if (slot.node != nullptr) next = std::min(next, slot.node->next_instant(now_));
  next = std::min(next, etcd_.next_due());
  return std::max(next, now_ + 1us);
}

void ClusterInProcess::step() {
  now_ = next_instant();
  etcd_.run(now_);
  for (const auto& network : networks_) {
    network->set_now(now_);
    network->deliver_due();
  }
  for (const auto& host : hosts_) host->round(now_);
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot].node != nullptr && !slots_[slot].node->paused()) run_node(slot);
  count_voices();
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
  for (size_t slot = 0; slot < settings_.nodes; ++slot) {
    start(slot);
    run_for(3ms);
  }
  const auto is_ready = [&] {
    for (size_t group = 0; group < settings_.groups; ++group)
      if (owner(group) != group % settings_.nodes || !is_protected(group)) return false;
    for (size_t slot = 0; slot < settings_.nodes; ++slot)
      if (control(slot).health().up_count(PoolId(0)) != 2) return false;
    return true;
  };
  return run_until(is_ready, 10s);
}

StreamEnd& ClusterInProcess::transfer(uint32_t up, uint32_t down, size_t group) {
  const auto number = static_cast<uint32_t>(transfers_.size() + 1);
  StreamEnd& end = client().open(IpAddress::v4(kVirtual + 10 * static_cast<uint32_t>(group)), PortNumber(80),
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

cluster::GroupState ClusterInProcess::state(size_t slot, size_t group) const {
  return slots_[slot].node->control().controller().machine(group_id(group))->state();
}

std::optional<size_t> ClusterInProcess::owner(size_t group) const {
  std::optional<size_t> found;
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    const NodeInProcess* node = slots_[slot].node.get();
    if (node == nullptr || node->paused() || !cluster::is_owner(state(slot, group))) continue;
    if (found) return std::nullopt;
    found = slot;
  }
  return found;
}

std::optional<size_t> ClusterInProcess::standby(size_t group) const {
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (runs(slot) && state(slot, group) == cluster::GroupState::standby_synced) return slot;
  return std::nullopt;
}

bool ClusterInProcess::is_protected(size_t group) const {
  const auto owner_slot = owner(group);
  return owner_slot && state(*owner_slot, group) == cluster::GroupState::owner_protected &&
         standby(group).has_value();
}

uint64_t ClusterInProcess::unprotected_legs(size_t group) const {
  const auto slot = owner(group);
  uint64_t count = 0;
  for (size_t w = 0; slot && w < slots_[*slot].node->workers(); ++w) {
    const tcp::ConnectionTable& legs = slots_[*slot].node->worker(w).engine().legs();
    for (uint32_t leg = 0; leg < legs.capacity(); ++leg)
      count += legs.is_live(leg) && legs[leg].group == group && legs[leg].partner != tcp::kNone &&
               !legs[leg].mirrored;
  }
  return count;
}

size_t ClusterInProcess::slot_of_group_mac(Network which) const {
  const SwitchPort* behind = networks_[which]->learned(kGroupMac);
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (behind != nullptr && slots_[slot].node != nullptr && &slots_[slot].node->port(which) == behind)
      return slot;
  return SIZE_MAX;
}

// From the bytes alone, without the code under test.
void ClusterInProcess::watch(Network, const SwitchPort& from, std::span<const uint8_t> frame) {
  const std::array<uint8_t, 6> mac = from.mac().bytes();
  if (mac[4] < kFirstSlotMac || frame.size() < 42) return;  // a host's
  Voice& voice = slots_[size_t{mac[4]} - kFirstSlotMac].voice;
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
    for (size_t group = 0; group < config_.groups.size(); ++group) {
      const auto* machine = slot.node->control().controller().machine(group_id(group));
      text += fmt::format("  now {} ({})\n", cluster::name_of(machine->state()), machine->why());
    }
    for (size_t w = 0; w < slot.node->workers(); ++w) {
      worker::Worker* worker = &slot.node->worker(w);
      text += fmt::format("  replica {} stream {} legs {} drops:",
                          static_cast<int>(worker->status().groups[0].replica_status().state),
                          worker->status().groups[0].stream_state.load(), worker->engine().legs().size());
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
