#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <rte_mempool.h>

namespace understudy::bench {

// Repeated measurements of one thing.
struct Sample {
  std::vector<double> values;
  double median() const;
  double low() const;
  double high() const;
};

// One published figure, as tools/bench prints it.
struct Metric {
  std::string name;
  Sample sample;
  std::string unit;
  std::string note = {};               // what exactly was measured, for the reader of the table
  std::optional<double> at_most = {};  // target
  std::string reference = {};          // name of the metric that `ratio` compares with
  std::optional<Sample> ratio = {};    // value / reference, in each pair of runs
};

struct Options {
  bool quick = false;
  bool smoke = false;  // only that everything runs: the figures mean nothing
  rte_mempool* pool = nullptr;
  uint32_t buffers = 0;
  int pairs() const { return smoke ? 1 : quick ? 3 : 7; }
};

using Metrics = std::vector<Metric>;

Metrics bench_throughput(const Options& options);
Metrics bench_connections(const Options& options);
Metrics bench_memory(const Options& options);
Metrics bench_sealing(const Options& options);
Metrics bench_flood(const Options& options);
Metrics bench_takeover(const Options& options);
Metrics bench_segments(const Options& options);
Metrics bench_resync(const Options& options);
Metrics bench_gate(const Options& options);

Sample ratios(const Sample& of, const Sample& to);  // element by element
std::string to_json(const Metrics& metrics);

}  // namespace understudy::bench
