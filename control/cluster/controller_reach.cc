#include <algorithm>

#include <fmt/format.h>

#include "control/cluster/controller.h"

// The part of the controller that compares networks: an owner that has lost one over which its standby still
// hears others is of less use than that standby; and one that reaches nobody, or whose workers do nothing, is
// of none.

namespace understudy::cluster {
namespace {

// So long a difference lasts before it counts, in terms of dead_after: longer than nodes take to notice the
// same loss one after the other.
constexpr int kHold = 3;
// One hand-over for one loss: whatever the other networks do next, nobody gives the group to and fro.
constexpr Duration kYieldAgainAfter = 10s;
// An owner that reaches nobody but etcd, and has found that nobody takes the group.
constexpr Duration kLetGoAgainAfter = 10s;

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

// Does somebody say that it hears us as the group's owner?
bool Controller::is_echoed(GroupId id, const Group& group, Instant now) const {
  const Instant awake = clock_.awake(now);
  return std::ranges::any_of(peers_, [&](const auto& entry) {
    const auto says = entry.second.groups.find(id);
    return says != entry.second.groups.end() && says->second.echoed == group.machine->epoch() &&
           says->second.echoed_at && awake - *says->second.echoed_at < 3 * settings_.interval;
  });
}

// Where the lease does not come from the other nodes, an owner that is cut off from all of them, clients and
// backends would keep it. When nobody echoes it, gateways and backends are asked; if none of them answers
// either, it is silent and lets go, and its standby, which is not taken out of the in-sync set meanwhile,
// goes on with the connections. If nobody takes it, nobody is better off, and it is owner again. Then, and
// when somebody has answered, it goes on asking: who answers may be out of reach later, and who takes it may
// come later.
void Controller::watch_company(GroupId id, Group& group, Instant now, Actions& actions) {
  const bool has_another = group.machine->settings().successors.size() > 1;
  if (settings_.arbiter != config::Arbiter::etcd || !settings_.has_witnesses || !has_another) return;
  const GroupState state = group.machine->state();
  const bool was_away = now < clock_.grace_ends() && group.doubt && group.doubt->is_open();
  if (is_standby(state) || was_away || is_echoed(id, group, now)) group.doubt.reset();
  if (!is_owner(state) || now < clock_.grace_ends() || is_echoed(id, group, now)) return;
  if (!group.doubt) group.doubt = Doubt{now, now};
  Doubt& doubt = *group.doubt;
  if (!doubt.is_open() && now >= doubt.ask_again)
    doubt = Doubt{.since = now, .next_probe = now, .is_first = false};
  if (!doubt.is_open()) return;
  // Later nobody is in sync any more: what is open would be lost, and waits for as long as it would
  // elsewhere.
  const Duration patience = doubt.is_first ? settings_.dead_after : settings_.cold_takeover_after;
  if (now - doubt.since < patience) {
    if (now < doubt.next_probe) return;
    doubt.next_probe = now + settings_.interval;
    actions.push_back(ProbeWitnesses{id});
    return;
  }
  doubt.answer = Doubt::Answer::none;
  doubt.ask_again = now + kLetGoAgainAfter;
  let_go(group, "no other node hears this one, and no gateway and no backend answers it", now, actions);
}

void Controller::let_go(Group& group, std::string why, Instant now, Actions& actions) {
  FailoverInput input;
  input.event = FailoverEvent::cut_off;
  input.now = now;
  input.why = std::move(why);
  feed(group, input, actions);
}

// Is there somebody to go on? One in sync, if we have one.
bool Controller::is_followed(GroupId id, const Group& group, Instant now) const {
  const GroupState state = group.machine->state();
  const bool needs_synced = state == GroupState::owner_protected;
  // Who is still claiming may have been given it by somebody who has silenced himself.
  const bool may_be_fenced = state == GroupState::claiming;
  return std::ranges::any_of(peers_, [&](const auto& entry) {
    const auto says = entry.second.groups.find(id);
    return says != entry.second.groups.end() &&
           (says->second.role == mirror::GroupRole::standby ||
            (may_be_fenced && says->second.role == mirror::GroupRole::fenced)) &&
           (!needs_synced || entry.first == group.standby) && is_alive(entry.second, now);
  });
}

// A lease that control renews says nothing of workers: etcd is asked by control, and heartbeats are one
// worker's. As long as one of them hangs its connections are served by nobody, and a successor is refused.
// Those of an owner without a synced standby, or of one that is still claiming, would be lost: they wait for
// as long as those of one that is silent do.
void Controller::watch_hang(GroupId id, Group& group, Instant now, Actions& actions) {
  const GroupState state = group.machine->state();
  if (arbiter_ == nullptr || (!is_owner(state) && state != GroupState::claiming)) return;
  const auto hang = longest_hang(now);
  const bool is_safe = state == GroupState::owner_protected;
  if (!hang || (!is_safe && hang->lasts < settings_.cold_takeover_after)) return;
  if (!is_followed(id, group, now)) return;
  let_go(
      group,
      fmt::format("worker {} of this node has made no progress for {} ms", hang->worker, to_ms(hang->lasts)),
      now, actions);
}

}  // namespace understudy::cluster
