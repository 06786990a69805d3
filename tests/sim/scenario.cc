#include "tests/sim/scenario.h"

#include <algorithm>
#include <array>

namespace understudy::sim {
namespace {

using Service = Plan::Service;

Scenario::Network random_network(Random& random) {
  return {.delay = Duration(1us) * (20 + random.below(random.chance(1, 2) ? 300 : 3000)),
          .loss_per_mille = random.chance(1, 4) ? random.below(40) : 0,
          .duplicate_per_mille = random.chance(1, 5) ? random.below(40) : 0,
          .reorder_per_mille = random.chance(1, 5) ? random.below(100) : 0,
          .corrupt_per_mille = random.chance(1, 8) ? random.below(20) : 0,
          .bits_per_second = random.chance(1, 4) ? 5'000'000 + random.below(50'000'000) : 0};
}

ModelTcp::Settings random_tcp(Random& random) {
  ModelTcp::Settings tcp;
  tcp.mss = random.chance(1, 8) ? static_cast<uint16_t>(88 + random.below(1400)) : 1460;
  tcp.timestamps = random.chance(3, 4);
  tcp.sack = random.chance(3, 4);
  if (random.chance(1, 5)) tcp.scale.reset();
  if (tcp.scale) tcp.scale = static_cast<uint8_t>(random.below(10));
  tcp.receive_buffer = random.chance(1, 3) ? 4'000 + random.below(20'000) : 128 * 1024;
  tcp.acknowledges_everything = random.chance(1, 3);
  return tcp;
}

}  // namespace

const Scenario* find_scenario(const std::string& name) {
  const auto found = std::ranges::find(scenarios(), name, &Scenario::name);
  return found == scenarios().end() ? nullptr : &*found;
}

Scenario random_scenario(uint64_t seed) {
  Random random(seed * 77 + 5);
  Scenario s;
  s.name = "random";
  const uint32_t bytes_most = random.chance(1, 4) ? 60'000 : 8'000;
  for (uint32_t n = 1 + random.below(5); n > 0; --n) s.plans.push_back(random_plan(random, bytes_most));
  std::ranges::sort(s.plans, {}, &Plan::start);
  s.front = random_network(random);
  s.back = random_network(random);
  s.peer = random_network(random);
  s.client_tcp = random_tcp(random);
  s.backend_tcp = random_tcp(random);
  s.sequence_space_wraps = random.chance(1, 6);
  s.workers = random.chance(1, 6) ? 2 : 1;
  s.receive_buffer = random.chance(1, 3) ? 16 * 1024 : 64 * 1024;
  s.mirror_window = random.chance(1, 5) ? 32 : 256;
  s.first_backend_refuses = random.chance(1, 8);
  s.first_backend_dies = random.chance(1, 16);
  s.standby_joins = random.chance(1, 8);
  return s;
}

Scenario random_members_scenario(uint64_t seed) {
  Random random(seed * 77 + 5);
  Scenario s;
  s.name = "random";
  for (uint32_t n = 1 + random.below(3); n > 0; --n) s.plans.push_back(random_plan(random, 4'000));
  std::ranges::sort(s.plans, {}, &Plan::start);
  for (Scenario::Network* network : {&s.front, &s.back, &s.peer})
    *network = {.delay = Duration(1us) * (20 + random.below(random.chance(1, 2) ? 300 : 2000))};
  s.peer.loss_per_mille = random.chance(1, 4) ? random.below(200) : 0;
  s.peer.duplicate_per_mille = random.chance(1, 5) ? random.below(100) : 0;
  s.peer.reorder_per_mille = random.chance(1, 5) ? random.below(200) : 0;
  s.peer.corrupt_per_mille = random.chance(1, 8) ? random.below(20) : 0;
  s.workers = random.chance(1, 8) ? 2 : 1;
  s.receive_buffer = 16 * 1024;
  return s;
}

std::vector<Fault> random_members_faults(Random& random, unsigned nodes) {
  constexpr std::array kOfTheOwner = {
      FaultKind::crash_owner, FaultKind::pause_owner,     FaultKind::pause_worker, FaultKind::hold_frames,
      FaultKind::cut_front,   FaultKind::terminate_owner, FaultKind::loss};
  std::vector<Fault> faults;
  for (uint32_t count = 1 + random.below(6); count > 0; --count) {
    Fault fault;
    fault.kind = random.chance(1, 3)
                     ? kOfTheOwner[random.below(kOfTheOwner.size())]
                     : static_cast<FaultKind>(kPairFaultKinds + random.below(static_cast<uint32_t>(
                                                                    kMembersFaultKinds - kPairFaultKinds)));
    fault.at = Duration(1us) * random.below(random.chance(1, 2) ? 300'000 : 1'500'000);
    fault.lasts = Duration(1us) * (1000 + random.below(random.chance(1, 2) ? 150'000 : 900'000));
    if (fault.kind == FaultKind::hold_frames) fault.lasts = std::min<Duration>(fault.lasts, 150ms);
    fault.node = static_cast<uint8_t>(fault.kind == FaultKind::partition ? 1 + random.below((1U << nodes) - 2)
                                                                         : random.below(nodes));
    faults.push_back(fault);
  }
  return faults;
}

// The same, and up to three times something happens to etcd.
std::vector<Fault> random_etcd_faults(Random& random, unsigned nodes) {
  std::vector<Fault> faults = random_members_faults(random, nodes);
  for (uint32_t count = random.below(4); count > 0; --count)
    faults.push_back(
        {.kind = static_cast<FaultKind>(
             kMembersFaultKinds + random.below(static_cast<uint32_t>(kEtcdFaultKinds - kMembersFaultKinds))),
         .at = Duration(1us) * random.below(random.chance(1, 2) ? 300'000 : 1'500'000),
         .lasts = Duration(1us) * (1000 + random.below(random.chance(1, 2) ? 150'000 : 900'000)),
         .node = static_cast<uint8_t>(random.below(nodes))});
  return faults;
}

std::vector<Fault> random_faults(Random& random) {
  std::vector<Fault> faults;
  const uint32_t count = random.below(4) + 1;
  for (uint32_t i = 0; i < count; ++i) {
    Fault fault;
    fault.kind = static_cast<FaultKind>(
        i == 0 && random.chance(1, 2) ? 0 : random.below(static_cast<uint32_t>(kPairFaultKinds)));
    if (random.chance(1, 2))
      fault.at_event = 1 + random.below(random.chance(1, 2) ? 40 : 400);
    else
      fault.at = Duration(1us) * random.below(random.chance(1, 2) ? 30'000 : 600'000);
    fault.lasts = Duration(1us) * (1000 + random.below(random.chance(1, 2) ? 60'000 : 500'000));
    const bool kills = fault.kind == FaultKind::crash_owner || fault.kind == FaultKind::crash_standby;
    if (kills && random.chance(1, 2)) fault.lasts = Duration::zero();
    // With its frames held for long an owner is cut off without knowing it.
    if (fault.kind == FaultKind::hold_frames) fault.lasts = std::min<Duration>(fault.lasts, 50ms);
    faults.push_back(fault);
  }
  return faults;
}

}  // namespace understudy::sim
