#include "control/cluster/membership.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::cluster {
namespace {
constexpr size_t kBuriedMax = 8;
}

Membership::Membership(Self self, const std::vector<NodeId>& others, size_t links)
    : self_(std::move(self)), links_(links) {
  for (const NodeId node : others)
    if (node != self_.node) peers_[node].links.resize(links);
}

Sighting Membership::heard(NodeId node, BootId boot, LinkId link, const MacAddress& from, Instant now) {
  if (node == self_.node) {
    if (boot == self_.boot) return Sighting::reflection;
    return heard_own_id(boot, link, from, now);
  }
  const auto found = peers_.find(node);
  if (found == peers_.end() || link.value() >= links_) return Sighting::stranger;
  Peer& peer = found->second;
  if (std::find(peer.buried.begin(), peer.buried.end(), boot) != peer.buried.end()) return Sighting::buried;
  const bool reborn = peer.last_heard && peer.boot != boot;
  if (reborn) {
    peer.buried.push_back(peer.boot);
    if (peer.buried.size() > kBuriedMax) peer.buried.erase(peer.buried.begin());
    ++peer.reboots;
    for (Link& each : peer.links) each = Link();
  }
  peer.boot = boot;
  peer.last_heard = now;
  Link& heard_on = peer.links[link.value()];
  heard_on.last_heard = now;
  heard_on.mac = from;
  ++heard_on.frames;
  return reborn ? Sighting::reborn : Sighting::peer;
}

Sighting Membership::heard_own_id(BootId boot, LinkId link, const MacAddress& from, Instant now) {
  // One late frame of our own previous incarnation may still be under way; a living machine sends again.
  if (!other_self_first_ || other_self_ != boot) {
    other_self_ = boot;
    other_self_first_ = now;
    return Sighting::own_id;
  }
  if (now - *other_self_first_ < self_.interval) return Sighting::own_id;
  const std::string own = link.value() < self_.macs.size() ? self_.macs[link.value()].to_string() : "?";
  duplicate_ = fmt::format(
      "node id {} is used by two machines: this one (MAC {}, boot {:016x}) and one at MAC {} (boot {:016x}); "
      "start one of them with another --node",
      self_.node.value(), own, self_.boot.value(), from.to_string(), boot.value());
  return Sighting::duplicate;
}

const Membership::Peer* Membership::find(NodeId node) const {
  const auto found = peers_.find(node);
  return found == peers_.end() ? nullptr : &found->second;
}

}  // namespace understudy::cluster
