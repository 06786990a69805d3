#include "tests/unit/cluster/virtual_cluster.h"

#include <fmt/format.h>

namespace understudy::cluster::test {

VirtualCluster::VirtualCluster(Options options) : options_(options), random_(options.seed) {
  for (uint16_t id = 1; id <= options.nodes; ++id) nodes_[id].id = id;
  at(now_ + 100ms, [this] { report_mirrors(); });
}

void VirtualCluster::add_impostor(uint16_t alias, uint16_t id) {
  nodes_[alias].id = id;
}

ClusterSettings VirtualCluster::settings_for(const Node& node) const {
  ClusterSettings settings;
  settings.self = NodeId(node.id);
  settings.boot = BootId(node.boot);
  GroupSettings group;
  group.id = kGroup;
  group.name = "web";
  group.failover = options_.failover;
  group.addresses = {{*Prefix::parse("10.10.0.10/24"), *MacAddress::parse("02:55:53:00:00:01"), false}};
  group.ports = {{PortNumber(80), PortNumber(80), config::ApplicationKind::proxy}};
  for (uint16_t id = 1; id <= options_.nodes; ++id) {
    settings.nodes.push_back({NodeId(id), fmt::format("n{}", id)});
    group.successors.push_back(NodeId(id));
  }
  for (size_t i = 0; i < options_.links; ++i)
    settings.links.push_back({fmt::format("link{}", i), MacAddress({2, 0, 0, 0, static_cast<uint8_t>(i),
                                                                    static_cast<uint8_t>(node.id)})});
  settings.groups.push_back(group);
  return settings;
}

void VirtualCluster::boot(uint16_t id) {
  Node& node = nodes_.at(id);
  node.boot = ++boots_ << 8 | id;
  node.paused = node.muted = false;
  node.backlog.clear();
  node.speaks.reset();
  node.stopped.clear();
  node.beat_number = 0;
  node.owes_beat = false;
  node.progresses = true;
  node.controller = std::make_unique<Controller>(settings_for(node), LogSink(), Random(random_.next()));
  act(id, [this](Controller& controller) { return controller.start(now_); });
  const uint64_t boot = node.boot;
  at(now_ + Duration(random_.below(20'000'000)), [this, id, boot] { beat(id, boot); });
}

void VirtualCluster::kill(uint16_t id) {
  Node& node = nodes_.at(id);
  node.controller.reset();
  node.speaks.reset();
  node.backlog.clear();
  node.paused = false;
  node.timer = kNever;
}

void VirtualCluster::pause(uint16_t id) {
  Node& node = nodes_.at(id);
  if (!node.controller || node.paused) return;
  node.paused = true;
  node.paused_since = now_;
}

void VirtualCluster::resume(uint16_t id) {
  Node& node = nodes_.at(id);
  if (!node.controller || !node.paused) return;
  node.paused = false;
  const Duration away = now_ - node.paused_since;
  auto backlog = std::move(node.backlog);
  node.backlog.clear();
  // Whether a worker says first that it was away, or first reads what it missed, is chance.
  const bool stall_first = random_.chance(1, 2);
  auto tell = [&] {
    static constexpr Duration kWorkersSpeakFor = 80ms;  // dead_after less one interval
    act(id, [this, away](Controller& controller) {
      return controller.on_worker_stall(away, away > kWorkersSpeakFor, now_);
    });
  };
  if (stall_first) tell();
  for (auto& each : backlog) each();
  if (!stall_first) tell();
  if (node.owes_beat) send_beat(id);
}

void VirtualCluster::in_node(Instant when, uint16_t id, std::function<void(Node&)> what) {
  const uint64_t boot = nodes_.at(id).boot;
  at(when, [this, id, boot, what = std::move(what)] {
    Node& node = nodes_.at(id);
    auto run = [&node, boot, what] {
      if (node.controller && node.boot == boot && node.stopped.empty()) what(node);
    };
    if (node.paused)
      node.backlog.push_back(run);
    else
      run();
  });
}

void VirtualCluster::act(uint16_t id, const std::function<Actions(Controller&)>& call) {
  Node& node = nodes_.at(id);
  if (!node.controller || !node.stopped.empty()) return;
  perform(node, call(*node.controller));
  schedule_tick(node);
}

void VirtualCluster::schedule_tick(Node& node) {
  const Instant due = std::max(node.controller->next_deadline(), now_ + 100us);
  if (node.timer <= due && node.timer > now_) return;
  node.timer = due;
  uint16_t key = 0;
  for (const auto& [alias, each] : nodes_)
    if (&each == &node) key = alias;
  in_node(due, key, [this, key](Node& target) {
    if (target.timer > now_) return;
    target.timer = kNever;
    act(key, [this](Controller& controller) { return controller.tick(now_); });
  });
}

void VirtualCluster::broadcast(Node& from, const std::function<void(Node&, size_t link)>& deliver) {
  for (auto& [alias, to] : nodes_) {
    if (&to == &from || !to.controller) continue;
    for (size_t link = 0; link < options_.links; ++link) {
      if (cuts_.count({from.id, to.id, link}) != 0 || random_.below(1000) < options_.loss_per_mille) continue;
      const Instant arrives = now_ + 50us + Duration(random_.below(500'000));
      in_node(arrives, alias, [deliver, link](Node& target) { deliver(target, link); });
    }
  }
}

void VirtualCluster::beat(uint16_t id, uint64_t boot) {
  Node& node = nodes_.at(id);
  if (!node.controller || node.boot != boot || !node.stopped.empty()) return;
  at(now_ + 20ms, [this, id, boot] { beat(id, boot); });
  if (node.paused)
    node.owes_beat = true;
  else
    send_beat(id);
}

void VirtualCluster::send_beat(uint16_t id) {
  Node& node = nodes_.at(id);
  node.owes_beat = false;
  if (node.progresses) ++node.progress;
  const mirror::Heartbeat beat{.node = NodeId(node.id),
                               .boot = BootId(node.boot),
                               .number = ++node.beat_number,
                               .progress = node.progress,
                               .groups = node.controller->beat_groups()};
  const auto bytes = std::make_shared<std::vector<uint8_t>>(mirror::encode(beat));
  const MacAddress mac({2, 0, 0, 0, 9, static_cast<uint8_t>(id)});
  broadcast(node, [this, bytes, mac](Node& to, size_t link) {
    const auto decoded = mirror::decode_heartbeat(*bytes);
    perform(to, to.controller->on_heartbeat(*decoded, LinkId(static_cast<uint8_t>(link)), mac, now_));
    schedule_tick(to);
  });
}

void VirtualCluster::promote(Node& node, const Promote& promote) {
  Epoch& last = last_epoch_[{node.id, node.boot}];
  if (promote.epoch.node != NodeId(node.id)) violations.push_back("claimed under another's ballot");
  if (promote.epoch <= last) violations.push_back("claimed under an epoch that does not grow");
  for (const auto& [alias, other] : nodes_)
    if (&other != &node && other.speaks == promote.epoch) violations.push_back("two speak under one epoch");
  last = promote.epoch;
  node.speaks = promote.epoch;
  node.muted = false;
  ++node.promotions;
  node.promoted_at.push_back(now_);
}

void VirtualCluster::perform(Node& node, Actions actions) {
  uint16_t key = 0;
  for (const auto& [alias, each] : nodes_)
    if (&each == &node) key = alias;
  for (Action& action : actions) {
    if (const auto* claimed = std::get_if<Promote>(&action)) {
      promote(node, *claimed);
      in_node(now_ + 1ms, key, [this, key](Node&) {
        act(key, [this](Controller& controller) { return controller.on_promoted(kGroup, now_); });
      });
    } else if (std::holds_alternative<Demote>(action)) {
      node.speaks.reset();
    } else if (const auto* mirror = std::get_if<MirrorTo>(&action)) {
      node.mirrors_to = mirror->standby;
    } else if (const auto* given = std::get_if<HandOver>(&action)) {
      node.muted = true;
      const uint16_t to = given->to.value();
      if (node.hands_over && linked(node.id, to))
        in_node(now_ + 1ms, to, [this, to](Node&) {
          act(to, [this](Controller& controller) { return controller.on_handed(kGroup, now_); });
        });
    } else if (std::holds_alternative<Mute>(action)) {
      node.muted = true;
    } else if (std::holds_alternative<Unmute>(action)) {
      if (!node.speaks) violations.push_back("unmuted what was not promoted");
      node.muted = false;
    } else if (std::holds_alternative<ProbeWitnesses>(action)) {
      ++node.probes;
      if (node.witness)
        in_node(now_ + 1ms, key, [this, key](Node&) {
          act(key, [this](Controller& controller) { return controller.on_witness_answer(now_); });
        });
    } else if (auto* ownership = std::get_if<SendOwnership>(&action)) {
      ++node.ownership_frames;
      for (const auto& payload : ownership->payloads)
        broadcast(node, [this, payload, id = node.id, boot = node.boot](Node& to, size_t link) {
          const FrameOrigin origin{NodeId(id), BootId(boot), LinkId(static_cast<uint8_t>(link)), {}};
          perform(to, to.controller->on_ownership(payload, origin, now_));
          schedule_tick(to);
        });
    } else if (std::holds_alternative<SendSolicit>(action)) {
      broadcast(node, [this, id = node.id, boot = node.boot](Node& to, size_t link) {
        const FrameOrigin origin{NodeId(id), BootId(boot), LinkId(static_cast<uint8_t>(link)), {}};
        perform(to, to.controller->on_solicit(origin, now_));
        schedule_tick(to);
      });
    } else if (auto* event = std::get_if<Event>(&action)) {
      node.said.push_back(event->sentence);
    } else if (auto* stop = std::get_if<Stop>(&action)) {
      node.stopped = stop->sentence;
    }
  }
}

bool VirtualCluster::linked(uint16_t a, uint16_t b) const {
  for (size_t link = 0; link < options_.links; ++link)
    if (cuts_.count({a, b, link}) == 0 && cuts_.count({b, a, link}) == 0) return true;
  return false;
}

// What the mirror would say: the standby of the live owner is synced after a moment, and nobody else.
void VirtualCluster::report_mirrors() {
  at(now_ + 100ms, [this] { report_mirrors(); });
  for (auto& [id, owner] : nodes_) {
    if (!owner.controller || owner.paused || !owns(id)) continue;
    Readiness best = Readiness::none;
    for (auto& [other, standby] : nodes_) {
      if (other == id || !standby.controller || standby.paused || !linked(owner.id, standby.id)) continue;
      const FailoverMachine& machine = *standby.controller->machine(kGroup);
      if (!is_standby(machine.state()) || machine.followed()->node != NodeId(owner.id)) continue;
      const bool is_chosen = owner.mirrors_to == NodeId(standby.id);
      if (is_chosen) best = Readiness::synced;
      const MirrorReport held{is_chosen ? Readiness::synced : Readiness::none, is_chosen ? 10U : 0U, 0};
      act(other, [this, held](Controller& controller) { return controller.on_mirror(kGroup, held, now_); });
    }
    act(id, [this, best](Controller& controller) {
      return controller.on_mirror(kGroup, {best, 10, best == Readiness::synced ? 0U : 10U}, now_);
    });
  }
}

void VirtualCluster::isolate(uint16_t a, uint16_t b) {
  for (size_t link = 0; link < options_.links; ++link) {
    cut(a, b, link);
    cut(b, a, link);
  }
}

void VirtualCluster::run(Duration span) {
  run_until([] { return false; }, span);
}

bool VirtualCluster::run_until(const std::function<bool()>& holds, Duration at_most) {
  const Instant end = now_ + at_most;
  while (!holds()) {
    if (queue_.empty() || queue_.top().when > end) {
      now_ = end;
      return holds();
    }
    const auto what = queue_.top().what;
    now_ = queue_.top().when;
    queue_.pop();
    ++happenings;
    what();
    if (options_.one_voice) check_voices();
  }
  return true;
}

void VirtualCluster::check_voices() {
  int voices = 0;
  for (const auto& [id, node] : nodes_)
    if (node.controller && !node.paused && !node.muted && node.speaks) ++voices;
  if (voices > 1 && violations.empty())
    violations.push_back(fmt::format("two voices at {} us", to_us(now_ - Instant(1000s))));
}

bool VirtualCluster::said(uint16_t id, const std::string& part) {
  for (const std::string& sentence : node(id).said)
    if (sentence.find(part) != std::string::npos) return true;
  return false;
}

int VirtualCluster::owners() {
  int count = 0;
  for (auto& [id, node] : nodes_) count += owns(id) ? 1 : 0;
  return count;
}

bool VirtualCluster::is_settled() {
  if (owners() != 1) return false;
  Epoch epoch;
  for (auto& [id, node] : nodes_)
    if (owns(id)) {
      epoch = node.controller->machine(kGroup)->epoch();
      if (node.muted || node.speaks != epoch) return false;
    }
  for (auto& [id, node] : nodes_) {
    if (!node.controller || owns(id)) continue;
    if (!is_standby(state(id)) || node.speaks) return false;
    if (node.controller->machine(kGroup)->followed()->epoch != epoch) return false;
  }
  return true;
}

std::string VirtualCluster::describe() {
  std::string text;
  for (auto& [id, node] : nodes_) {
    text += fmt::format("n{}: ", id);
    if (!node.controller) {
      text += "dead\n";
      continue;
    }
    for (const GroupSnapshot& group : node.controller->groups(now_))
      text += fmt::format("{} ({}), epoch {}.{}, owner {}; speaks {} muted {}\n", name_of(group.state),
                          group.why, group.epoch.counter, group.epoch.node.value(), group.owner,
                          node.speaks.has_value(), node.muted);
    const auto& history = node.controller->machine(kGroup)->history();
    for (const Transition& step : history)
      text += fmt::format("    {:>8} us {} -> {}: {}\n", to_us(step.when - Instant(1000s)),
                          name_of(step.from), name_of(step.to), step.why);
    for (const std::string& sentence : node.said) text += "    ! " + sentence + "\n";
  }
  return text;
}

}  // namespace understudy::cluster::test
