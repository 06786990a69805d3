#include "control/observe/open_metrics.h"

#include <fmt/format.h>

namespace understudy::observe {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char character : text) {
    if (character == '\n') {
      out += "\\n";
      continue;
    }
    if (character == '"' || character == '\\') out += '\\';
    out += character;
  }
  return out;
}

}  // namespace

void OpenMetrics::family(std::string_view name, std::string_view unit, std::string_view type,
                         std::string_view help) {
  family_ = fmt::format("understudy_{}{}{}", name, unit.empty() ? "" : "_", unit);
  text_ += fmt::format("# TYPE {} {}\n", family_, type);
  if (!unit.empty()) text_ += fmt::format("# UNIT {} {}\n", family_, unit);
  text_ += fmt::format("# HELP {} {}\n", family_, escaped(help));
}

void OpenMetrics::counter(std::string_view name, std::string_view unit, std::string_view help) {
  family(name, unit, "counter", help);
  suffix_ = "_total";
}

void OpenMetrics::gauge(std::string_view name, std::string_view unit, std::string_view help) {
  family(name, unit, "gauge", help);
  suffix_.clear();
}

void OpenMetrics::info(std::string_view name, std::string_view help) {
  family(name, "", "info", help);
  suffix_ = "_info";
}

void OpenMetrics::begin_sample(Labels labels) {
  text_ += family_ + suffix_;
  char between = '{';
  for (const auto& [name, value] : labels) {
    text_ += fmt::format("{}{}=\"{}\"", between, name, escaped(value));
    between = ',';
  }
  text_ += between == '{' ? " " : "} ";
}

void OpenMetrics::sample(Labels labels, uint64_t value) {
  begin_sample(labels);
  text_ += fmt::format("{}\n", value);
}

void OpenMetrics::sample(Labels labels, Duration value) {
  begin_sample(labels);
  text_ += fmt::format("{:.9f}\n", static_cast<double>(value.count()) / 1e9);
}

std::string OpenMetrics::finish() {
  text_ += "# EOF\n";
  return std::move(text_);
}

}  // namespace understudy::observe
