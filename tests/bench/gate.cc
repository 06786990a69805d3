// What the commit gate adds to the time until an acknowledgement leaves.
#include <algorithm>

#include "common/check.h"
#include "tests/bench/measure.h"
#include "tests/bench/traffic.h"
#include "tests/bench/world.h"

namespace understudy::bench {
namespace {

struct Latency {  // microseconds
  double p50, p99;
};

// Two full segments at a time, which an engine acknowledges at once (RFC 9293 section 3.8.6.3).
Latency run(const Options& options, bool standby) {
  constexpr std::array<uint8_t, 2 * 1448> kTwoSegments{};
  Bulk client(false);
  Bulk backend(false);
  World world({.standby = standby, .buffers = options.buffers}, options.pool, client, backend);
  const uint32_t leg = world.connect();
  invariant(world.turn_until([&] { return backend.opened == 1 && client.opened == 1; }, 2s),
            "bench: a session does not open");
  std::vector<double> times;
  const int exchanges = options.smoke ? 100 : 20'000, warm_up = exchanges / 10;
  for (int i = 0; i < warm_up + exchanges; ++i) {
    invariant(world.client().engine().write(leg, kTwoSegments), "bench: no room to write");
    const double seconds = world.acknowledgement_seconds(leg);
    if (i >= warm_up) times.push_back(seconds * 1e6);
  }
  invariant(client.broken + backend.broken == 0, "bench: a connection broke");
  invariant(!standby || world.synced(), "bench: the standby was lost");
  std::ranges::sort(times);
  return {times[times.size() / 2], times[times.size() * 99 / 100]};
}

}  // namespace

Metrics bench_gate(const Options& options) {
  Sample plain50, plain99, gated50, gated99, added50, added99;
  for (int i = 0; i < options.pairs(); ++i) {
    const Latency plain = run(options, false), gated = run(options, true);
    plain50.values.push_back(plain.p50);
    plain99.values.push_back(plain.p99);
    gated50.values.push_back(gated.p50);
    gated99.values.push_back(gated.p99);
    added50.values.push_back(gated.p50 - plain.p50);
    added99.values.push_back(gated.p99 - plain.p99);
  }
  const std::string what =
      "from the arrival of two full segments to the departure of their acknowledgement: what the workers "
      "compute";
  return {
      {.name = "acknowledge_unprotected_p50", .sample = plain50, .unit = "us", .note = what},
      {.name = "acknowledge_unprotected_p99", .sample = plain99, .unit = "us", .note = what},
      {.name = "acknowledge_protected_p50",
       .sample = gated50,
       .unit = "us",
       .note = what + ", the standby included; a peer link adds its round trip",
       .reference = "acknowledge_unprotected_p50",
       .ratio = ratios(gated50, plain50)},
      {.name = "acknowledge_protected_p99",
       .sample = gated99,
       .unit = "us",
       .note = what + ", the standby included; a peer link adds its round trip",
       .reference = "acknowledge_unprotected_p99",
       .ratio = ratios(gated99, plain99)},
      {.name = "acknowledge_gate_adds_p50", .sample = added50, .unit = "us", .note = "difference of the two"},
      {.name = "acknowledge_gate_adds_p99",
       .sample = added99,
       .unit = "us",
       .note = "difference of the two"}};
}

}  // namespace understudy::bench
