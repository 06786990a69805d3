#include <algorithm>

#include <fmt/format.h>

#include "control/cluster/controller.h"

// The part of the controller that compares networks: an owner that has lost one over which its standby still
// hears others is of less use than that standby.

namespace understudy::cluster {
namespace {

// So long a difference lasts before it counts, in terms of dead_after: longer than nodes take to notice the
// same loss one after the other.
constexpr int kHold = 3;
// One hand-over for one loss: whatever the other networks do next, nobody gives the group to and fro.
constexpr Duration kYieldAgainAfter = 10s;

}  // namespace

bool is_worse(const Reach& one, const Reach& other) {
  return one != other && one.front <= other.front && one.back <= other.back;
}

// Of the others that live, the share that is heard on each network. Who has no port there, or hears nobody at
// all, has lost nothing that could be compared.
Reach Controller::reach(Instant now) const {
  const Instant awake = clock_.awake(now);
  const auto share = [&](bool LinkSettings::*role) -> uint8_t {
    size_t alive = 0, heard = 0;
    const bool has_port = std::ranges::any_of(settings_.links, role);
    for (const auto& [node, peer] : peers_) {
      if (!is_alive(peer, now)) continue;
      ++alive;
      bool hears = false;
      for (size_t i = 0; i < peer.links.size(); ++i)
        hears |= settings_.links[i].*role && peer.links[i].heard_at &&
                 awake - *peer.links[i].heard_at < 2 * settings_.dead_after;
      heard += hears;
    }
    return alive == 0 || !has_port ? uint8_t{100} : static_cast<uint8_t>(100 * heard / alive);
  };
  return {share(&LinkSettings::front), share(&LinkSettings::back)};
}

// As owner with a synced standby. One that has none keeps the group: a bad network is better than no
// connection.
void Controller::watch_reach(GroupId id, Group& group, Instant now, Actions& actions) {
  const auto to = now < clock_.grace_ends() ? std::nullopt : heir(id, now);
  if (!to) {
    group.worse_since.reset();
    return;
  }
  const Reach own = reach(now), theirs = peers_.at(*to).reach;
  if (!is_worse(own, theirs)) {
    group.worse_since.reset();
    return;
  }
  if (!group.worse_since) group.worse_since = now;
  if (now - *group.worse_since < kHold * settings_.dead_after || now < group.yield_not_before) return;
  group.yield_not_before = now + kYieldAgainAfter;
  actions.push_back(Event{
      LogLevel::warning,
      fmt::format("group {}: this node hears {} % of the others on the front network and {} % on the back "
                  "network, {} {} % and {} %: handing over",
                  group.machine->settings().name, own.front, own.back, name_of_node(*to), theirs.front,
                  theirs.back)});
  feed_with_heir(id, group, FailoverEvent::yield, now, actions);
}

}  // namespace understudy::cluster
