// What an idle proxied session costs in memory.
#include <malloc.h>
#include <rte_malloc.h>

#include "common/check.h"
#include "tests/bench/measure.h"
#include "tests/bench/traffic.h"
#include "tests/bench/world.h"

namespace understudy::bench {
namespace {

constexpr double kTarget = 512;  // bytes
constexpr uint32_t kSmall = 1U << 16, kLarge = 1U << 17;

// Bytes that this process has taken from the C library and from DPDK.
double bytes_taken() {
  const auto c = mallinfo2();
  rte_malloc_socket_stats stats{};
  rte_malloc_get_socket_stats(0, &stats);
  return static_cast<double>(c.uordblks) + static_cast<double>(c.hblkhd) +
         static_cast<double>(stats.heap_allocsz_bytes);
}

class NullSink final : public tcp::SegmentSink {
  void transmit(rte_mbuf* frame, const FlowKey&) override { rte_pktmbuf_free(frame); }
};

// An engine allocates all it will ever need when it is made, so its size as a function of its capacity is
// what a leg costs, hash table and lists included.
double engine_bytes(const Options& options, uint32_t legs) {
  static const tcp::ShardMap shards(64);
  NullSink sink;
  tcp::EngineSettings settings;
  settings.legs = legs;
  const double before = bytes_taken();
  const tcp::Engine engine(settings, Secret{}, shards, options.pool, sink, Instant(1s));
  return bytes_taken() - before;
}

// That idle sessions hold nothing but their slots.
void check_that_idle_is_idle(const Options& options) {
  const uint32_t sessions = options.smoke ? 500 : 10'000;
  Bulk client(false);
  Bulk backend(false);
  World world({.legs = kSmall, .buffers = options.buffers, .active_legs = 32768}, options.pool, client,
              backend);
  uint32_t begun = 0;
  const bool open = world.turn_until(
      [&] {
        for (int i = 0; i < 16 && begun < sessions; ++i)
          if (world.connect() != tcp::kNone) ++begun;
        return backend.opened >= sessions && client.opened >= sessions;
      },
      60s);
  invariant(open, "bench: idle sessions do not open");
  const auto soft_states = [&] {
    uint32_t count = 0;
    const tcp::ConnectionTable& legs = world.owner().engine().legs();
    for (uint32_t leg = 0; leg < legs.capacity(); ++leg)
      count += legs.is_live(leg) && legs[leg].soft != tcp::kNone;
    return count;
  };
  for (int tenths = 0; tenths < 60 && soft_states() > 0; ++tenths)
    world.turn_until([] { return false; }, 100ms);
  invariant(soft_states() == 0, "bench: idle legs keep their soft state");
  invariant(world.owner().engine().legs().size() == 2 * sessions, "bench: idle sessions have gone");
  invariant(world.owner().engine().pipes().pinned() == 0, "bench: idle sessions hold packet buffers");
}

}  // namespace

Metrics bench_memory(const Options& options) {
  check_that_idle_is_idle(options);
  const double legs = kLarge - kSmall;
  const double per_leg = (engine_bytes(options, kLarge) - engine_bytes(options, kSmall)) / legs;
  const double structs = 2 * (sizeof(tcp::Connection) + sizeof(tcp::Pipe));
  return {{.name = "idle_session_bytes",
           .sample = {{2 * per_leg}},
           .unit = "B",
           .note = "two legs, two pipes, their hash entries and places in lists: growth of an engine with "
                   "its capacity; "
                   "10,000 open sessions were seen to hold nothing else 2 s after their last segment",
           .at_most = kTarget},
          {.name = "idle_session_struct_bytes",
           .sample = {{structs}},
           .unit = "B",
           .note = "of them, the hard state alone: two Connections and two Pipes by sizeof"}};
}

}  // namespace understudy::bench
