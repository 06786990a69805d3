#include "dataplane/dpdk/eal.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <sched.h>

#include "common/log.h"

namespace understudy {
namespace {

std::vector<unsigned> usable_cpus() {
  cpu_set_t set;
  std::vector<unsigned> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

// Even without files to put there, the environment makes a directory, and would leave it behind. Only when it
// is empty.
void remove_runtime_directory() {
  std::error_code ignored;
  std::filesystem::remove(rte_eal_get_runtime_dir(), ignored);
}

int run_body(void* body) {
  (*static_cast<std::function<void()>*>(body))();
  return 0;
}

}  // namespace

struct Eal::State {
  std::vector<std::function<void()>> bodies;  // stay in place while their lcores run them
  bool huge = false;
};

unsigned free_hugepages_mb() {
  std::ifstream meminfo("/proc/meminfo");
  unsigned long free_pages = 0, page_kb = 0, value = 0;
  std::string line;
  while (std::getline(meminfo, line)) {
    if (sscanf(line.c_str(), "HugePages_Free: %lu", &value) == 1) free_pages = value;
    if (sscanf(line.c_str(), "Hugepagesize: %lu kB", &value) == 1) page_kb = value;
  }
  return static_cast<unsigned>(free_pages * page_kb / 1024);
}

Result<Eal> Eal::start(const EalSettings& settings) {
  Result<EalArguments> arguments = eal_arguments(settings, understudy::free_hugepages_mb(), usable_cpus());
  if (!arguments) return arguments.error();
  if (!arguments.value().notice.empty()) log_notice("eal", "{}", arguments.value().notice);

  // The environment keeps pointers into these for the life of the process.
  static std::vector<std::string> texts;
  static std::vector<char*> pointers;
  if (!texts.empty()) return Error{"DPDK's environment can be started once in the life of a process"};
  texts = std::move(arguments.value().arguments);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);

  std::string listed;
  for (size_t i = 1; i < texts.size(); ++i) listed += " " + texts[i];
  if (rte_eal_init(static_cast<int>(texts.size()), pointers.data()) < 0)
    return Error{fmt::format("DPDK's environment does not start: {} (its arguments:{})",
                             rte_strerror(rte_errno), listed)};
  remove_runtime_directory();
  auto state = std::make_unique<State>();
  state->bodies.resize(settings.workers);
  state->huge = rte_eal_has_hugepages() != 0;
  return Eal(std::move(state));
}

Eal::Eal(std::unique_ptr<State> state) : state_(std::move(state)) {}
Eal::Eal(Eal&&) noexcept = default;
Eal& Eal::operator=(Eal&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

Eal::~Eal() {
  if (!state_) return;
  join_all();
  rte_eal_cleanup();
}

unsigned Eal::workers() const {
  return static_cast<unsigned>(state_->bodies.size());
}

bool Eal::uses_hugepages() const {
  return state_->huge;
}

Status Eal::launch(unsigned worker, std::function<void()> body) {
  if (worker >= workers())
    return Error{fmt::format("there is no worker {}: there are {}", worker, workers())};
  const unsigned lcore = worker + 1;
  if (rte_eal_get_lcore_state(lcore) != WAIT)
    return Error{fmt::format("worker {} is running already", worker)};
  state_->bodies[worker] = std::move(body);
  if (int error = rte_eal_remote_launch(run_body, &state_->bodies[worker], lcore); error != 0)
    return Error{fmt::format("worker {} does not start: {}", worker, rte_strerror(-error))};
  return {};
}

void Eal::join(unsigned worker) {
  if (worker < workers()) rte_eal_wait_lcore(worker + 1);
}

void Eal::join_all() {
  for (unsigned worker = 0; worker < workers(); ++worker) join(worker);
}

}  // namespace understudy
