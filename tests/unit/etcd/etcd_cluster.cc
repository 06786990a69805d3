#include "tests/unit/etcd/etcd_cluster.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace understudy::etcd {
namespace {

using Json = nlohmann::json;
constexpr Duration kStep = 500us;
constexpr Duration kInterval = 20ms;

}  // namespace

std::pair<int, std::string> FakeEtcd::execute(const std::string& path, const std::string& body) {
  const Json request = Json::parse(body);
  const auto range = [&](const std::string& key) {
    Json answer = Json::object();
    if (const auto found = keys_.find(*from_base64(key)); found != keys_.end()) {
      answer["kvs"] = Json::array({{{"key", key},
                                    {"mod_revision", std::to_string(found->second.revision)},
                                    {"value", base64(found->second.bytes)}}});
      answer["count"] = "1";
    }
    return answer;
  };
  Json answer;
  if (path == kRangePath) {
    answer = range(request["key"]);
  } else {
    const Json& compare = request["compare"][0];
    const auto found = keys_.find(*from_base64(compare["key"].get<std::string>()));
    const int64_t revision = found == keys_.end() ? 0 : found->second.revision;
    if (std::to_string(revision) == compare["mod_revision"].get<std::string>()) {
      const Json& put = request["success"][0]["request_put"];
      keys_[*from_base64(put["key"].get<std::string>())] = {*from_base64(put["value"].get<std::string>()),
                                                            ++revision_};
      answer["succeeded"] = true;
      answer["responses"] = Json::array({{{"response_put", Json::object()}}});
    } else {
      answer["responses"] =
          Json::array({{{"response_range", range(request["failure"][0]["request_range"]["key"])}}});
    }
  }
  answer["header"] = {{"cluster_id", std::to_string(cluster)}, {"revision", std::to_string(revision_)}};
  return {200, answer.dump()};
}

std::optional<Record> FakeEtcd::record(const std::string& key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? std::nullopt : decode_record(found->second.bytes);
}

class EtcdCluster::FakeTransport final : public Transport {
 public:
  FakeTransport(EtcdCluster& cluster, size_t node) : cluster_(cluster), node_(node) {}
  size_t endpoints() const override { return 1; }
  const std::string& name(size_t) const override { return name_; }
  std::vector<Reply> take_replies() override { return std::exchange(*replies_, {}); }

  void post(uint64_t call, size_t, const char* path, std::string body, Duration timeout) override {
    ++calls;
    Random& random = cluster_.random_;
    const Way& way = cluster_.ways[node_];
    const Instant sent = cluster_.now_;
    const auto delay = [&] {
      return way.delay_least +
             Duration(random.below(static_cast<uint32_t>((way.delay_most - way.delay_least).count()) + 1));
    };
    auto answered = std::make_shared<bool>(false);
    const auto answer = [replies = replies_, answered](Reply reply) {
      if (!std::exchange(*answered, true)) replies->push_back(std::move(reply));
    };
    if (way.refuses) return answer({.call = call, .body = {}, .error = "connection refused", .left = false});
    cluster_.events_.push_back(
        {sent + timeout, [=] { answer({.call = call, .body = {}, .error = "timed out", .left = true}); }});
    if (way.cut || random.below(100) < way.request_loss) return;
    Duration there = delay();
    if (random.below(100) < way.late) there = Duration(random.below(400'000'000));
    const bool lost = random.below(100) < way.answer_loss;
    const Duration back = delay();
    EtcdCluster* cluster = &cluster_;
    const size_t node = node_;
    cluster_.events_.push_back(
        {sent + there, [=, path = std::string(path), body = std::move(body)] {
           std::pair<int, std::string> said = cluster->etcd.execute(path, body);
           if (cluster->ways[node].lie) said = cluster->ways[node].lie(said);
           if (lost) return;
           cluster->events_.push_back(
               {cluster->now_ + back,
                [=] { answer({.call = call, .status = said.first, .body = said.second, .error = {}}); }});
         }});
  }
  uint64_t calls = 0;

 private:
  EtcdCluster& cluster_;
  size_t node_;
  std::string name_ = "http://etcd:2379";
  std::shared_ptr<std::vector<Reply>> replies_ = std::make_shared<std::vector<Reply>>();
};

struct EtcdCluster::Node {
  BootId boot;
  std::unique_ptr<FakeTransport> transport;
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

EtcdCluster::EtcdCluster(unsigned nodes, uint64_t seed, bool automatic)
    : ways(nodes), random_(seed), automatic_(automatic), nodes_(nodes) {
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
  node.transport = std::make_unique<FakeTransport>(*this, index);
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
  return nodes_[node]->transport->calls;
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
    if (const auto* event = std::get_if<cluster::Event>(&action)) node.events.push_back(event->sentence);
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
