#include "control/appliance/commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include "control/appliance/doctor.h"
#include "control/config/config.h"

namespace understudy::appliance {
namespace {

void print_lines(const std::vector<std::string>& lines, std::string_view before) {
  for (const std::string& line : lines) fmt::print(stderr, "{}{}\n", before, line);
}

}  // namespace

int run_check(const CheckOptions& options) {
  const auto result = config::load(options.config);
  if (const auto* faults = std::get_if<config::Faults>(&result)) {
    print_lines(faults->lines, "");
    return 2;
  }
  const auto& config = std::get<config::Config>(result);
  print_lines(config.warnings, "warning: ");
  fmt::print("{} is good: {} nodes, {} groups, {} pools\n", options.config, config.nodes.size(),
             config.groups_configured(), config.pools.size());
  return 0;
}

int run_console(const ConsoleOptions& options) {
  console::ClientOptions client = options.client;
  if (client.socket.empty()) {
    const auto socket = console::default_socket();
    if (!socket) {
      fmt::print(stderr, "{}\n", socket.message());
      return 1;
    }
    client.socket = socket.value();
  }
  return console::run_client(client, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
}

int run_doctor(const DoctorOptions& options) {
  std::optional<config::Config> config;
  if (options.config) {
    auto result = config::load(*options.config);
    if (const auto* faults = std::get_if<config::Faults>(&result)) {
      print_lines(faults->lines, "");
      return 2;
    }
    config = std::get<config::Config>(std::move(result));
  }
  const auto findings = examine(Machine::this_one(), config ? &*config : nullptr, options.node);
  if (!findings) {
    fmt::print(stderr, "{}\n", findings.message());
    return 2;
  }
  for (const Finding& finding : findings.value()) fmt::print("{}\n    {}\n", finding.lack, finding.cure);
  if (findings.value().empty()) fmt::print("Nothing is missing.\n");
  return findings.value().empty() ? 0 : 1;
}

}  // namespace understudy::appliance
