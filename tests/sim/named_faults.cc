#include "tests/sim/named_faults.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::sim {
namespace {

using Heir = NamedFault::Heir;
using K = FaultKind;

constexpr Duration kAway = 1500ms;
constexpr Duration kFirst = 60ms;  // after the sessions' start
constexpr uint8_t kOwner = 0, kStandby = 1, kThird = 2;

Fault kill(uint8_t node, Duration at = 0ms, Duration comes_back_after = 0ms) {
  return {.kind = K::crash_node, .at = at, .lasts = comes_back_after, .node = node};
}

Fault node(K kind, uint8_t node, Duration at = 0ms, Duration lasts = kAway, Way way = Way::both) {
  return {.kind = kind, .at = at, .lasts = lasts, .node = node, .way = way};
}

Fault all(K kind, Duration at = 0ms, Duration lasts = kAway) {
  return {.kind = kind, .at = at, .lasts = lasts};
}

// clang-format off
std::vector<NamedFault> of_nodes() {
  return {
      {.name = "owner_killed", .text = "the owner is killed", .faults = {kill(kOwner)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2},
      {.name = "owner_paused", .text = "the owner stands still for 1.5 s", .faults = {node(K::pause_node, kOwner)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2},
      {.name = "owner_without_carrier", .text = "the owner's cables are out for 1.5 s", .faults = {node(K::carrier_lost, kOwner), node(K::node_off_etcd, kOwner)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2},
      {.name = "owner_slow", .text = "the owner stands still for 10, 30, 100 and 300 ms, then for 1 and 5 s",
       .faults = {node(K::pause_node, kOwner, 0ms, 10ms), node(K::pause_node, kOwner, 200ms, 30ms), node(K::pause_node, kOwner, 400ms, 100ms), node(K::pause_node, kOwner, 700ms, 300ms),
                  node(K::pause_node, kOwner, 1500ms, 1s), node(K::pause_node, kOwner, 3s, 5s)},
       .heir = Heir::any, .takeovers_most = 4, .etcd_nodes = 2},
      {.name = "owner_worker_hangs", .text = "one of the owner's two workers stands still for 1.5 s", .faults = {all(K::pause_worker)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2, .workers = 2},
      {.name = "member_restarted", .text = "a member restarts between two elections", .faults = {kill(kOwner, 0ms, 200ms), kill(kThird, 600ms, 20ms), kill(kStandby, 1500ms)}, .heir = Heir::any, .takeovers_most = 2},
      {.name = "crash_in_resync", .text = "the standby is killed, and whoever is synced instead, too", .faults = {all(K::crash_standby, 0ms, 100ms), all(K::crash_standby, 15ms, 300ms), all(K::crash_standby, 120ms, 100ms)}, .takeovers_most = 1},
      {.name = "crash_in_resync_of_two", .text = "the standby is killed, and again while it is synced", .faults = {all(K::crash_standby, 0ms, 100ms), all(K::crash_standby, 112ms, 100ms)}, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "crash_in_hand_over", .text = "the owner is killed while it hands over", .faults = {all(K::hand_over), kill(kOwner, 1ms)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2},
      {.name = "crash_after_return", .text = "the group is handed back, and its new owner killed meanwhile", .faults = {all(K::hand_over), all(K::hand_over, 500ms), kill(kOwner, 502ms)}, .heir = Heir::another, .takeovers_most = 3, .etcd_nodes = 2},
  };
}

std::vector<NamedFault> of_networks() {
  return {
      {.name = "peer_cut", .text = "the owner's peer link is cut", .faults = {node(K::node_off_peer, kOwner)}, .etcd_nodes = 2},
      {.name = "peer_cut_out", .text = "the owner's peer link carries nothing out", .faults = {node(K::node_off_peer, kOwner, 0ms, kAway, Way::out)}, .etcd_nodes = 2},
      {.name = "peer_cut_in", .text = "the owner's peer link carries nothing in", .faults = {node(K::node_off_peer, kOwner, 0ms, kAway, Way::in)}, .etcd_nodes = 2},
      {.name = "lan_cut", .text = "the owner is cut off clients and backends", .faults = {node(K::lan_cut, kOwner)}, .heir = Heir::another, .takeovers_most = 1},
      {.name = "owner_cut_off", .text = "the owner is cut off everything", .faults = {node(K::isolated_node, kOwner), node(K::node_off_etcd, kOwner)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2},
      {.name = "owner_reaches_etcd_only", .text = "the owner is cut off everything but etcd", .faults = {node(K::isolated_node, kOwner)}, .heir = Heir::standby, .takeovers_most = 1, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "owner_mute", .text = "nothing that the owner sends arrives, but at etcd", .faults = {node(K::mute_node, kOwner)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2},
      {.name = "owner_deaf", .text = "the owner hears nothing but etcd", .faults = {node(K::deaf_node, kOwner)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2},
      {.name = "standby_cut_off", .text = "the standby is cut off everything but etcd", .faults = {node(K::isolated_node, kStandby)}, .etcd_nodes = 2},
      {.name = "successor_deaf", .text = "the standby hears nothing, and the owner is killed", .faults = {node(K::deaf_node, kStandby), kill(kOwner, 800ms)}, .heir = Heir::third, .takeovers_most = 1},
      {.name = "standby_stale", .text = "the standby is cut off the peer link, then the owner is killed", .faults = {node(K::node_off_peer, kStandby), kill(kOwner, 800ms)}, .heir = Heir::third, .takeovers_most = 1},
      {.name = "third_has_waited", .text = "the third hears nothing of the owner, which is killed when the third has waited long enough for a cold claim",
       .faults = {node(K::apart, 0b101, 0ms, 5s), kill(kOwner, 3030ms)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 3, .turns = 90},
      {.name = "bad_peer_link", .text = "the peer link loses 30 %, disorders, doubles and damages", .faults = {all(K::bad_peer_link, 0ms, 2s)}, .heir = Heir::any, .takeovers_most = 3, .etcd_nodes = 2},
      {.name = "thin_peer_link", .text = "the peer link carries less than the traffic", .faults = {all(K::thin_peer_link, 0ms, 2s)}, .etcd_nodes = 2},
      {.name = "replayed", .text = "a stranger says again what nodes have said", .faults = {all(K::replay, 100ms, 2s)}, .etcd_nodes = 2, .counts_replays = true},
      {.name = "replayed_owner", .text = "the owner is killed and restarted while a stranger says again what it has said", .faults = {all(K::replay, 100ms, 2s), kill(kOwner, 500ms, 300ms)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2},
      {.name = "arp_lost", .text = "the owner is killed, and no ARP passes for 250 ms", .faults = {all(K::lost_arp, 0ms, 250ms), kill(kOwner)}, .heir = Heir::standby, .takeovers_most = 1, .etcd_nodes = 2},
  };
}

std::vector<NamedFault> of_arbiters() {
  return {
      {.name = "no_majority_before", .text = "a member is down when the owner is killed, and back 1 s later", .faults = {kill(kThird, 0ms, 1500ms), kill(kOwner, 500ms)}, .heir = Heir::standby, .takeovers_most = 1},
      {.name = "no_majority_during", .text = "a member and the owner are killed at once", .faults = {kill(kOwner), kill(kThird, 0ms, 500ms)}, .heir = Heir::standby, .takeovers_most = 1},
      {.name = "no_majority_after", .text = "a member is killed right after the takeover", .faults = {kill(kOwner), kill(kThird, 200ms, 500ms)}, .heir = Heir::standby, .takeovers_most = 2},
      {.name = "five_in_halves", .text = "the owner is killed, the others are in halves for 4 s", .faults = {kill(kOwner), node(K::partition, 0b11000, 0ms, 4s)}, .heir = Heir::standby, .takeovers_most = 1, .members_nodes = 5},
      {.name = "five_split_grants", .text = "nobody hears anybody for 1 s; then two ask at once",
       .faults = {node(K::isolated_node, 0, 0ms, 1s), node(K::isolated_node, 1, 0ms, 1s), node(K::isolated_node, 2, 0ms, 1s), node(K::isolated_node, 3, 0ms, 1s), node(K::isolated_node, 4, 0ms, 1s)},
       .heir = Heir::any, .takeovers_most = 3, .members_nodes = 5},
      {.name = "etcd_away", .text = "etcd is away, and nobody needs it", .faults = {all(K::etcd_away)}, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "etcd_away_before", .text = "etcd is away when the owner is killed, and back 1.2 s later", .faults = {all(K::etcd_away), kill(kOwner, 300ms)}, .heir = Heir::standby, .takeovers_most = 1, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "etcd_refuses_before", .text = "nothing listens there when the owner is killed, until 1.2 s later", .faults = {all(K::etcd_refuses), kill(kOwner, 300ms)}, .heir = Heir::standby, .takeovers_most = 1, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "etcd_away_during", .text = "etcd goes while the standby asks it", .faults = {kill(kOwner), all(K::etcd_away, 101ms, 500ms)}, .heir = Heir::standby, .takeovers_most = 2, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "etcd_away_after", .text = "etcd goes when the standby has taken over", .faults = {kill(kOwner), all(K::etcd_away, 300ms, 500ms)}, .heir = Heir::standby, .takeovers_most = 2, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "etcd_slow", .text = "etcd is slow when the owner is killed", .faults = {all(K::etcd_slow), kill(kOwner, 300ms)}, .heir = Heir::standby, .takeovers_most = 4, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "etcd_deaf", .text = "etcd's answers get lost, and requests are late, when the owner is killed", .faults = {all(K::etcd_deaf), kill(kOwner, 300ms)}, .heir = Heir::standby, .takeovers_most = 20, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "etcd_lies", .text = "another etcd answers yes to everything when the owner is killed", .faults = {all(K::etcd_lies), kill(kOwner, 300ms)}, .heir = Heir::standby, .takeovers_most = 1, .members_nodes = 0, .etcd_nodes = 2},
      {.name = "etcd_old", .text = "etcd answers as it was long ago when the owner is killed", .faults = {all(K::etcd_old), kill(kOwner, 300ms)}, .heir = Heir::standby, .takeovers_most = 1, .members_nodes = 0, .etcd_nodes = 2},
  };
}
// clang-format on

}  // namespace

const std::vector<NamedFault>& named_faults() {
  static const std::vector<NamedFault> list = [] {
    std::vector<NamedFault> found = of_nodes();
    for (auto more : {of_networks(), of_arbiters()}) found.insert(found.end(), more.begin(), more.end());
    return found;
  }();
  return list;
}

bool NamedFault::is_for(config::Arbiter arbiter, unsigned nodes) const {
  return nodes > 0 && nodes == (arbiter == config::Arbiter::members ? members_nodes
                                : arbiter == config::Arbiter::etcd  ? etcd_nodes
                                                                    : 0);
}

bool is_named_fault(std::string_view name, config::Arbiter arbiter, unsigned nodes) {
  return std::ranges::any_of(named_faults(), [&](const NamedFault& named) {
    return (name == "all" || name == named.name) && named.is_for(arbiter, nodes);
  });
}

std::string NamedFault::clusters() const {
  std::string words;
  if (members_nodes > 0) words += fmt::format("members, {} nodes", members_nodes);
  if (etcd_nodes > 0) words += fmt::format("{}etcd, {} nodes", words.empty() ? "" : "; ", etcd_nodes);
  return words;
}

Scenario NamedFault::scenario(uint64_t seed) const {
  Random random(seed * 77 + 5);
  Scenario s;
  s.name = std::string(name);
  s.plans = {{.request = 40, .response = 90, .rounds = turns, .backend_thinks = 50ms},
             {.request = 10, .response = 300'000},
             {.request = 300'000, .response = 10},
             {.service = Plan::Service::echo, .request = 60'000},
             {.request = 2000, .response = 4000, .rounds = 2, .start = 900ms}};
  for (Scenario::Network* network : {&s.front, &s.back, &s.peer})
    network->delay = Duration(1us) * (20 + random.below(300));
  s.front.bits_per_second = s.back.bits_per_second = 10'000'000;
  s.receive_buffer = 16 * 1024;
  s.workers = workers;
  return s;
}

std::vector<Fault> NamedFault::faults_at(uint64_t seed) const {
  Random random(seed * 31 + 7);
  const Duration begin = kFirst + Duration(1us) * random.below(60'000);
  std::vector<Fault> moved = faults;
  for (Fault& fault : moved) fault.at += begin;
  return moved;
}

}  // namespace understudy::sim
