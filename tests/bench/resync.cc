// What it takes to bring a standby that joins a running owner up to date.
#include <algorithm>

#include "common/check.h"
#include "tests/bench/measure.h"
#include "tests/bench/traffic.h"
#include "tests/bench/world.h"

namespace understudy::bench {
namespace {

constexpr uint32_t kTable = 1U << 18;  // legs
constexpr uint32_t kPortion = 20'000;  // sessions
constexpr Duration kRest = 6s;         // until a leg gives its soft state back, and then some

struct Resync {  // seconds
  double owner, standby, virtual_time;
};

Resync run(const Options& options, uint32_t sessions) {
  Bulk client(false);
  Bulk backend(false);
  World world({.standby = true,
               .standby_joins_later = true,
               .legs = kTable,
               .buffers = options.buffers,
               .active_legs = 65536},
              options.pool, client, backend);
  // In portions that come to rest before the next: only so many legs can be active at a time.
  for (uint32_t begun = 0; begun < sessions;) {
    const uint32_t portion = std::min(sessions, begun + kPortion);
    const bool open = world.turn_until(
        [&] {
          for (int i = 0; i < 16 && begun < portion; ++i)
            if (world.connect() != tcp::kNone) ++begun;
          return backend.opened >= portion && client.opened >= portion;
        },
        10s);
    invariant(open, "bench: sessions do not open");
    world.turn_until([] { return false; }, kRest);
  }
  world.reset_costs();
  const Instant begin = world.now();
  world.introduce_standby();
  invariant(world.turn_until([&] { return world.synced(); }, 120s), "bench: the standby does not get synced");
  const Resync result{world.owner_cost.seconds(), world.standby_cost.seconds(),
                      std::chrono::duration<double>(world.now() - begin).count()};
  invariant(world.standby().engine().legs().size() == 2 * sessions, "bench: not every leg is mirrored");
  invariant(client.closed + backend.closed == 0, "bench: a session has ended");
  return result;
}

}  // namespace

Metrics bench_resync(const Options& options) {
  const uint32_t sessions = options.smoke ? 1000 : 100'000;
  Sample owner, standby, virtual_time;
  for (int i = 0; i < options.pairs(); ++i) {
    const Resync resync = run(options, sessions);
    owner.values.push_back(resync.owner * 1e3);
    standby.values.push_back(resync.standby * 1e3);
    virtual_time.values.push_back(resync.virtual_time * 1e3);
  }
  const std::string name = "resync_" + std::to_string(sessions) + "_sessions_";
  return {
      {.name = name + "owner",
       .sample = owner,
       .unit = "ms",
       .note = "the owner's own time from the order to mirror idle proxied sessions to `synced`"},
      {.name = name + "standby", .sample = standby, .unit = "ms", .note = "the standby's own time for it"},
      {.name = name + "paced",
       .sample = virtual_time,
       .unit = "ms",
       .note = "virtual time of it, at a round of either worker each 20 us: what pacing and the channel's "
               "window make of it where processors are fast enough"}};
}

}  // namespace understudy::bench
