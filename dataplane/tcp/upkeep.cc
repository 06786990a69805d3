// Slow rounds over all slots: what needs no timer of its own.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {
namespace {

// Soft state of a leg that has been quiet this long goes back to the slab; the leg starts anew with defaults,
// as RFC 5681 section 4.1 asks after idleness anyway.
constexpr uint32_t kQuietMs = 2000;
// All slots are looked at about once in this time.
constexpr Duration kRoundTime = 1s;

}  // namespace

void Engine::upkeep(Instant now, uint32_t slots_most) {
  const uint32_t now_ms = engine_ms(now);
  const Duration slot_time = kRoundTime / legs_.capacity();
  const auto due = static_cast<uint64_t>((now - upkeep_at_) / std::max(slot_time, Duration(1ns)));
  uint32_t slots = static_cast<uint32_t>(std::min<uint64_t>(due, slots_most));
  if (slots > 0) upkeep_at_ = now;
  for (; slots > 0; --slots) {
    upkeep_next_ = upkeep_next_ + 1 >= legs_.capacity() ? 0 : upkeep_next_ + 1;
    const uint32_t leg = upkeep_next_;
    if (!legs_.is_live(leg)) continue;
    Connection& c = legs_[leg];
    if (!groups_[c.group].voice) continue;
    const uint32_t quiet_ms = now_ms - c.active_ms;
    if (c.soft != kNone && quiet_ms > kQuietMs && !c.output_pending && is_synchronised(c.state) &&
        soft_[c.soft].is_quiet() && !soft_[c.soft].was_challenged(now))
      release_soft(c);
    if (c.mss != c.mss_agreed) refresh_path_mtu(c, leg, now);
    const Service* service = find_service(c.service);
    if (stalls_too_long(c, now)) {
      drops_.count(DropReason::tcp_stalled_ended);
      send_reset(c, now);
      close(leg, CloseReason::idle, now);
      continue;
    }
    if (is_silent_too_long(c, leg, quiet_ms)) {
      drops_.count(DropReason::tcp_silent_ended);
      send_reset(c, now);
      close(leg, CloseReason::idle, now);
      continue;
    }
    // An application that found no buffer for its answer left its input where it was.
    if (service != nullptr && c.rx != kNone && pipes_[c.rx].sink == kNone && pipes_[c.rx].held() > 0) {
      service->application->on_data(*this, leg, now);
      if (!legs_.is_live(leg)) continue;
    }
    if (service == nullptr || keep_alive(c, leg, *service, now)) continue;
    if (quiet_ms <= to_ms(service->idle_timeout)) continue;
    // A proxied session is idle when both its legs are.
    if (c.partner != kNone && now_ms - legs_[c.partner].active_ms <= to_ms(service->idle_timeout)) continue;
    if (c.state == State::time_wait) continue;
    // What a takeover left silent for so long to accept any timestamp (RFC 7323 section 5.5): nobody knows
    // since when it has really been idle, until it speaks.
    if (c.adopted && timestamp_is_outdated(c, now)) continue;
    if (!c.resumed) {
      // What came last before a crash was perhaps not recorded: the time begins anew.
      resume(c, leg, now);
      if (!c.resumed || !groups_[c.group].handed_over) continue;
    }
    send_reset(c, now);
    close(leg, CloseReason::idle, now);
  }
}

}  // namespace understudy::tcp
