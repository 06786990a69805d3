#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "common/instant.h"

namespace understudy::observe {

// Writes an OpenMetrics 1.0 exposition (https://prometheus.io/docs/specs/om/open_metrics_spec/): families one
// after the other, each with its type and help, and its samples right behind them. The rules that the
// specification has for names are kept here: the prefix, the suffix `_total` of counters, the unit at the end
// of a name, escaped label values.
class OpenMetrics {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  // A name without prefix, unit and suffix: "port_received". `unit` (bytes, seconds) may be empty.
  void counter(std::string_view name, std::string_view unit, std::string_view help);
  void gauge(std::string_view name, std::string_view unit, std::string_view help);
  void info(std::string_view name, std::string_view help);

  // Samples of the family begun last.
  void sample(Labels labels, uint64_t value);
  void sample(Labels labels, Duration value);  // as seconds

  // The whole text, ended as the specification wants it. Nothing may be added after it.
  std::string finish();

  static constexpr const char* kContentType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

 private:
  void family(std::string_view name, std::string_view unit, std::string_view type, std::string_view help);
  void begin_sample(Labels labels);

  std::string text_;
  std::string family_;  // full name
  std::string suffix_;  // of its samples
};

}  // namespace understudy::observe
