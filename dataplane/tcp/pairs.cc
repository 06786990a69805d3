// Two groups with the same addresses and services. Connections are in one or the other, and each has an owner
// of its own; new ones go to the current one.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

void Engine::pair(GroupIndex group, GroupIndex spare) {
  groups_[group].twin = spare;
  groups_[spare].twin = group;
  groups_[spare].is_spare = true;
}

GroupIndex Engine::current_of(GroupIndex index) const {
  const Group& group = groups_[index];
  if (!group.twin) return index;
  const uint32_t other = groups_[*group.twin].era;
  const bool is_current = group.era > other || (group.era == other && !group.is_spare);
  return is_current ? index : *group.twin;
}

int Engine::find_group(const IpAddress& address) const {
  for (const Address& known : addresses_) {
    if (known.address != address) continue;
    const GroupIndex current = current_of(known.group);
    const auto& twin = groups_[current].twin;
    return twin && !groups_[current].voice && groups_[*twin].voice ? *twin : current;
  }
  return -1;
}

// Late segments for what either has brought here must not be answered with a reset.
Instant Engine::reset_hold_until(const Group& group) const {
  return group.twin ? std::max(group.reset_hold_until, groups_[*group.twin].reset_hold_until)
                    : group.reset_hold_until;
}

}  // namespace understudy::tcp
