#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace understudy::sim {

// Many runs and their sum.
class Campaign {
 public:
  struct Settings {
    uint64_t first_seed = 1, last_seed = 1;
    std::string scenario;  // empty: drawn from the seed; "all": the named ones in turn
    unsigned nodes = 2;
    config::Arbiter arbiter = config::Arbiter::none;  // faults are drawn for it
    std::string named_fault;      // one of the list, or all that its arbiter and its nodes are meant for
    double minutes = 0;           // 0: no limit
    std::vector<uint64_t> seeds;  // if not empty, these and no range
    std::vector<Fault> faults;    // on top of the scenario's, instead of drawn ones
    bool every_event = false;
    uint64_t at_event = 0;
    bool trace = false;
    bool needs_probes = false;
    bool ends_at_violation = false;
    bool json = false;
  };
  explicit Campaign(const Settings& settings) : settings_(settings) {}
  void run();
  int report() const;  // prints; 0, or 1 when something was violated

 private:
  void run_seed(uint64_t seed);
  void run_named(uint64_t seed);
  bool arbitrated() const { return settings_.arbiter != config::Arbiter::none; }
  std::string cluster_words() const;
  void crash_at_every_event(const Scenario& scenario, uint64_t seed);
  World::Result run_one(const Scenario& scenario, uint64_t seed, std::vector<Fault> faults,
                        const std::string& replay, const NamedFault* named = nullptr);
  bool is_over() const;
  void print_text() const;
  void print_json() const;

  Settings settings_;
  uint64_t runs_ = 0;
  uint64_t crashes_ = 0;
  uint64_t events_ = 0;
  uint64_t takeovers_ = 0;
  uint64_t excused_ = 0;
  uint64_t violations_ = 0;
  uint64_t last_seed_ = 0;
  Duration slowest_election_{0};
  std::array<uint64_t, kFaultKinds> faults_{};
  Probes probes_;
  double virtual_seconds_ = 0;
  double seconds_ = 0;
  double began_ = 0;
};

}  // namespace understudy::sim
