#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/random.h"
#include "tests/sim/faults.h"
#include "tests/sim/model_tcp.h"
#include "tests/sim/plan.h"

namespace understudy::sim {

// The circumstances of a run: who says what to whom, over which networks. Faults come on top.
struct Scenario {
  struct Network {
    Duration delay = 100us;
    uint32_t loss_per_mille = 0;
    uint32_t duplicate_per_mille = 0;
    uint32_t reorder_per_mille = 0;
    uint32_t corrupt_per_mille = 0;
    uint64_t bits_per_second = 0;  // 0: no limit
  };
  std::string name;
  std::string text;  // what it is about, for --list
  std::vector<Plan> plans;
  Network front, back, peer;
  ModelTcp::Settings client_tcp, backend_tcp;
  bool sequence_space_wraps = false;
  unsigned workers = 1;                 // of each node
  uint32_t receive_buffer = 64 * 1024;  // of the nodes, bytes per direction
  uint32_t mirror_window = 256;         // frames
  bool first_backend_refuses = false;   // it was up, and refuses from the sessions' start on
  bool first_backend_dies = false;      // silent from then on
  bool standby_joins = false;           // the standby is started together with the sessions
  std::vector<Fault> faults;            // part of the scenario itself
};

// The named ones; the names are stable.
const std::vector<Scenario>& scenarios();
const Scenario* find_scenario(const std::string& name);
// Everything drawn from the seed: plans, networks, faults.
Scenario random_scenario(uint64_t seed);
// The same for clusters with an arbiter: little traffic, and faults that meet any node.
Scenario random_members_scenario(uint64_t seed);
std::vector<Fault> random_members_faults(Random& random, unsigned nodes);
std::vector<Fault> random_etcd_faults(Random& random, unsigned nodes);
// Faults to break a scenario with, drawn from the seed.
std::vector<Fault> random_faults(Random& random);

}  // namespace understudy::sim
