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

Sighting Membership::heard(NodeId node, BootId boot, LinkId link, const MacAddress& from, Instant now,
                           Attention attention) {
  if (node == self_.node) {
    if (boot == self_.boot) return Sighting::reflection;
    return heard_own_id(boot, link, from, now);
  }
  const auto found = peers_.find(node);
  if (found == peers_.end() || link.value() >= links_) return Sighting::stranger;
  Peer& peer = found->second;
  const bool other_boot = peer.last_heard && peer.boot != boot;
  if (other_boot) {
    const Sighting sighting = heard_other_boot(peer, boot, from, now, attention);
    if (sighting != Sighting::reborn) return sighting;
  }
  peer.boot = boot;
  peer.last_heard = now;
  Link& heard_on = peer.links[link.value()];
  heard_on.last_heard = now;
  heard_on.mac = from;
  ++heard_on.frames;
  return other_boot ? Sighting::reborn : Sighting::peer;
}

// A node that died and came back was silent in between; if it was not, somebody else has taken its name, and
// must not make us believe that a healthy owner is gone.
Sighting Membership::heard_other_boot(Peer& peer, BootId boot, const MacAddress& from, Instant now,
                                      Attention attention) {
  const bool speaks = now - *peer.last_heard < self_.dead_after;
  const auto grave = std::find(peer.buried.begin(), peer.buried.end(), boot);
  if (grave != peer.buried.end()) {
    if (speaks || attention == Attention::just_back) return Sighting::buried;
    peer.buried.erase(grave);  // an impostor had its name, and is gone
  } else if (speaks && attention == Attention::constant) {
    if (!peer.contender_since || peer.contender != boot) peer.contender_since = now;
    peer.contender = boot;
    peer.contender_mac = from;
    return Sighting::contender;
  }
  peer.buried.push_back(peer.boot);
  if (peer.buried.size() > kBuriedMax) peer.buried.erase(peer.buried.begin());
  ++peer.reboots;
  peer.contender_since.reset();
  for (Link& each : peer.links) each = Link();
  return Sighting::reborn;
}

std::string Membership::contested(NodeId node, Instant now) const {
  const Peer* peer = find(node);
  if (peer == nullptr || !peer->contender_since || now - *peer->contender_since < self_.dead_after) return {};
  // Heard again well after the other one appeared: it was not just its last word.
  if (*peer->last_heard - *peer->contender_since < self_.dead_after) return {};
  MacAddress mac;
  for (const Link& link : peer->links)
    if (link.last_heard == peer->last_heard) mac = link.mac;
  return fmt::format(
      "node id {} is used by two machines: MAC {} (boot {:016x}) and MAC {} (boot {:016x}); start one of "
      "them with "
      "another --node",
      node.value(), mac.to_string(), peer->boot.value(), peer->contender_mac.to_string(),
      peer->contender.value());
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
