#include <algorithm>

#include <fmt/format.h>
#include <rte_config.h>

#include "dataplane/dpdk/eal.h"

namespace understudy {
namespace {

std::string cpu_list(const std::vector<unsigned>& cpus) {
  std::string list;
  for (unsigned cpu : cpus) {
    if (!list.empty()) list += ',';
    list += std::to_string(cpu);
  }
  return list;
}

// "0@(0,1),1@(0),2@(1)": lcore 0 takes what the pinned workers leave over.
std::string lcore_map(const EalSettings& settings, const std::vector<unsigned>& cpus) {
  const bool pinned = !settings.cpus.empty() && cpus.size() >= settings.workers;
  std::vector<unsigned> control = cpus;
  if (pinned && cpus.size() > settings.workers)
    control.erase(control.begin(), control.begin() + settings.workers);
  std::string map = fmt::format("0@({})", cpu_list(control));
  for (unsigned worker = 0; worker < settings.workers; ++worker)
    map += fmt::format(",{}@({})", worker + 1, pinned ? std::to_string(cpus[worker]) : cpu_list(cpus));
  return map;
}

Status check_cpus(const std::vector<unsigned>& wanted, const std::vector<unsigned>& usable) {
  for (unsigned cpu : wanted) {
    if (std::ranges::find(usable, cpu) == usable.end())
      return Error{
          fmt::format("processor {} is not one that this process may use ({}): correct 'cpus', or the "
                      "affinity under which the program is started",
                      cpu, cpu_list(usable))};
    if (std::ranges::count(wanted, cpu) > 1)
      return Error{fmt::format("processor {} is named twice: name each processor once in 'cpus'", cpu)};
  }
  return {};
}

}  // namespace

Result<EalArguments> eal_arguments(const EalSettings& settings, unsigned free_hugepages_mb,
                                   const std::vector<unsigned>& usable_cpus) {
  if (settings.workers == 0 || settings.workers >= RTE_MAX_LCORE)
    return Error{fmt::format("{} workers: there must be 1 to {}", settings.workers, RTE_MAX_LCORE - 1)};
  if (settings.file_prefix.empty())
    return Error{
        "the environment needs a file prefix of its own, or two processes on one machine would collide"};
  if (Status good = check_cpus(settings.cpus, usable_cpus); !good.ok()) return good.error();
  const std::vector<unsigned>& cpus = settings.cpus.empty() ? usable_cpus : settings.cpus;
  if (cpus.empty()) return Error{"there is no processor that this process may use"};

  const bool enough = free_hugepages_mb >= settings.memory_mb;
  if (settings.hugepages == HugepageUse::always && !enough)
    return Error{
        fmt::format("{} MB of hugepages are wanted and {} MB are free: reserve more with 'sysctl "
                    "vm.nr_hugepages=N', lower 'memory_mb', or set 'hugepages: automatic'",
                    settings.memory_mb, free_hugepages_mb)};
  const bool huge = settings.hugepages != HugepageUse::never && enough;

  EalArguments result;
  result.arguments = {"understudy",
                      "--file-prefix=" + settings.file_prefix,
                      "--iova-mode=va",
                      "--no-telemetry",
                      "--log-level=warning",
                      "--lcores=" + lcore_map(settings, cpus),
                      "--main-lcore=0",
                      "-m",
                      std::to_string(settings.memory_mb)};
  auto add = [&](std::string argument) { result.arguments.push_back(std::move(argument)); };
  if (huge) {
    add("--in-memory");
  } else {
    // --in-memory and --no-huge exclude each other; --no-shconf alone keeps files away just as well.
    add("--no-huge");
    add("--no-shconf");
    if (settings.hugepages == HugepageUse::automatic)
      result.notice = fmt::format(
          "{} MB of hugepages are free and {} MB are wanted: running on ordinary pages, "
          "which is slower ('sysctl vm.nr_hugepages=N' reserves them)",
          free_hugepages_mb, settings.memory_mb);
  }
  if (settings.pci_devices.empty()) add("--no-pci");
  for (const std::string& address : settings.pci_devices) {
    add("-a");
    add(address);
  }
  for (const std::string& argument : settings.extra_arguments) add(argument);
  return result;
}

}  // namespace understudy
