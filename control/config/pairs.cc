#include <algorithm>

#include <fmt/format.h>

#include "control/config/sections.h"

namespace understudy::config {

std::string spare_name(const std::string& group) {
  return group + "/2";
}

// After all that the file configures, so that a position there keeps its meaning; ids that no group has, the
// same on every node.
void add_spares(Config& config) {
  const size_t configured = config.groups.size();
  uint16_t next = 1;
  for (const GroupConfig& group : config.groups)
    next = std::max(next, static_cast<uint16_t>(group.id.value() + 1U));
  const auto is_taken = [&config](GroupId id) {
    return id == GroupId() || std::ranges::find(config.groups, id, &GroupConfig::id) != config.groups.end();
  };
  for (size_t i = 0; i < configured; ++i) {
    if (config.groups[i].failback != Failback::new_connections) continue;
    while (is_taken(GroupId(next))) ++next;
    GroupConfig spare = config.groups[i];
    spare.id = GroupId(next);
    spare.name = spare_name(config.groups[i].name);
    spare.is_spare = true;
    spare.twin = config.groups[i].id;
    spare.services.clear();
    config.groups[i].twin = spare.id;
    config.groups.push_back(std::move(spare));
  }
}

void check_number_of_groups(Reading& reading, const Config& config) {
  size_t pairs = 0;
  for (const GroupConfig& group : config.groups) pairs += group.failback == Failback::new_connections;
  if (config.groups.size() + pairs <= kGroupsMax) return;
  reading.faults.add(
      reading.places.at(fmt::format("groups[{}]", config.groups.size() - 1)),
      fmt::format("there are {} groups, of which {} count twice (failback: new_connections); a "
                  "heartbeat carries {}: put services together in fewer groups",
                  config.groups.size(), pairs, kGroupsMax));
}

}  // namespace understudy::config
