#include "control/cluster/fault_detector.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::cluster {

AwakeClock::AwakeClock(Duration interval, Duration dead_after)
    : interval_(interval), dead_after_(dead_after) {}

Duration AwakeClock::observe(Instant now) {
  const Duration gap = last_ ? now - *last_ : Duration::zero();
  last_ = last_ ? std::max(*last_, now) : now;
  if (gap <= 2 * interval_) return Duration::zero();
  absent(gap, now);
  return gap;
}

void AwakeClock::absent(Duration length, Instant now) {
  const Instant from = std::max(now - length, covered_until_);
  covered_until_ = std::max(covered_until_, now);
  if (from >= now) return;
  absent_total_ += now - from;
  const Duration grace = length > dead_after_ ? dead_after_ : 2 * interval_;
  grace_ends_ = std::max(grace_ends_, now + grace);
}

Suspicion judge(const OwnerSignals& signals, const DetectorSettings& settings, const Moment& now) {
  if (signals.boot_now != signals.boot_followed) return Suspicion::reborn;
  switch (signals.role) {
    case mirror::GroupRole::releasing:
      return Suspicion::releasing;
    case mirror::GroupRole::fenced:
      return Suspicion::fenced;
    case mirror::GroupRole::idle:
    case mirror::GroupRole::standby:
      return Suspicion::resigned;
    case mirror::GroupRole::owner:
      break;
  }
  if (now.wall < now.grace_ends) return Suspicion::none;
  if (now.awake - signals.last_heard >= settings.dead_after) return Suspicion::silent;
  // Only while it is heard; otherwise it is about to be silent.
  if (now.awake - signals.last_progress >= settings.dead_after &&
      now.awake - signals.last_heard < settings.dead_after / 2)
    return Suspicion::stuck;
  return Suspicion::none;
}

Instant next_verdict(const OwnerSignals& signals, const DetectorSettings& settings, const Moment& now) {
  return std::max(now.wall + (signals.last_heard + settings.dead_after - now.awake), now.grace_ends);
}

std::string explain(Suspicion suspicion, const OwnerSignals& signals, const Moment& now) {
  switch (suspicion) {
    case Suspicion::none:
      return "alive";
    case Suspicion::silent:
      return fmt::format("silent on every link for {} ms", to_ms(now.awake - signals.last_heard));
    case Suspicion::stuck:
      return fmt::format("a worker of it has made no progress for {} ms",
                         to_ms(now.awake - signals.last_progress));
    case Suspicion::releasing:
      return "gives the group up";
    case Suspicion::fenced:
      return "has silenced itself";
    case Suspicion::resigned:
      return "no longer says that it owns the group";
    case Suspicion::reborn:
      return fmt::format("restarted (boot {:016x} after {:016x}), its connections are gone",
                         signals.boot_now.value(), signals.boot_followed.value());
  }
  return "unknown";
}

}  // namespace understudy::cluster
