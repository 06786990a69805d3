#pragma once

#include <chrono>
#include <cstdint>
#include <thread>

#include <rte_cycles.h>

#include "common/instant.h"

namespace understudy {

// Turns ticks of a counter into nanoseconds with one multiplication and one shift.
class TickScale {
 public:
  // `ticks` went by in `span`; both above zero. The error of the scale itself is below 2^-29 for rates of 0.5
  // GHz up.
  constexpr TickScale(uint64_t ticks, Duration span)
      : nanoseconds_shifted_(static_cast<uint64_t>((static_cast<Wide>(span.count()) << kShift) / ticks)) {}
  constexpr Duration duration(uint64_t ticks) const {
    return Duration(static_cast<int64_t>((static_cast<Wide>(ticks) * nanoseconds_shifted_) >> kShift));
  }

 private:
  __extension__ using Wide = unsigned __int128;
  static constexpr int kShift = 32;
  uint64_t nanoseconds_shifted_;
};

// The time source of workers and control: the processor's time-stamp counter, anchored at and calibrated
// against CLOCK_MONOTONIC. EAL's own estimate of the counter's rate is rounded to 10 MHz where the processor
// does not tell it, which is up to 0.2 % off: too coarse for leases. Copies read the same time; any thread.
class TscClock {
 public:
  // Takes `measuring` of wall time. 20 ms bound the error of the rate to a few parts in a million.
  static TscClock calibrate(Duration measuring = 20ms) {
    const Reading first = read();
    std::this_thread::sleep_for(measuring);
    const Reading last = read();
    return TscClock(last, TickScale(last.ticks - first.ticks, last.time - first.time));
  }
  Instant now() const { return base_ + scale_.duration(rte_rdtsc() - base_ticks_); }

 private:
  struct Reading {
    uint64_t ticks;
    Duration time;
  };
  TscClock(const Reading& anchor, TickScale scale)
      : base_ticks_(anchor.ticks), base_(anchor.time), scale_(scale) {}
  // The tightest of several attempts, so that being scheduled away between the two reads does no harm.
  static Reading read() {
    Reading best{0, Duration::zero()};
    uint64_t narrowest = UINT64_MAX;
    for (int attempt = 0; attempt < 8; ++attempt) {
      const uint64_t before = rte_rdtsc();
      const Duration time = std::chrono::steady_clock::now().time_since_epoch();
      const uint64_t after = rte_rdtsc();
      if (after - before >= narrowest) continue;
      narrowest = after - before;
      best = {before + narrowest / 2, time};
    }
    return best;
  }

  uint64_t base_ticks_;
  Instant base_;
  TickScale scale_;
};

}  // namespace understudy
