#include "dataplane/tcp/timer_wheel.h"

#include <algorithm>

namespace understudy::tcp {

TimerWheel::TimerWheel(uint32_t entries, Instant start)
    : start_(start), heads_(kSlots, kNil), links_(entries) {}

void TimerWheel::arm(uint32_t entry, Instant when) {
  Link& link = links_[entry];
  if (link.slot != kUnarmed) cancel(entry);
  const int64_t due = (std::max(Duration::zero(), when - start_) + 1ms - 1ns) / 1ms;  // rounded up
  const int64_t tick = std::clamp(due, earliest_, earliest_ + kSlots - 2);
  link.slot = static_cast<uint32_t>(tick & kMask);
  link.when = when;
  link.previous = kNil;
  link.next = heads_[link.slot];
  if (link.next != kNil) links_[link.next].previous = entry;
  heads_[link.slot] = entry;
  ++armed_;
}

void TimerWheel::cancel(uint32_t entry) {
  Link& link = links_[entry];
  if (link.slot == kUnarmed) return;
  if (link.previous == kNil)
    heads_[link.slot] = link.next;
  else
    links_[link.previous].next = link.next;
  if (link.next != kNil) links_[link.next].previous = link.previous;
  link = Link();
  --armed_;
}

Instant TimerWheel::next_deadline() const {
  if (armed_ == 0) return kNever;
  constexpr int64_t kLookAhead = 256;
  for (int64_t tick = next_; tick < next_ + kLookAhead; ++tick)
    if (heads_[tick & kMask] != kNil) return start_ + tick * 1ms;
  return start_ + (next_ + kLookAhead) * 1ms;
}

}  // namespace understudy::tcp
