#pragma once

#include <optional>
#include <string>

#include "common/instant.h"
#include "common/strong.h"
#include "dataplane/mirror/heartbeat.h"

namespace understudy::cluster {

// Time as far as we were there to see it. While this process is stopped, or one of its threads is starved,
// the peer's signs of life queue up unread; counting that time as the peer's silence would let every sleeper
// wake up as an assassin. So silence is measured on a clock that stands still while we are away:
//
//   wall   0----20----40----(away 1 s)----1040---1060
//   awake  0----20----40------------------40-----60
//
// That alone would leave a peer that was last heard 90 ms before the pause only 10 ms to speak afterwards. So
// nobody is suspected for silence before a grace has passed since we came back: two intervals after a short
// absence (a healthy peer beats in that time on each link, and its backlog is read), and a whole dead_after
// after one longer than dead_after, when the backlog is long, too. Restarting the whole dead_after after each
// short absence was the alternative: on a busy machine with a 40 ms hiccup in every 100 ms no dead peer
// would ever be noticed.
class AwakeClock {
 public:
  AwakeClock(Duration interval, Duration dead_after);

  // The control loop is here. A gap of more than two intervals since the last call is an absence.
  // Returns the absence, or zero.
  Duration observe(Instant now);
  // Somebody on the way of heartbeats (a worker) was away for `length` until now. Time that is already
  // counted does not count twice.
  void absent(Duration length, Instant now);

  // `now` on the clock that stood still. Only differences mean something.
  Instant awake(Instant now) const { return now - absent_total_; }
  // No verdict of silence before this moment of the wall clock.
  Instant grace_ends() const { return grace_ends_; }

 private:
  Duration interval_, dead_after_;
  std::optional<Instant> last_;
  Instant covered_until_ = Instant::min();
  Duration absent_total_{0};
  Instant grace_ends_ = Instant::min();
};

enum class Suspicion : uint8_t {
  none,
  silent,     // nothing on any link for dead_after
  stuck,      // beats arrive, but a worker makes no progress, or is silent while others beat
  releasing,  // says so itself
  fenced,     // says so itself
  resigned,   // alive, but no longer says that it owns the group
  reborn      // came back with a new boot id: its state is gone
};

// What is known of the owner of a group. Instants are of the awake clock, except where said.
struct OwnerSignals {
  BootId boot_followed;   // the incarnation that owned
  BootId boot_now;        // the one last heard
  Instant last_heard;     // on any link
  Instant last_progress;  // of the worker whose progress count has stood still longest
  mirror::GroupRole role = mirror::GroupRole::owner;  // in its newest heartbeat
};

struct DetectorSettings {
  Duration dead_after;
};

// The fault detector: a pure function of (signals, now). `wall` is compared with `grace_ends` only.
struct Moment {
  Instant awake;
  Instant wall;
  Instant grace_ends;
};
Suspicion judge(const OwnerSignals& signals, const DetectorSettings& settings, const Moment& now);

// When judge() will say `silent` if nothing more is heard, on the wall clock. (`stuck` shows when a beat
// comes.)
Instant next_verdict(const OwnerSignals& signals, const DetectorSettings& settings, const Moment& now);

// "silent on every link for 104 ms"
std::string explain(Suspicion suspicion, const OwnerSignals& signals, const Moment& now);

}  // namespace understudy::cluster
