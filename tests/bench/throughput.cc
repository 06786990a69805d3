// How many bytes a core proxies, with and without a standby that mirrors them, and what of the difference the
// commit gate is. The owner's time, the standby's and the generators' are counted apart.
#include "common/check.h"
#include "tests/bench/measure.h"
#include "tests/bench/traffic.h"
#include "tests/bench/world.h"

namespace understudy::bench {
namespace {

constexpr uint64_t kStreams = 8;

constexpr double kSegment = 1448;  // payload bytes

struct Rates {
  double owner, standby, hosts;         // Gbit/s of payload per core
  double owner_cycles, standby_cycles;  // per segment's worth of payload
};

// An owner without a standby; with one that it tells everything and does not wait for; and as it should be.
enum class Protection { none, ungated, gated };
enum class Direction { download, upload };

Rates run(const Options& options, Direction direction, Protection protection) {
  const bool standby = protection != Protection::none;
  Bulk client(direction == Direction::upload);
  Bulk backend(direction == Direction::download);
  Bulk& sender = direction == Direction::upload ? client : backend;
  Bulk& receiver = direction == Direction::upload ? backend : client;
  World world({.standby = standby, .gated = protection == Protection::gated, .buffers = options.buffers},
              options.pool, client, backend);
  Host& sending_host = direction == Direction::upload ? world.client() : world.backend();
  for (uint64_t i = 0; i < kStreams; ++i) world.connect();
  const auto transfer = [&](uint64_t bytes) {
    const uint64_t until = receiver.received + bytes;
    const bool whole = world.turn_until(
        [&] {
          const uint64_t begin = rte_rdtsc();
          sender.pump(sending_host.engine());
          world.client_cost.ticks += rte_rdtsc() - begin;
          return receiver.received >= until;
        },
        120s);
    invariant(whole, "bench: the transfer stands still");
  };
  transfer(options.smoke ? 2'000'000 : 32'000'000);  // windows grow
  world.reset_costs();
  const uint64_t before = receiver.received;
  transfer(options.smoke ? 4'000'000 : options.quick ? 100'000'000 : 400'000'000);
  invariant(client.broken + backend.broken == 0, "bench: a connection broke");
  invariant(!standby || world.synced(), "bench: the standby was lost");
  const auto bytes = static_cast<double>(receiver.received - before);
  const double gbit = bytes * 8e-9, cycles = ticks_per_second() * kSegment / bytes;
  const double owner = world.owner_cost.seconds(), standby_seconds = world.standby_cost.seconds();
  const double hosts = world.client_cost.seconds() + world.backend_cost.seconds();
  return {gbit / owner, standby ? gbit / standby_seconds : 0, gbit / hosts, owner * cycles,
          standby_seconds * cycles};
}

// Of what `from` does, `to` does this much less, in per cent and in pairs.
Sample lost(const Sample& to, const Sample& from) {
  Sample cost;
  for (const double r : ratios(to, from).values) cost.values.push_back((1 - r) * 100);
  return cost;
}

struct Samples {
  Sample owner, standby, hosts, owner_cycles, standby_cycles;
  void add(const Rates& rates) {
    owner.values.push_back(rates.owner);
    standby.values.push_back(rates.standby);
    hosts.values.push_back(rates.hosts);
    owner_cycles.values.push_back(rates.owner_cycles);
    standby_cycles.values.push_back(rates.standby_cycles);
  }
};

void measure(const Options& options, Direction direction, const std::string& name, Metrics& metrics) {
  Samples none, ungated, gated;
  for (int i = 0; i < options.pairs(); ++i) {
    none.add(run(options, direction, Protection::none));
    ungated.add(run(options, direction, Protection::ungated));
    gated.add(run(options, direction, Protection::gated));
  }
  const std::string prefix = "proxy_" + name;
  const std::string what =
      std::to_string(kStreams) + " streams, payload bits per second of the owner's own time";
  const std::string cycles = "of the owner's own time, for 1448 bytes of payload and all that goes with them";
  constexpr const char* kRate = "Gbit/s/core";
  constexpr const char* kCycles = "cycles/segment";
  metrics.insert(
      metrics.end(),
      {{.name = prefix + "_unprotected", .sample = none.owner, .unit = kRate, .note = what},
       {.name = prefix + "_ungated",
        .sample = ungated.owner,
        .unit = kRate,
        .note = what + "; mirrored, acknowledged without waiting for the standby",
        .reference = prefix + "_unprotected",
        .ratio = ratios(ungated.owner, none.owner)},
       {.name = prefix + "_protected",
        .sample = gated.owner,
        .unit = kRate,
        .note = what,
        .reference = prefix + "_unprotected",
        .ratio = ratios(gated.owner, none.owner)},
       {.name = prefix + "_gate_cost",
        .sample = lost(gated.owner, ungated.owner),
        .unit = "%",
        .note = "throughput lost to waiting for the standby: protected against ungated",
        .at_most = 5},
       {.name = prefix + "_mirror_cost",
        .sample = lost(ungated.owner, none.owner),
        .unit = "%",
        .note = "throughput lost to the log, its seal and the channel: ungated against unprotected"},
       {.name = prefix + "_protection_cost",
        .sample = lost(gated.owner, none.owner),
        .unit = "%",
        .note = "throughput lost to both"},
       {.name = prefix + "_unprotected_cycles", .sample = none.owner_cycles, .unit = kCycles, .note = cycles},
       {.name = prefix + "_ungated_cycles", .sample = ungated.owner_cycles, .unit = kCycles, .note = cycles},
       {.name = prefix + "_protected_cycles", .sample = gated.owner_cycles, .unit = kCycles, .note = cycles},
       {.name = prefix + "_standby_cycles",
        .sample = gated.standby_cycles,
        .unit = kCycles,
        .note = "the standby's time for the same"},
       {.name = prefix + "_standby",
        .sample = gated.standby,
        .unit = kRate,
        .note = "the same payload over the standby's time"},
       {.name = prefix + "_hosts",
        .sample = gated.hosts,
        .unit = kRate,
        .note = "the generator: client and backend engines together, not part of the figures above"}});
}

}  // namespace

Metrics bench_throughput(const Options& options) {
  Metrics metrics;
  measure(options, Direction::download, "download", metrics);
  measure(options, Direction::upload, "upload", metrics);
  return metrics;
}

}  // namespace understudy::bench
