#pragma once

#include <chrono>
#include <cstdint>

namespace understudy {

// Time below control/ is a value that the caller hands in. The clock type has no now():
// whoever needs the time says where it comes from (the TSC in dataplane/dpdk, virtual time in tests).
struct MonotonicClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock, duration>;
  static constexpr bool is_steady = true;
};

using Duration = MonotonicClock::duration;
using Instant = MonotonicClock::time_point;

constexpr Instant kNever = Instant::max();

using namespace std::chrono_literals;

constexpr int64_t to_ms(Duration d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}
constexpr int64_t to_us(Duration d) {
  return std::chrono::duration_cast<std::chrono::microseconds>(d).count();
}

}  // namespace understudy
