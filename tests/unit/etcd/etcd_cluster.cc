#include "tests/unit/etcd/etcd_cluster.h"

#include <algorithm>

namespace understudy::etcd {
namespace {

constexpr Duration kStep = 500us;
constexpr Duration kInterval = 20ms;
constexpr Duration kDiskTakes = 3ms;

}  // namespace

struct EtcdCluster::Node {
  BootId boot;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<EtcdArbiter> arbiter;
  bool paused = false;
  double drift = 0;
  uint32_t beats = 0;
  Instant next_beat;  // local
  Epoch owns;         // granted
  Epoch highest;
  bool claims = false;
  Instant claim_after;  // local
  Instant heard_owner;  // local
  Epoch follows;        // the last owner that was heard
  std::vector<Verdict> verdicts;
  std::vector<std::string> events;
};

EtcdCluster::EtcdCluster(unsigned nodes, uint64_t seed, bool automatic, bool disk_may_fail)
    : network(nodes, seed),
      disk_fails(disk_may_fail),
      random_(seed),
      automatic_(automatic),
      nodes_(nodes),
      disks_(nodes) {
  network.run(now_);
  for (size_t i = 0; i < nodes; ++i) start(i);
}

EtcdCluster::~EtcdCluster() = default;

Instant EtcdCluster::local(size_t node) const {
  const Duration since = now_ - Instant(1000s);
  return now_ + Duration(static_cast<int64_t>(static_cast<double>(since.count()) * nodes_[node]->drift));
}

void EtcdCluster::start(size_t index) {
  nodes_[index] = std::make_unique<Node>();
  Node& node = *nodes_[index];
  node.drift = (static_cast<double>(random_.below(800)) - 400) / 100'000;  // up to 0.4 %
  node.boot = BootId(++boots_);
  node.transport = network.connect(index);
  EtcdArbiter::Settings settings;
  settings.self = NodeId(static_cast<uint16_t>(index + 1));
  settings.boot = node.boot;
  EtcdArbiter::GroupSettings group{kGroup, kKey, {}};
  for (uint16_t id = 1; id <= nodes_.size(); ++id) {
    settings.nodes.emplace_back(NodeId(id), "n" + std::to_string(id));
    group.candidates.push_back(NodeId(id));
  }
  settings.groups = {group};
  settings.lease = kLease;
  settings.own = {.id = cluster_id ? cluster_id : kept(index),
                  .is_configured = cluster_id.has_value(),
                  .kept_in = "/var/lib/understudy/n.promises.etcd"};
  node.arbiter = std::make_unique<EtcdArbiter>(settings, *node.transport, local(index));
  node.next_beat = local(index);
  node.heard_owner = local(index);
  node.claim_after = local(index);
}

void EtcdCluster::kill(size_t node) {
  nodes_[node]->arbiter.reset();
}

void EtcdCluster::pause(size_t node, bool paused) {
  nodes_[node]->paused = paused;
}

void EtcdCluster::cut(size_t a, size_t b, bool is_cut) {
  for (const auto& pair : {std::pair(a, b), std::pair(b, a)})
    if (is_cut)
      cuts_.insert(pair);
    else
      cuts_.erase(pair);
}

EtcdArbiter& EtcdCluster::arbiter(size_t node) {
  return *nodes_[node]->arbiter;
}
Epoch EtcdCluster::epoch(size_t node) const {
  return nodes_[node]->owns;
}
const std::vector<Verdict>& EtcdCluster::verdicts(size_t node) const {
  return nodes_[node]->verdicts;
}
const std::vector<std::string>& EtcdCluster::events(size_t node) const {
  return nodes_[node]->events;
}
uint64_t EtcdCluster::calls(size_t node) const {
  return network.calls(node);
}

bool EtcdCluster::speaks(size_t index) const {
  const Node& node = *nodes_[index];
  return node.arbiter != nullptr && node.owns != Epoch() &&
         node.arbiter->lease_until(kGroup, node.owns) > local(index);
}

std::optional<size_t> EtcdCluster::speaker() const {
  std::optional<size_t> found;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!speaks(i)) continue;
    if (found) return std::nullopt;
    found = i;
  }
  return found;
}

void EtcdCluster::send_beats(size_t index) {
  Node& node = *nodes_[index];
  const Instant here = local(index);
  if (here < node.next_beat) return;
  node.next_beat = here + kInterval;
  mirror::GroupBeat says;
  says.group = kGroup;
  says.role = node.owns == Epoch() ? mirror::GroupRole::idle : mirror::GroupRole::owner;
  says.epoch = node.owns;
  says.leased = speaks(index);
  node.arbiter->fill(says);
  mirror::Heartbeat beat;
  beat.node = NodeId(static_cast<uint16_t>(index + 1));
  beat.number = ++node.beats;
  beat.groups = {says};
  node.arbiter->on_beat_sent(beat.number, here);
  for (size_t other = 0; other < nodes_.size(); ++other) {
    if (other == index || cuts_.contains({index, other}) || random_.below(100) < beats_lost) continue;
    events_.push_back({now_ + Duration(random_.below(3'000'000)), [this, other, beat, says] {
                         Node& to = *nodes_[other];
                         // Nobody is there; or it stands still, and what waits for it overflows.
                         if (to.arbiter == nullptr || to.paused) return;
                         to.arbiter->on_beat(beat, local(other));
                         if (says.role != mirror::GroupRole::owner) return;
                         to.highest = std::max(to.highest, says.epoch);
                         if (says.epoch < to.follows || !says.leased) return;
                         to.follows = says.epoch;
                         to.heard_owner = local(other);
                       }});
  }
}

std::optional<uint64_t> EtcdCluster::kept(size_t node) const {
  return decode_cluster_id(disks_[node]);
}

// Of a node that dies meanwhile, the disk may have it or not.
void EtcdCluster::keep(size_t index, const cluster::Keep& keep) {
  events_.push_back({now_ + kDiskTakes, [this, index, keep, boot = nodes_[index]->boot] {
                       Node& node = *nodes_[index];
                       if (node.arbiter == nullptr || node.boot != boot) return;
                       if (!disk_fails) disks_[index] = keep.bytes;
                       node.arbiter->on_kept(keep.sequence, !disk_fails, local(index));
                     }});
}

// What a controller does, as far as the arbiter is concerned.
void EtcdCluster::act(size_t index) {
  Node& node = *nodes_[index];
  const Instant here = local(index);
  node.arbiter->tick(here);
  for (const Verdict& verdict : node.arbiter->take_verdicts()) {
    node.verdicts.push_back(verdict);
    node.highest = std::max(node.highest, verdict.highest);
    if (verdict.kind == Verdict::Kind::granted) {
      node.owns = verdict.ballot;
      node.claims = false;
    } else if (verdict.kind == Verdict::Kind::denied) {
      node.claims = false;
      node.claim_after = here + Duration(20ms) + Duration(random_.below(50'000'000));
    }
  }
  for (const cluster::Action& action : node.arbiter->take_actions())
    if (const auto* event = std::get_if<cluster::Event>(&action))
      node.events.push_back(event->sentence);
    else if (const auto* what = std::get_if<cluster::Keep>(&action))
      keep(index, *what);
  if (!automatic_) return;
  if (node.owns != Epoch()) {
    if (node.arbiter->lease_until(kGroup, node.owns) > here) return;
    node.arbiter->withdraw(kGroup, here);  // silent, and it lets go
    node.owns = Epoch();
    node.heard_owner = here;
    return;
  }
  if (node.claims && here - node.heard_owner < kDeadAfter / 2) {
    node.claims = false;
    node.arbiter->withdraw(kGroup, here);
    return;
  }
  if (node.claims || here - node.heard_owner < kDeadAfter || here < node.claim_after) return;
  node.highest = std::max(node.highest, node.arbiter->highest(kGroup));
  node.highest = {node.highest.counter + 1, NodeId(static_cast<uint16_t>(index + 1))};
  node.claims = true;
  node.arbiter->claim({kGroup, node.highest, node.follows, false, true}, here);
}

void EtcdCluster::deliver() {
  for (size_t i = 0; i < events_.size();) {
    if (events_[i].due > now_) {
      ++i;
      continue;
    }
    const Due event = std::move(events_[i]);
    events_.erase(events_.begin() + static_cast<ptrdiff_t>(i));
    event.then();
    i = 0;
  }
}

void EtcdCluster::step() {
  now_ += kStep;
  network.run(now_);
  deliver();
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i]->arbiter == nullptr || nodes_[i]->paused) continue;
    act(i);
    send_beats(i);
  }
  unsigned voices = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!speaks(i)) continue;
    ++voices;
    if (nodes_[i]->owns < highest_spoken_) ++backwards_;
    highest_spoken_ = std::max(highest_spoken_, nodes_[i]->owns);
  }
  two_voices_ += voices > 1;
}

void EtcdCluster::run(Duration length) {
  for (const Instant end = now_ + length; now_ < end;) step();
}

bool EtcdCluster::run_until(const std::function<bool()>& until, Duration limit) {
  for (const Instant end = now_ + limit; now_ < end; step())
    if (until()) return true;
  return until();
}

}  // namespace understudy::etcd
