#pragma once

#include <optional>
#include <vector>

#include "common/strong.h"

namespace understudy::cluster {

// Another node, as the owner of a group sees it when it looks for a standby.
struct StandbyCandidate {
  NodeId node;
  bool alive = false;      // heard on some link
  bool follows = false;    // says that it is a standby of the group: it has learnt who owns it
  bool reachable = false;  // heard on the network that carries the mirror
};

// To whom the owner of a group mirrors it. `order` is the group's order of successors; `current` the standby
// so far (zero: none), `avoided` one that has just confirmed nothing for too long (zero: none).
//
// A standby that can do its work stays, also when a better-placed one returns: changing it would leave every
// connection unprotected for the time of a snapshot. Otherwise the first in order that follows the owner and
// is reachable; failing that, one that is alive at least. Zero: nobody is.
NodeId choose_standby(const std::vector<NodeId>& order, NodeId self, NodeId current, NodeId avoided,
                      const std::vector<StandbyCandidate>& candidates);

}  // namespace understudy::cluster
