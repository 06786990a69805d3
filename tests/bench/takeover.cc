// How long a standby needs from the order to take over until it speaks, with few and with many mirrored legs.
#include "common/check.h"
#include "tests/bench/measure.h"
#include "tests/bench/traffic.h"
#include "tests/bench/world.h"

namespace understudy::bench {
namespace {

constexpr uint32_t kBusy = 5;  // of the sessions: they carry data when the owner dies

World::Takeover run(const Options& options, uint32_t legs) {
  Bulk backend(false);
  Bulk upload(true);
  World world({.standby = true, .legs = 65536, .buffers = options.buffers, .active_legs = 65536},
              options.pool, upload, backend);
  const uint32_t sessions = legs / 2;
  uint32_t begun = 0;
  const bool open = world.turn_until(
      [&] {
        for (int i = 0; i < 16 && begun < sessions; ++i)
          if (world.connect() != tcp::kNone) ++begun;
        return backend.opened >= sessions;
      },
      60s);
  invariant(open && world.turn_until([&] { return world.standby().engine().legs().size() == legs; }, 5s),
            "bench: not every leg is mirrored");
  // The oldest sessions carry data: their legs may stand anywhere in the standby's table.
  const bool flows = world.turn_until(
      [&] {
        upload.pump(world.client().engine(), kBusy);
        return backend.received > 2'000'000;
      },
      10s);
  invariant(flows, "bench: the uploads stand still");
  return world.take_over();
}

}  // namespace

Metrics bench_takeover(const Options& options) {
  const uint32_t many_legs = options.smoke ? 2000 : 50'000;
  Sample few, many, sweep;
  for (int i = 0; i < options.pairs(); ++i) {
    few.values.push_back(run(options, 2 * kBusy).first_segment_seconds * 1e6);
    const World::Takeover takeover = run(options, many_legs);
    many.values.push_back(takeover.first_segment_seconds * 1e6);
    sweep.values.push_back(takeover.sweep_seconds * 1e6);
  }
  const std::string name = "takeover_first_segment_";
  const std::string count = std::to_string(many_legs);
  const std::string what =
      "standby's own time from the order to the end of the round that sent the first segment; 5 sessions "
      "carry data; no segment arrives that would be answered sooner";
  return {{.name = name + "10_legs", .sample = few, .unit = "us", .note = what},
          {.name = name + count + "_legs",
           .sample = many,
           .unit = "us",
           .note = what,
           .reference = name + "10_legs",
           .ratio = ratios(many, few)},
          {.name = "takeover_sweep_" + count + "_legs",
           .sample = sweep,
           .unit = "us",
           .note = "... to the end of the sweep over all legs"}};
}

}  // namespace understudy::bench
