#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"

namespace understudy {

enum class HugepageUse {
  automatic,  // when enough of them are free
  always,     // without them the program does not start
  never,
};

// What DPDK's environment (EAL) is told. Virtual devices are not named here: EthdevPort creates them once the
// environment runs, so that a fault in one becomes a sentence and the device can be created anew.
struct EalSettings {
  std::string file_prefix;  // unique per process on a machine
  unsigned memory_mb = 512;
  HugepageUse hugepages = HugepageUse::automatic;
  unsigned workers = 1;
  std::vector<unsigned> cpus;                // processors to run on; empty: those that the process may use
  std::vector<std::string> pci_devices;      // addresses to probe; none: the PCI bus is left alone
  std::vector<std::string> extra_arguments;  // from the operator, appended as they are
};

struct EalArguments {
  std::vector<std::string> arguments;  // the first is the program's name
  std::string notice;                  // what the operator should know; empty when there is nothing
};

// The command line for rte_eal_init. Pure. `free_hugepages_mb` is what the machine has free now,
// `usable_cpus` what the process may run on. Lcore 0 is the control thread, lcores 1..workers are the
// workers. A worker is pinned only when the configuration names at least as many processors as there are
// workers; otherwise all float over all processors, so that two nodes on one machine do not fight for its
// first one.
Result<EalArguments> eal_arguments(const EalSettings& settings, unsigned free_hugepages_mb,
                                   const std::vector<unsigned>& usable_cpus);

// DPDK's environment, one per process and only once in its life. start() makes the calling thread lcore 0 and
// changes its affinity. Nothing is written to disk in either memory mode, so nothing is left after SIGKILL.
class Eal {
 public:
  static Result<Eal> start(const EalSettings& settings);
  Eal(Eal&&) noexcept;
  Eal& operator=(Eal&&) noexcept;
  ~Eal();  // joins what still runs, then gives the environment's memory back

  unsigned workers() const;
  bool uses_hugepages() const;
  // Runs `body` on the lcore of worker 0..workers()-1. Control thread.
  Status launch(unsigned worker, std::function<void()> body);
  void join(unsigned worker);  // returns at once for a worker that was never launched
  void join_all();

 private:
  struct State;
  explicit Eal(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Free hugepages of the default size, all NUMA nodes together. 0 where there are none.
unsigned free_hugepages_mb();

}  // namespace understudy
