// Planned hand-over of a group between two nodes that both live. The owner stops, writes what has changed,
// soft state and a release into its log, and passes on what still arrives; who has applied all of it claims,
// and the former owner's legs become its mirror. (handover.h is about frames between workers of one node.)
#include <algorithm>
#include <cstring>

#include "dataplane/worker/worker.h"

namespace understudy::worker {
namespace {

// Late frames come as long as switches and neighbours have not learned: until none has come for this long,
// and no longer than that in all.
constexpr Duration kPassAfterLast = 100ms;
constexpr Duration kPassMost = 2s;
// What was passed on to us waits this long for the group to become ours.
constexpr Duration kHoldMost = 200ms;
constexpr size_t kHeldMost = 1024;
// What reaches the new owner directly waits this long for what was sent before it and comes by way of the
// former one: a sender takes what is overtaken for lost.
constexpr Duration kSettle = 300us;
// In each interval a standby looks at so many slots, and asks for so many neighbours at most.
constexpr uint32_t kWarmSlots = 4096;
constexpr uint32_t kWarmQuestions = 32;

FlowKey key_of(const wire::TcpSegment& segment) {
  return {segment.destination, segment.source, segment.destination_port, segment.source_port};
}

}  // namespace

// ---- giving

void Worker::begin_hand_over(tcp::GroupIndex group, const Command& command, Instant now) {
  const GroupMirror& mirror = mirrors_[group];
  const bool synced =
      !mirror.logs.empty() && !mirror.drop_asked && std::ranges::all_of(mirror.logs, [](const auto& log) {
        return log->state() == mirror::OwnerLog::State::synced;
      });
  if (!synced || mirror.standby.node != command.node || !engine_.group(group).voice)
    return refuse_hand_over(group);
  engine_.give_up(group);
  if (engine_.current_of(group) == group) resolver_.pass_on(addresses_of(group));
  hand_overs_[group] = {.phase = HandOver::Phase::stopped,
                        .to = command.node,
                        .workers = mirror.standby.workers,
                        .leaves = command.flag,
                        .last_late = now,
                        .over = kNever};
  ++passing_;
}

void Worker::refuse_hand_over(tcp::GroupIndex group) {
  Report refusal;
  refusal.kind = Report::Kind::hand_over_refused;
  refusal.group = engine_.group(group).id;
  report(refusal);
}

// Legs of a group that was stopped change no more, but what has changed must still be written.
bool Worker::is_changing(tcp::GroupIndex group) {
  return std::ranges::any_of(engine_.log_pending(), [&](uint32_t leg) {
    return engine_.legs().is_live(leg) && engine_.legs()[leg].group == group;
  });
}

void Worker::continue_hand_overs(Instant now) {
  if (passing_ == 0) return;
  for (tcp::GroupIndex group = 0; group < hand_overs_.size(); ++group) {
    HandOver& hand_over = hand_overs_[group];
    const bool is_open =
        hand_over.phase == HandOver::Phase::stopped || hand_over.phase == HandOver::Phase::released;
    if (is_open && mirrors_[group].logs.empty()) {  // the standby was lost meanwhile
      end_hand_over(group);
      refuse_hand_over(group);
    } else if (hand_over.phase == HandOver::Phase::stopped && !is_changing(group)) {
      if (write_last_words(group, hand_over, now)) hand_over.phase = HandOver::Phase::released;
    } else if (hand_over.phase == HandOver::Phase::mirrors &&
               (now - hand_over.last_late >= kPassAfterLast || now >= hand_over.over)) {
      end_hand_over(group);
    }
  }
}

// Soft state of every leg that has some, then the release, in every stream. False: no room now, go on in the
// next round.
bool Worker::write_last_words(tcp::GroupIndex group, HandOver& hand_over, Instant now) {
  for (; hand_over.next_active < engine_.active_capacity(); ++hand_over.next_active) {
    const uint32_t leg = engine_.active_leg(hand_over.next_active);
    if (leg == tcp::kNone || engine_.legs()[leg].group != group) continue;
    mirror::OwnerLog* log = log_for(group, engine_.legs()[leg].shard);
    if (log != nullptr && !log->write_soft(leg, now)) return false;
  }
  const auto& logs = mirrors_[group].logs;
  for (; hand_over.releases < logs.size(); ++hand_over.releases)
    if (!logs[hand_over.releases]->write_release(group, hand_over.leaves, now)) return false;
  return true;
}

// The heir has claimed. Once, whoever says so first: its stream, or control.
void Worker::become_mirror(tcp::GroupIndex group, const Epoch& epoch, Instant now) {
  HandOver& hand_over = hand_overs_[group];
  if (hand_over.phase == HandOver::Phase::mirrors) return;
  hand_over.phase = HandOver::Phase::mirrors;
  hand_over.last_late = now;
  hand_over.over = now + kPassMost;
  close_streams(group, now);
  follow(group, epoch);
  engine_.lie_down(group);
  for (uint16_t worker = 0; worker < hand_over.workers; ++worker)
    incoming_from(group, worker).replica->inherit(group, worker, hand_over.workers);
  publish_status();
}

void Worker::end_hand_over(tcp::GroupIndex group) {
  if (hand_overs_[group].phase == HandOver::Phase::none) return;
  hand_overs_[group] = HandOver();
  --passing_;
  release_addresses(group);
}

// Nobody took it, or nobody replaced us while we were silent.
void Worker::take_group_back(tcp::GroupIndex group, Instant now) {
  GroupMirror& mirror = mirrors_[group];
  const bool lay_down = hand_overs_[group].phase == HandOver::Phase::mirrors;
  end_hand_over(group);
  if (lay_down) {
    for (IncomingStream& stream : mirror.incoming)
      if (stream.replica != nullptr) stream.replica->release(group);
    mirror.incoming.clear();
    mirror.epoch = engine_.group(group).epoch;
    engine_.take_over(group, mirror.epoch, now, settings_.reset_hold);
  } else {
    engine_.speak_again(group);
  }
  claim_addresses(group, now);
}

// Passed on as it came, over the peer network, to the peer's own MAC. A frame that came that way is not
// passed a second time.
bool Worker::pass_on(rte_mbuf* frame, const wire::TcpSegment& segment, const wire::EthernetHeader& ethernet,
                     Instant now) {
  if (passing_ == 0) return false;
  // Of a pair, strangers are for the group that takes new connections, wherever it is.
  int group = group_of(segment);
  if (group >= 0 && engine_.legs().find(key_of(segment)) == tcp::kNone)
    group = engine_.current_of(static_cast<tcp::GroupIndex>(group));
  if (group < 0 || static_cast<size_t>(group) >= hand_overs_.size()) return false;
  HandOver& hand_over = hand_overs_[static_cast<size_t>(group)];
  if (hand_over.phase == HandOver::Phase::none || now >= hand_over.over) return false;
  const PeerNode& heir = *peer_of(hand_over.to);
  if (heir.workers == 0 || MacAddress(ethernet.source) == heir.mac) return false;
  if (!pass_to(heir, frame)) return false;
  hand_over.last_late = now;
  return true;
}

// The group of its connection, or the one that answers here for its destination.
int Worker::group_of(const wire::TcpSegment& segment) const {
  const uint32_t leg =
      has_pairs_ && (passing_ > 0 || is_split()) ? engine_.legs().find(key_of(segment)) : tcp::kNone;
  return leg != tcp::kNone ? engine_.legs()[leg].group : engine_.find_group(segment.destination);
}

// ---- receiving

// Whom the mirrored legs speak to, their standby must know when its turn comes: a burst would wait for the
// first answer, and most of it be lost.
void Worker::warm_neighbours(Instant now) {
  const tcp::ConnectionTable& legs = engine_.legs();
  uint32_t questions = kWarmQuestions;
  for (uint32_t slots = std::min(kWarmSlots, legs.capacity()); slots > 0 && questions > 0; --slots) {
    warm_next_ = warm_next_ + 1 >= legs.capacity() ? 0 : warm_next_ + 1;
    if (!legs.is_live(warm_next_) || engine_.group(legs[warm_next_].group).voice) continue;
    if (!tcp::is_synchronised(legs[warm_next_].state))
      continue;  // a stranger, as long as nobody has answered
    const FlowKey& key = legs[warm_next_].key;
    if (resolver_.warm(key.local, key.remote, now)) --questions;
  }
}

// All that the owner's workers had for us, up to their last word.
bool Worker::is_released(tcp::GroupIndex group) const {
  const GroupMirror& mirror = mirrors_[group];
  const PeerNode* owner = peer_of(mirror.epoch.node);
  if (owner == nullptr || owner->workers == 0 || mirror.incoming.size() < owner->workers) return false;
  return std::ranges::all_of(mirror.incoming, [&](const IncomingStream& stream) {
    return stream.replica != nullptr && stream.replica->is_released(group);
  });
}

void Worker::tell_released(tcp::GroupIndex group) {
  const char released = is_released(group) ? 1 : 0;
  if (std::exchange(told_released_[group], released) == released) return;
  Report r;
  r.kind = Report::Kind::handed;
  r.group = engine_.group(group).id;
  r.flag = released != 0;
  r.when = now_;
  report(r);
}

// The legs wake as they stood at the owner, and it becomes our standby without a snapshot: it is told to be
// before control says so, for what happens in between must be mirrored as well. Unless it has a new life that
// knows nothing of them, or control has named another one already: workers that are not the first hear of the
// promotion last.
void Worker::receive_group(tcp::GroupIndex group, Epoch epoch, Instant now) {
  GroupMirror& mirror = mirrors_[group];
  const PeerNode giver = *peer_of(mirror.epoch.node);
  const BootId gave = mirror.incoming.front().channel->from_boot();
  engine_.receive_hand_over(group, epoch, now, settings_.reset_hold);
  bool leaves = false;
  for (IncomingStream& stream : mirror.incoming) {
    leaves = leaves || stream.replica->owner_leaves();
    stream.replica->receive_hand_over(group, now);
  }
  mirror.incoming.clear();
  mirror.epoch = epoch;
  told_released_[group] = 0;
  close_streams(group, now);
  const bool is_other_named = mirror.standby.workers != 0 && mirror.standby != giver;
  const bool inherits = giver.boot == gave && !is_other_named;
  if (inherits) mirror.standby = giver;
  mirror.open_at = now;
  mirror.settles_until = now + kSettle;
  if (leaves) leaving_boot_ = gave;
  using Beginning = mirror::OwnerLog::Beginning;
  open_streams(group, now, inherits ? Beginning::inherited : Beginning::anew);
}

// What the owner passes on may be here before its release is; what comes directly, before what is passed on.
bool Worker::hold(uint16_t port, rte_mbuf* frame, const wire::TcpSegment& segment,
                  const wire::EthernetHeader& ethernet, Instant now) {
  const int index = group_of(segment);
  if (index < 0 || static_cast<size_t>(index) >= mirrors_.size() || held_.size() >= kHeldMost) return false;
  const auto group = static_cast<tcp::GroupIndex>(index);
  const GroupMirror& mirror = mirrors_[group];
  const auto came_from = [&](const PeerNode* node) {
    return port == peer_port_ && node != nullptr && MacAddress(ethernet.source) == node->mac;
  };
  const bool waits = engine_.group(group).voice ? now < mirror.settles_until && !came_from(&mirror.standby)
                                                : came_from(peer_of(mirror.epoch.node));
  if (waits) held_.push_back({frame, now});
  return waits;
}

Instant Worker::held_until() const {
  Instant until = held_.front().since + kHoldMost;
  for (const GroupMirror& mirror : mirrors_)
    if (mirror.settles_until > now_) until = std::min(until, mirror.settles_until);
  return until;
}

void Worker::settle_held(Instant now) {
  const bool settles =
      std::ranges::any_of(mirrors_, [&](const GroupMirror& mirror) { return now < mirror.settles_until; });
  if (settles) return;
  const bool came_to_us = std::ranges::any_of(mirrors_, [&](const GroupMirror& mirror) {
    return mirror.settles_until != Instant{} && held_.front().since <= mirror.settles_until;
  });
  if (came_to_us)
    take_held(now);
  else
    forget_held(now);
}

void Worker::take_held(Instant now) {
  std::vector<HeldFrame> held;
  held.swap(held_);
  for (const HeldFrame& each : held) {
    const wire::ParsedFrame parsed = wire::parse_frame(each.frame);
    engine_.receive(each.frame, std::get<wire::TcpSegment>(parsed), now);
  }
}

void Worker::forget_held(Instant now) {
  const auto is_old = [&](const HeldFrame& each) { return now - each.since >= kHoldMost; };
  for (const HeldFrame& each : held_) {
    if (!is_old(each)) continue;
    drops_.count(DropReason::tcp_group_not_owned);
    rte_pktmbuf_free(each.frame);
  }
  std::erase_if(held_, is_old);
}

}  // namespace understudy::worker
