#include "control/cluster/standby_choice.h"

#include <algorithm>

namespace understudy::cluster {

NodeId choose_standby(const std::vector<NodeId>& order, NodeId self, NodeId current, NodeId avoided,
                      const std::vector<StandbyCandidate>& candidates) {
  const auto find = [&](NodeId node) -> const StandbyCandidate* {
    if (node == self || node == NodeId()) return nullptr;
    const auto found = std::ranges::find(candidates, node, &StandbyCandidate::node);
    return found == candidates.end() ? nullptr : &*found;
  };
  const auto is_alive = [&](NodeId node) {
    const StandbyCandidate* candidate = find(node);
    return candidate != nullptr && candidate->alive;
  };
  const auto is_ready = [&](NodeId node) {
    const StandbyCandidate* candidate = find(node);
    return candidate != nullptr && candidate->alive && candidate->follows && candidate->reachable;
  };
  const auto may_stay = [&](NodeId node) { return std::ranges::find(order, node) != order.end(); };
  const auto is_willing = [&](NodeId node) { return node != avoided && is_ready(node); };
  if (may_stay(current) && is_willing(current)) return current;
  if (const auto first = std::ranges::find_if(order, is_willing); first != order.end()) return *first;
  if (may_stay(current) && is_alive(current)) return current;
  if (const auto first = std::ranges::find_if(order, is_ready); first != order.end()) return *first;
  const auto any = std::ranges::find_if(order, is_alive);
  return any == order.end() ? NodeId() : *any;
}

}  // namespace understudy::cluster
