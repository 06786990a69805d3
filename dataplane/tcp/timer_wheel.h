#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/instant.h"

namespace understudy::tcp {

// A hashed timing wheel (Varghese and Lauck 1987) of 1 ms ticks for entries named by small integers, at most
// one deadline each. Deadlines beyond the wheel's span wait in its last slot and are looked at again. One
// thread; no allocation after construction.
class TimerWheel {
 public:
  TimerWheel(uint32_t entries, Instant start);
  // Due at the first advance() at or after `when`, rounded up to a tick. Replaces an earlier deadline.
  void arm(uint32_t entry, Instant when);
  void cancel(uint32_t entry);
  bool is_armed(uint32_t entry) const { return links_[entry].slot != kUnarmed; }
  Instant deadline(uint32_t entry) const { return links_[entry].when; }
  // Calls fire(entry) for each entry that is due, at most `most` of them; the others wait for the next call.
  // The entry is disarmed before and may be armed again inside.
  template <class Fire>
  void advance(Instant now, uint32_t most, Fire&& fire) {
    const int64_t target = to_ms(now - start_);
    next_ = std::max(next_, target - kMask);  // one turn visits every slot, however long nobody has called
    for (; next_ <= target; ++next_) {
      earliest_ = next_ + 1;
      while (heads_[next_ & kMask] != kNil) {
        const uint32_t entry = heads_[next_ & kMask];
        const Instant when = links_[entry].when;
        cancel(entry);
        if (when > now) {
          arm(entry, when);  // was beyond the span
          continue;
        }
        fire(entry);
        if (--most == 0) {
          earliest_ = next_;
          return;
        }
      }
    }
    earliest_ = next_;
  }
  // No entry is due before this instant. Looks at no more than the next 256 ticks.
  Instant next_deadline() const;
  uint32_t armed() const { return armed_; }

 private:
  static constexpr uint32_t kSlots = 4096;
  static constexpr uint32_t kMask = kSlots - 1;
  static constexpr uint32_t kNil = UINT32_MAX;
  static constexpr uint32_t kUnarmed = UINT32_MAX;
  struct Link {
    uint32_t previous = kNil;
    uint32_t next = kNil;
    uint32_t slot = kUnarmed;
    Instant when = kNever;
  };

  Instant start_;
  int64_t next_ = 0;      // first tick that has not been worked off
  int64_t earliest_ = 0;  // first tick that an entry may be put into
  uint32_t armed_ = 0;
  std::vector<uint32_t> heads_;
  std::vector<Link> links_;
};

}  // namespace understudy::tcp
