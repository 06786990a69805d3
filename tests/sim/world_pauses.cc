// How a process of a World stands still, and goes on.
#include "tests/sim/world.h"

namespace understudy::sim {
namespace {

constexpr Duration kHasSentBy = 10ms;  // whoever has sent nothing by then stands still with empty ports

}  // namespace

// Half of them are stopped in the middle of a burst: what their ports still hold leaves when the process goes
// on, behind the fencing check, and after whatever a successor has said meanwhile.
void World::pause(size_t slot, Duration lasts) {
  Slot& s = slots_[slot];
  if (s.stops_for || s.node->paused()) return;
  if (settings_.named != nullptr || !random_.chance(1, 2)) return stand_still(slot, lasts);
  for (const Network n : {front, back}) s.node->port(n).hold(true);
  s.stops_for = lasts;
  later(kHasSentBy, [this, slot, life = s.life] {
    Slot& late = slots_[slot];
    if (late.node == nullptr || late.life != life || !late.stops_for) return;
    if (!faults_are_over_) return stand_still(slot, *late.stops_for);
    late.stops_for.reset();
    for (const Network n : {front, back}) late.node->port(n).hold(false);
  });
}

void World::stop_in_mid_burst(size_t slot) {
  const Slot& s = slots_[slot];
  if (s.node->port(front).holds_any() || s.node->port(back).holds_any()) stand_still(slot, *s.stops_for);
}

void World::stand_still(size_t slot, Duration lasts) {
  Slot& s = slots_[slot];
  s.stops_for.reset();
  if (owner() == slot && lasts > kOutlivedAsOwner) note_losses(slot);
  note_trouble(lasts);
  s.node->pause();
  later(lasts, [this, slot, life = s.life] {
    const Slot& woken = slots_[slot];
    if (woken.node == nullptr || woken.life != life) return;
    if (woken.is_owner && owner() && *owner() != slot) result_.probes.hit(Probe::woke_after_takeover);
    woken.node->resume();
    succession_.is_back(slot);
    for (const Network n : {front, back}) woken.node->port(n).hold(false);
  });
}

}  // namespace understudy::sim
