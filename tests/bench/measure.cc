#include "tests/bench/measure.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace understudy::bench {

double Sample::median() const {
  std::vector<double> sorted = values;
  std::ranges::sort(sorted);
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double Sample::low() const {
  return *std::ranges::min_element(values);
}
double Sample::high() const {
  return *std::ranges::max_element(values);
}

Sample ratios(const Sample& of, const Sample& to) {
  Sample result;
  for (size_t i = 0; i < of.values.size(); ++i) result.values.push_back(of.values[i] / to.values[i]);
  return result;
}

std::string to_json(const Metrics& metrics) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const Metric& metric : metrics) {
    const double value = metric.sample.median();
    list.push_back({{"name", metric.name},
                    {"value", value},
                    {"unit", metric.unit},
                    {"low", metric.sample.low()},
                    {"high", metric.sample.high()},
                    {"target", metric.at_most ? Json(*metric.at_most) : Json()},
                    {"met", metric.at_most ? Json(value <= *metric.at_most) : Json()},
                    {"reference", metric.reference.empty() ? Json() : Json(metric.reference)},
                    {"ratio", metric.ratio ? Json(metric.ratio->median()) : Json()},
                    {"path", "in_process"},
                    {"runs", metric.sample.values.size()},
                    {"note", metric.note}});
  }
  return Json({{"metrics", list}}).dump(2);
}

}  // namespace understudy::bench
