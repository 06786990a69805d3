#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "control/config/config.h"

namespace understudy::appliance {

// What a network interface does by itself that a userspace TCP must not meet.
struct InterfaceFeatures {
  std::string driver;                 // "veth"
  std::vector<std::string> offloads;  // those that are on, by ethtool's short names: tx, tso, gso, gro
};

// The machine as files, so that a test can be one.
struct Machine {
  std::filesystem::path root = "/";  // where /proc, /sys and /usr are looked for
  std::function<std::optional<InterfaceFeatures>(const std::string& interface)> features;
  std::string host_name;
  static Machine this_one();
};

struct Finding {
  std::string lack;  // a sentence
  std::string cure;  // a command, or several joined by &&
  friend bool operator==(const Finding&, const Finding&) = default;
};

// What the machine lacks to be `node` of `config`; without a config, to be any. Without `node`: the file's
// only node, or the one named as this host. An Error: which node is meant cannot be told.
Result<std::vector<Finding>> examine(const Machine& machine, const config::Config* config,
                                     const std::optional<std::string>& node);

}  // namespace understudy::appliance
