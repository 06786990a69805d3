#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include <poll.h>

#include "common/instant.h"
#include "common/result.h"

namespace understudy {

// Rouses a worker that sleeps in PortWaiter. ring() costs a load and a fence while the worker is awake, and
// one write(2) for the first ring of each sleep.
class Wakeup {
 public:
  static Result<std::unique_ptr<Wakeup>> create();
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  // Any thread. Call it after the work was made visible (enqueued): either the worker's last look sees the
  // work, or this sees the worker asleep.
  void ring();

 private:
  friend class PortWaiter;
  explicit Wakeup(int descriptor) : descriptor_(descriptor) {}
  void prepare();  // the worker is about to take its last look
  void awake();    // the worker is up; a ringer that was faster ends its next sleep early, which is harmless
  void drain();    // takes back what ringers have written
  const int descriptor_;
  alignas(64) std::atomic<bool> asleep_{false};
};

enum class Woken {
  frames,  // a port's descriptor is readable, or in error
  rung,    // Wakeup::ring, or work that the last look found
  timeout,
};

// Where a worker with `idle: adaptive` waits: ppoll(2) on its ports' descriptors and its Wakeup. One thread.
class PortWaiter {
 public:
  explicit PortWaiter(Wakeup& wakeup);
  // Ports' poll_descriptor()s; -1 are left out. Call again after a port was reopened.
  void watch(std::span<const int> descriptors);
  // Sleeps until a frame, a ring or `timeout` (zero: only looks; negative counts as zero). `work_pending` is
  // the last look at the queues whose producers ring: called once the ringers know that the worker sleeps.
  template <class LastLook>
  Woken wait(Duration timeout, LastLook&& work_pending) {
    wakeup_.prepare();
    if (work_pending()) {
      wakeup_.awake();
      return Woken::rung;
    }
    return sleep(timeout);
  }

 private:
  Woken sleep(Duration timeout);
  Wakeup& wakeup_;
  std::vector<pollfd> polled_;  // the first is the Wakeup's
};

}  // namespace understudy
