#include "control/config/config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "control/config/sections.h"

namespace understudy::config {
namespace {

constexpr size_t kFileBytesMax = 4 << 20;

Result<std::string> read_file(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return Error{fmt::format("{}:1:1: the file cannot be read: {}; check the path and its permissions", path,
                             std::strerror(errno))};
  std::string content;
  char block[16384];
  ssize_t length = 0;
  while (content.size() <= kFileBytesMax && (length = read(file, block, sizeof block)) > 0)
    content.append(block, static_cast<size_t>(length));
  const int reason = errno;
  close(file);
  if (length < 0)
    return Error{fmt::format("{}:1:1: the file cannot be read: {}; name a configuration file", path,
                             std::strerror(reason))};
  if (content.size() > kFileBytesMax)
    return Error{fmt::format("{}:1:1: the file is larger than 4 MiB; name a configuration file", path)};
  return content;
}

std::variant<Config, Faults> parse_checked(const std::string& text, const std::string& name) {
  const auto document = parse_document(text, name);
  if (!document) return Faults{{document.message()}};
  Reading reading;
  Config config;
  config.file = name;
  SecretFiles files;
  read_sections(reading, document.value(), config, files);
  validate(reading, config);
  read_secret(reading, files, config);
  if (!reading.faults.empty()) return reading.faults.sorted();
  add_spares(config);
  return config;
}

}  // namespace

const Prefix* PortConfig::network_with(const IpAddress& address) const {
  for (const Prefix& own : addresses)
    if (own.contains(address)) return &own;
  return nullptr;
}

const NodeConfig* Config::find_node(std::string_view name) const {
  for (const NodeConfig& node : nodes)
    if (node.name == name) return &node;
  return nullptr;
}

size_t Config::groups_configured() const {
  return static_cast<size_t>(std::ranges::count(groups, false, &GroupConfig::is_spare));
}

std::variant<Config, Faults> parse(const std::string& text, const std::string& name) {
  try {
    return parse_checked(text, name);
  } catch (const std::exception& fault) {
    return Faults{{fmt::format("{}:1:1: the file cannot be used: {}", name, fault.what())}};
  }
}

std::variant<Config, Faults> load(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return Faults{{text.message()}};
  return parse(text.value(), path);
}

}  // namespace understudy::config
