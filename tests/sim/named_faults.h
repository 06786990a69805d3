#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/config/config.h"
#include "tests/sim/scenario.h"

namespace understudy::sim {

// What must not make two masters of one, or none, and harms no session: each entry of the list by its name,
// with the end that it has to have. n1 owns the group at first, n2 is its synced standby.
struct NamedFault {
  enum class Heir : uint8_t { stays, standby, third, another, any };
  std::string_view name;
  std::string_view text;
  std::vector<Fault> faults;  // from when transfers are under way
  Heir heir = Heir::stays;    // the owner in the end
  unsigned takeovers_most = 0;
  unsigned members_nodes = 3;  // of a cluster under `members`; 0: not for that
  unsigned etcd_nodes = 0;     // likewise
  bool counts_replays = false;
  unsigned turns = 60;  // of the session that talks all the while, of a bit more than 50 ms
  unsigned workers = 1;

  bool is_for(config::Arbiter arbiter, unsigned nodes) const;
  std::string clusters() const;  // for --list
  // Traffic through the whole of it: transfers, small turns, somebody who comes in the middle.
  Scenario scenario(uint64_t seed) const;
  std::vector<Fault> faults_at(uint64_t seed) const;
};

const std::vector<NamedFault>& named_faults();
// Whether it is `all`, or one of the list, and something is to be run.
bool is_named_fault(std::string_view name, config::Arbiter arbiter, unsigned nodes);

}  // namespace understudy::sim
