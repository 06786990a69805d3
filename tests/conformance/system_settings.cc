#include "tests/conformance/system_settings.h"

#include <fstream>
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

}  // namespace

void apply_system_settings(ProfileSettings& settings) {
  apply("tcp_timestamps", settings.engine.timestamps);
  apply("tcp_sack", settings.engine.sack);
  apply("tcp_window_scaling", settings.engine.window_scaling);
  apply("tcp_slow_start_after_idle", settings.engine.restart_after_idle);
  if (const auto number = number_of("tcp_syn_retries"))
    settings.engine.syn_retries = static_cast<uint8_t>(std::min<uint64_t>(*number, 255));
  if (const auto number = number_of("tcp_notsent_lowat"))
    settings.not_sent_low = static_cast<uint32_t>(std::min<uint64_t>(*number, UINT32_MAX));
  if (const auto name = text_of("tcp_congestion_control"))
    settings.engine.congestion =
        *name == "reno" ? tcp::CongestionAlgorithm::new_reno : tcp::CongestionAlgorithm::cubic;
}

}  // namespace understudy::conformance
