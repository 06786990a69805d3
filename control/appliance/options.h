#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/result.h"
#include "control/console/console_client.h"

namespace understudy::appliance {

// The command line, one struct per command.
struct RunOptions {
  std::string config;
  std::string node;
  bool interactive = false;
  std::vector<std::string> eal_arguments;  // what stood behind `--`, handed to DPDK after the derived ones
};
struct CheckOptions {
  std::string config;
};
struct ConsoleOptions {
  console::ClientOptions client;  // an empty socket: the only one of this machine
};
struct DoctorOptions {
  std::optional<std::string> config;
  std::optional<std::string> node;
};
struct VersionOptions {};
struct HelpOptions {};

using Options =
    std::variant<RunOptions, CheckOptions, ConsoleOptions, DoctorOptions, VersionOptions, HelpOptions>;

// The words after the program's name. The Error's sentence ends with what to type instead.
Result<Options> parse_options(const std::vector<std::string>& words);

std::string help_text();

}  // namespace understudy::appliance
