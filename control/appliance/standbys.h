#pragma once

#include <map>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "control/appliance/worker_set.h"
#include "control/cluster/controller.h"
#include "dataplane/mirror/heartbeat.h"

namespace understudy::appliance {

// To whom workers mirror: the nodes on the peer network, the orders that name one of them as a group's
// standby, and what others say about copies that this node holds. Control thread only.
class Standbys {
 public:
  // `workers` outlives this.
  Standbys(NodeId self, WorkerSet& workers) : self_(self), workers_(workers) {}

  // Heard from another node, on the peer network.
  void on_peer_heartbeat(const mirror::Heartbeat& beat, const MacAddress& mac);
  // Heard from anybody, on any link: an owner has dropped copies of ours. True when that is news.
  bool note_dropped(const mirror::Heartbeat& beat);
  // Tells workers which nodes can be reached. Gives those for which that has changed: for groups whose
  // standby one of them is, begin_change() follows.
  std::vector<NodeId> watch_peers(std::span<const cluster::PeerSnapshot> peers);

  void order(GroupId group, NodeId standby);
  // What waits for the standby that workers had is acknowledged when they hear of another one: not before it
  // is clear to everybody that this one is out of date. From here to let_go() the group has no standby to
  // speak of.
  void begin_change(GroupId group) { changing_.insert(group); }
  bool changing(GroupId group) const { return changing_.contains(group); }
  // The former standby counts no more: workers may go on, with `next` if it was to be changed for that one.
  void let_go(GroupId group, NodeId next);
  // How often workers were told of a standby of the group.
  uint32_t orders(GroupId group) const;
  // How often they were told of dropped copies of the group.
  uint32_t stale_orders(GroupId group) const;

 private:
  struct Peer {
    BootId boot;
    uint16_t workers = 0;
    MacAddress mac;
    bool up = false;
  };
  NodeId self_;
  WorkerSet& workers_;
  std::map<NodeId, Peer> peers_;
  std::set<GroupId> changing_;
  std::map<GroupId, uint32_t> orders_;
  std::map<GroupId, uint32_t> stale_orders_;
  // Streams to us that their owner has dropped: (group, owner, its worker) -> generation.
  std::map<std::tuple<GroupId, NodeId, uint16_t>, uint32_t> told_stale_;
};

}  // namespace understudy::appliance
