// How many bytes a core proxies, with and without a standby that mirrors them.
#include "common/check.h"
#include "tests/bench/measure.h"
#include "tests/bench/traffic.h"
#include "tests/bench/world.h"

namespace understudy::bench {
namespace {

constexpr uint64_t kStreams = 8;

struct Rates {  // Gbit/s of payload per core
  double owner, standby, hosts;
};

enum class Direction { download, upload };

Rates run(const Options& options, Direction direction, bool standby) {
  Bulk client(direction == Direction::upload);
  Bulk backend(direction == Direction::download);
  Bulk& sender = direction == Direction::upload ? client : backend;
  Bulk& receiver = direction == Direction::upload ? backend : client;
  World world({.standby = standby, .buffers = options.buffers}, options.pool, client, backend);
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
  const double gbit = static_cast<double>(receiver.received - before) * 8e-9;
  const double hosts = world.client_cost.seconds() + world.backend_cost.seconds();
  return {gbit / world.owner_cost.seconds(), standby ? gbit / world.standby_cost.seconds() : 0, gbit / hosts};
}

void measure(const Options& options, Direction direction, const std::string& name, Metrics& metrics) {
  Sample plain, mirrored, standby, hosts;
  for (int i = 0; i < options.pairs(); ++i) {
    plain.values.push_back(run(options, direction, false).owner);
    const Rates rates = run(options, direction, true);
    mirrored.values.push_back(rates.owner);
    standby.values.push_back(rates.standby);
    hosts.values.push_back(rates.hosts);
  }
  const Sample ratio = ratios(mirrored, plain);
  Sample cost;
  for (const double r : ratio.values) cost.values.push_back((1 - r) * 100);
  const std::string prefix = "proxy_" + name;
  const std::string what =
      std::to_string(kStreams) + " streams, payload bits per second of the worker's own time";
  metrics.push_back({.name = prefix + "_unprotected", .sample = plain, .unit = "Gbit/s/core", .note = what});
  metrics.push_back({.name = prefix + "_protected",
                     .sample = mirrored,
                     .unit = "Gbit/s/core",
                     .note = what,
                     .reference = prefix + "_unprotected",
                     .ratio = ratio});
  metrics.push_back(
      {.name = prefix + "_protection_cost",
       .sample = cost,
       .unit = "%",
       .note = "throughput lost to the log, the channel and the acknowledgement gate, in pairs"});
  metrics.push_back({.name = prefix + "_standby",
                     .sample = standby,
                     .unit = "Gbit/s/core",
                     .note = "the same payload over the standby's time"});
  metrics.push_back(
      {.name = prefix + "_hosts",
       .sample = hosts,
       .unit = "Gbit/s/core",
       .note = "the generator: client and backend engines together, not part of the figures above"});
}

}  // namespace

Metrics bench_throughput(const Options& options) {
  Metrics metrics;
  measure(options, Direction::download, "download", metrics);
  measure(options, Direction::upload, "upload", metrics);
  return metrics;
}

}  // namespace understudy::bench
