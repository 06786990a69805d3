#include "tests/conformance/system_settings.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <string>

namespace understudy::conformance {
namespace {

std::optional<std::string> text_of(const std::string& name) {
  std::ifstream file("/proc/sys/net/ipv4/" + name);
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  return text;
}

std::optional<uint64_t> number_of(const std::string& name) {
  const auto text = text_of(name);
  if (!text) return std::nullopt;
  char* end = nullptr;
  const uint64_t number = std::strtoull(text->c_str(), &end, 10);
  if (end == text->c_str()) return std::nullopt;
  return number;
}

void apply(const std::string& name, bool& setting) {
  if (const auto number = number_of(name)) setting = *number != 0;
}

// The last word of a file on each name.
std::map<std::string, uint64_t> read_assignments(const char* path) {
  std::map<std::string, uint64_t> values;
  std::ifstream file(path == nullptr ? "" : path);
  for (std::string line; std::getline(file, line);) {
    const size_t equals = line.find('=');
    if (equals != std::string::npos)
      values[line.substr(0, equals)] = std::strtoull(line.c_str() + equals + 1, nullptr, 10);
  }
  return values;
}

}  // namespace

void apply_freebsd_settings(ProfileSettings& settings) {
  const auto values = read_assignments(std::getenv("UNDERSTUDY_SYSCTLS"));
  const auto value_of = [&](const char* name, uint64_t otherwise) {
    const auto at = values.find(name);
    return at == values.end() ? otherwise : at->second;
  };
  tcp::EngineSettings& engine = settings.engine;
  settings.rounds_buffers = settings.reads_while_opening = true;
  settings.keepalive_named = {
      .idle = Duration(1ms) * static_cast<int64_t>(value_of("net.inet.tcp.keepidle", 7'200'000)),
      .interval = Duration(1ms) * static_cast<int64_t>(value_of("net.inet.tcp.keepintvl", 75'000)),
      .probes = static_cast<uint8_t>(value_of("net.inet.tcp.keepcnt", 8))};
  engine.timestamps = engine.window_scaling = value_of("net.inet.tcp.rfc1323", 1) != 0;
  engine.sack = value_of("net.inet.tcp.sack.enable", 1) != 0;
  engine.receive_buffer = static_cast<uint32_t>(value_of("net.inet.tcp.recvspace", 65536));
  engine.receive_buffer_max =
      static_cast<uint32_t>(std::min<uint64_t>(value_of("kern.ipc.maxsockbuf", 2 << 20), UINT32_MAX));
  settings.send_buffer = static_cast<uint32_t>(value_of("net.inet.tcp.sendspace", 32768));
  engine.delayed_ack = Duration(1ms) * static_cast<int64_t>(value_of("net.inet.tcp.delacktime", 40));
  engine.syn_retries = 12;  // as a rule the time is over before
  settings.connect_timeout = Duration(1ms) * static_cast<int64_t>(value_of("net.inet.tcp.keepinit", 75000));
  constexpr tcp::Ecn kEcn[] = {tcp::Ecn::off, tcp::Ecn::request, tcp::Ecn::accept};
  engine.ecn = kEcn[std::min<uint64_t>(value_of("net.inet.tcp.ecn.enable", 2), 2)];
}

void apply_system_settings(ProfileSettings& settings) {
  apply("tcp_timestamps", settings.engine.timestamps);
  apply("tcp_sack", settings.engine.sack);
  apply("tcp_window_scaling", settings.engine.window_scaling);
  apply("tcp_slow_start_after_idle", settings.engine.restart_after_idle);
  if (const auto number = number_of("tcp_ecn")) {
    constexpr tcp::Ecn kEcn[] = {tcp::Ecn::off, tcp::Ecn::request, tcp::Ecn::accept};
    settings.engine.ecn = kEcn[std::min<uint64_t>(*number, 2)];
  }
  if (const auto number = number_of("tcp_syn_retries"))
    settings.engine.syn_retries = static_cast<uint8_t>(std::min<uint64_t>(*number, 255));
  if (const auto number = number_of("tcp_notsent_lowat"))
    settings.not_sent_low = static_cast<uint32_t>(std::min<uint64_t>(*number, UINT32_MAX));
  if (const auto name = text_of("tcp_congestion_control"))
    settings.engine.congestion =
        *name == "reno" ? tcp::CongestionAlgorithm::new_reno : tcp::CongestionAlgorithm::cubic;
}

}  // namespace understudy::conformance
