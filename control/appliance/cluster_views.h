#pragma once

#include <string>
#include <vector>

#include "control/appliance/node_control.h"
#include "control/console/views.h"

namespace understudy::appliance {

// What the console shows of the cluster, from the control half of a node alone: `show cluster` (without the
// workers' streams and stalls), `show events`, `explain group` and `show receipts`. One vocabulary: whatever
// one of them says of a state, a reason or a takeover, the others say in the same words. The caller holds
// what guards the control.
console::ClusterView cluster_view(const NodeControl& control, const config::Config& config,
                                  const config::NodeConfig& node, BootId boot, Instant now);
std::vector<console::EventView> event_views(const NodeControl& control, Instant now);
// Nothing when there is no such group.
std::optional<console::GroupStoryView> group_story(const NodeControl& control, const config::Config& config,
                                                   const std::string& group, Instant now);

}  // namespace understudy::appliance
