#include "control/config/quantity.h"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace understudy::config {
namespace {

using Unit = std::pair<std::string_view, uint64_t>;

constexpr std::array<Unit, 5> kDurationUnits = {{{"h", 3'600'000'000'000},
                                                 {"min", 60'000'000'000},
                                                 {"s", 1'000'000'000},
                                                 {"ms", 1'000'000},
                                                 {"us", 1'000}}};
constexpr std::array<Unit, 4> kSizeUnits = {
    {{"GiB", 1U << 30}, {"MiB", 1U << 20}, {"KiB", 1U << 10}, {"B", 1}}};

template <size_t N>
std::optional<uint64_t> parse_with_unit(std::string_view text, const std::array<Unit, N>& units) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_number(text.substr(0, digits));
  if (!number) return std::nullopt;
  for (const auto& [name, factor] : units) {
    if (text.substr(digits) != name) continue;
    if (*number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / factor) return std::nullopt;
    return *number * factor;
  }
  return std::nullopt;
}

template <size_t N>
std::string text_with_unit(uint64_t amount, const std::array<Unit, N>& units) {
  for (const auto& [name, factor] : units)
    if (amount >= factor && amount % factor == 0) return fmt::format("{}{}", amount / factor, name);
  return fmt::format("0{}", units.back().first);
}

}  // namespace

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<Duration> parse_duration(std::string_view text) {
  const auto nanoseconds = parse_with_unit(text, kDurationUnits);
  if (!nanoseconds) return std::nullopt;
  return Duration(static_cast<int64_t>(*nanoseconds));
}

std::optional<uint64_t> parse_size(std::string_view text) {
  return parse_with_unit(text, kSizeUnits);
}

std::optional<bool> parse_switch(std::string_view text) {
  if (text == "true" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "no" || text == "off") return false;
  return std::nullopt;
}

std::string duration_text(Duration duration) {
  return text_with_unit(static_cast<uint64_t>(duration.count()), kDurationUnits);
}

std::string size_text(uint64_t bytes) {
  return text_with_unit(bytes, kSizeUnits);
}

}  // namespace understudy::config
