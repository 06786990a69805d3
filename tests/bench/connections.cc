// How many whole sessions a core proxies: open, one request, one response, close.
#include <cstdio>

#include "common/check.h"
#include "tests/bench/measure.h"
#include "tests/bench/traffic.h"
#include "tests/bench/world.h"

namespace understudy::bench {
namespace {

constexpr uint32_t kBytes = 128;  // of a request and of a response
constexpr uint64_t kAtOnce = 256;

struct Rates {  // sessions per second of time
  double owner, standby, hosts;
};

Rates run(const Options& options, bool standby) {
  RequestClient client(kBytes);
  RequestServer server(kBytes);
  World world({.standby = standby, .legs = 65536, .buffers = options.buffers, .active_legs = 65536},
              options.pool, client, server);
  uint64_t begun = 0;
  const auto serve = [&](uint64_t sessions) {
    const uint64_t end = begun + sessions;
    const bool all = world.turn_until(
        [&] {
          const uint64_t begin = rte_rdtsc();
          // Arrivals are spread: a burst per turn, not all at once.
          for (int i = 0; i < 16 && begun < end && begun - client.done < kAtOnce; ++i)
            if (world.connect() != tcp::kNone) ++begun;
          world.client_cost.ticks += rte_rdtsc() - begin;
          return client.done >= end;
        },
        120s);
    if (!all) {
      const auto& owner = world.owner();
      std::fprintf(
          stderr,
          "connections: %lu begun, %lu done; client %lu opened %lu broken; server %lu opened %lu broken; "
          "owner holds %u legs; %lu frames lost on wires; %lu sessions without a backend, standby %d\n",
          begun, client.done, client.opened, client.broken, server.opened, server.broken,
          world.owner().engine().legs().size(), world.frames_lost(),
          owner.proxy(ServiceId(1))->counters().no_backend, standby);
    }
    invariant(all, "bench: sessions stand still");
  };
  serve(options.smoke ? 200 : 5000);
  world.reset_costs();
  const uint64_t before = client.done;
  serve(options.smoke ? 1000 : options.quick ? 20'000 : 100'000);
  invariant(client.broken + server.broken == 0, "bench: a session broke");
  invariant(!standby || world.synced(), "bench: the standby was lost");
  const auto sessions = static_cast<double>(client.done - before);
  const double hosts = world.client_cost.seconds() + world.backend_cost.seconds();
  return {sessions / world.owner_cost.seconds(), standby ? sessions / world.standby_cost.seconds() : 0,
          sessions / hosts};
}

}  // namespace

Metrics bench_connections(const Options& options) {
  Sample plain, mirrored, standby, hosts;
  for (int i = 0; i < options.pairs(); ++i) {
    plain.values.push_back(run(options, false).owner);
    const Rates rates = run(options, true);
    mirrored.values.push_back(rates.owner);
    standby.values.push_back(rates.standby);
    hosts.values.push_back(rates.hosts);
  }
  const Sample ratio = ratios(mirrored, plain);
  Sample cost;
  for (const double r : ratio.values) cost.values.push_back((1 - r) * 100);
  const std::string what = "open, request and response of " + std::to_string(kBytes) + " bytes, close; " +
                           std::to_string(kAtOnce) + " at once; per second of the worker's own time";
  return {
      {.name = "connections_unprotected", .sample = plain, .unit = "1/s/core", .note = what},
      {.name = "connections_protected",
       .sample = mirrored,
       .unit = "1/s/core",
       .note = what,
       .reference = "connections_unprotected",
       .ratio = ratio},
      {.name = "connections_protection_cost", .sample = cost, .unit = "%", .note = "sessions lost, in pairs"},
      {.name = "connections_standby",
       .sample = standby,
       .unit = "1/s/core",
       .note = "the same sessions over the standby's time"},
      {.name = "connections_hosts", .sample = hosts, .unit = "1/s/core", .note = "the generator"}};
}

}  // namespace understudy::bench
