#include "control/appliance/cluster_views.h"

#include <algorithm>

namespace understudy::appliance {
namespace {

console::StandbyState standby_state(cluster::Readiness readiness) {
  switch (readiness) {
    case cluster::Readiness::none:
      return console::StandbyState::none;
    case cluster::Readiness::syncing:
      return console::StandbyState::syncing;
    case cluster::Readiness::synced:
      return console::StandbyState::synced;
    case cluster::Readiness::stale:
      return console::StandbyState::stale;
  }
  return console::StandbyState::none;
}

console::TakeoverView takeover_view(const cluster::Takeover& t, Instant now) {
  const cluster::TakeoverSplit parts = cluster::split(t);
  console::TakeoverView view;
  view.what = cluster::tell_what(t);
  view.from = t.from;
  view.from_name = t.from_name;
  view.epoch = t.epoch;
  view.why = t.why;
  view.ago = now - t.decided;
  view.detection = parts.detection;
  view.decision = parts.decision;
  view.claim = parts.claim;
  view.first_packet = parts.first_packet;
  for (const cluster::Evidence::Link& link : t.evidence.links) view.links.push_back({link.name, link.silent});
  view.owner_legs = t.evidence.legs;
  view.owner_unprotected = t.evidence.unprotected;
  view.legs_held = t.legs_held;
  view.legs_lost = t.legs_lost;
  view.handed = t.handed;
  view.cold = t.cold;
  view.signs_of_life = cluster::tell_signs_of_life(t);
  view.consent = cluster::tell_consent(t);
  view.holdings = cluster::tell_holdings(t);
  view.losses = cluster::tell_losses(t);
  return view;
}

console::GroupView group_view(const NodeControl& control, const config::GroupConfig& config, size_t index,
                              const cluster::GroupSnapshot& snapshot, Instant now) {
  console::GroupView view;
  view.id = config.id;
  view.name = snapshot.name;
  view.state = std::string(cluster::name_of(snapshot.state));
  view.in_state = snapshot.in_state;
  view.why = snapshot.why;
  view.epoch = snapshot.epoch;
  view.owner = snapshot.owner;
  view.standby_state = standby_state(snapshot.mirror.readiness);
  view.standby = snapshot.standby;
  const uint64_t legs = control.legs(index);
  view.unprotected_legs = control.unprotected(index);
  view.protected_legs = legs - std::min(legs, view.unprotected_legs);
  view.virtual_ips = config.virtual_ips;
  view.arp_policy = config.arp == config::ArpPolicy::virtual_mac ? "virtual_mac" : "gratuitous";
  view.mac = config.mac;
  if (snapshot.takeovers != nullptr && !snapshot.takeovers->empty())
    view.last_takeover = takeover_view(snapshot.takeovers->back(), now);
  view.takeovers = snapshot.takeovers_total;
  view.connections_lost = snapshot.legs_lost_total;
  return view;
}

}  // namespace

console::ClusterView cluster_view(const NodeControl& control, const config::Config& config,
                                  const config::NodeConfig& node, BootId boot, Instant now) {
  console::ClusterView view;
  view.cluster = config.cluster.name;
  view.node = node.name;
  view.id = node.id;
  view.boot = boot;
  for (const cluster::PeerSnapshot& peer : control.controller().peers(now)) {
    console::PeerView p;
    p.id = peer.node;
    p.name = peer.name;
    p.boot = peer.boot.value_or(BootId());
    p.state = !peer.boot ? "never heard" : peer.alive ? "alive" : "silent";
    for (const cluster::LinkSnapshot& link : peer.links) p.links.push_back({link.name, link.age});
    view.peers.push_back(std::move(p));
  }
  const auto groups = control.controller().groups(now);
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto snapshot = std::ranges::find(groups, config.groups[i].id, &cluster::GroupSnapshot::group);
    if (!snapshot->is_hidden) view.groups.push_back(group_view(control, config.groups[i], i, *snapshot, now));
  }
  return view;
}

std::vector<console::EventView> event_views(const NodeControl& control, Instant now) {
  std::vector<console::EventView> views;
  for (const NodeEvent& event : control.events())
    views.push_back({now - event.when, event.subject, event.sentence});
  return views;
}

std::optional<console::GroupStoryView> group_story(const NodeControl& control, const config::Config& config,
                                                   const std::string& group, Instant now) {
  const auto named = std::ranges::find(config.groups, group, &config::GroupConfig::name);
  if (named == config.groups.end()) return std::nullopt;
  // Of a pair, the one that goes by this name now.
  const GroupId id = control.controller().current_of(named->id);
  const auto found = std::ranges::find(config.groups, id, &config::GroupConfig::id);
  const auto index = static_cast<size_t>(found - config.groups.begin());
  const auto groups = control.controller().groups(now);
  const auto snapshot = std::ranges::find(groups, id, &cluster::GroupSnapshot::group);
  console::GroupStoryView story;
  story.group = group_view(control, *found, index, *snapshot, now);
  for (const cluster::Takeover& takeover : *snapshot->takeovers)
    story.takeovers.push_back(takeover_view(takeover, now));
  for (const cluster::Transition& t : *snapshot->history)
    story.transitions.push_back(
        {now - t.when, std::string(cluster::name_of(t.from)), std::string(cluster::name_of(t.to)), t.why});
  // Nodes, workers and ports concern every group; what begins with another group's name does not.
  for (console::EventView& event : event_views(control, now)) {
    const bool is_group = event.text.starts_with("group ");
    const bool is_ours =
        event.text.starts_with(fmt::format("group {}:", group)) ||
        (named->twin && event.text.starts_with(fmt::format("group {}:", config::spare_name(group))));
    if (event.subject != "health" && (is_ours || !is_group)) story.events.push_back(std::move(event));
  }
  return story;
}

}  // namespace understudy::appliance
