#include "dataplane/dpdk/clock.h"

#include <array>

#include <gtest/gtest.h>

#include "dataplane/dpdk/pool.h"

namespace understudy {
namespace {

TEST(TickScale, ConvertsWithoutOverflowOverAYear) {
  const TickScale scale(2'500'000'000, 1s);
  EXPECT_EQ(scale.duration(0), Duration::zero());
  EXPECT_NEAR(static_cast<double>(scale.duration(2'500'000).count()), 1e6, 1.0);
  const uint64_t year_s = 365ull * 24 * 3600;
  const double error_ns =
      static_cast<double>((scale.duration(2'500'000'000 * year_s) - std::chrono::seconds(year_s)).count());
  EXPECT_LT(std::abs(error_ns) / (static_cast<double>(year_s) * 1e9), 1e-9);
}

TEST(TscClock, FollowsTheMonotonicClock) {
  const TscClock clock = TscClock::calibrate();
  const Duration first = clock.now().time_since_epoch() - std::chrono::steady_clock::now().time_since_epoch();
  std::this_thread::sleep_for(30ms);
  const Duration later = clock.now().time_since_epoch() - std::chrono::steady_clock::now().time_since_epoch();
  // The two readings of a line may be apart because of a descheduling; the drift itself is far smaller.
  EXPECT_LT(std::abs(first.count()), 5'000'000);
  EXPECT_LT(std::abs(later.count()), 5'000'000);
}

TEST(TscClock, NeverRunsBackwards) {
  const TscClock clock = TscClock::calibrate(2ms);
  Instant last = clock.now();
  for (int i = 0; i < 100'000; ++i) {
    const Instant now = clock.now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(PoolSize, ComesFromMemory) {
  const uint32_t each = bytes_per_buffer(2048, 0);
  EXPECT_GE(each, 2048u + 128 + 128);  // frame, headroom, mbuf
  EXPECT_LE(each, 2048u + 128 + 128 + 192);
  const uint32_t buffers = buffers_for_memory(64, 2048, 0, PageKind::huge);
  EXPECT_LE(uint64_t{buffers} * each, 64u << 20);
  EXPECT_GE(uint64_t{buffers} * each, 63u << 20);
  EXPECT_GT(bytes_per_buffer(2048, 64), each);
  const uint32_t on_pages = buffers_for_memory(64, 2048, 0, PageKind::ordinary);
  EXPECT_LE(on_pages, (64u << 20) / 4096);
  EXPECT_GE(on_pages, (64u << 20) / 4096 * 99 / 100);
}

TEST(PoolSize, BuffersFillTheirPartOfAnOrdinaryPage) {
  for (const uint16_t room : std::array<uint16_t, 4>{1600, 1700, 2048, 3000}) {
    const uint32_t each = bytes_per_buffer(granted_room(room, 0, PageKind::ordinary), 0);
    EXPECT_GE(granted_room(room, 0, PageKind::ordinary), room);
    EXPECT_EQ(4096 % each, 0u) << room << " became " << each;
  }
  EXPECT_EQ(granted_room(16384, 0, PageKind::ordinary), 16384);
  EXPECT_EQ(granted_room(2048, 0, PageKind::huge), 2048);
}

TEST(PoolSize, CachesCannotHideThePool) {
  EXPECT_EQ(cache_size(100'000, 2), 256u);
  EXPECT_EQ(cache_size(1024, 2), 32u);
  EXPECT_EQ(cache_size(8, 1), 0u);
}

}  // namespace
}  // namespace understudy
