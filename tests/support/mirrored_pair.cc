#include "tests/support/mirrored_pair.h"

#include <algorithm>

#include "tests/support/mirrored_pair_node.h"

namespace understudy {

MirroredPair::MirroredPair(const Settings& settings)
    : settings_(settings), addresses_(settings), random_(settings.seed) {
  client_ = make_host(true);
  backend_ = make_host(false);
  nodes_.push_back(make_node());
  nodes_.push_back(make_node(settings.second_node_legs, settings.second_node_chunks));
  owner_ = nodes_[0].get();
  standby_ = nodes_[1].get();
  owner_->engine.take_over(0, Epoch{next_epoch_++, NodeId(1)}, now_, 0ms);
  if (settings_.mirrored_from_the_start) open_log();
}

MirroredPair::~MirroredPair() {
  for (; !in_flight_.empty(); in_flight_.pop()) rte_pktmbuf_free(in_flight_.top().mbuf);
  for (const Frame& frame : held_) rte_pktmbuf_free(frame.mbuf);
  // Engines do not give legs back in their destructor; pipes free their chunks themselves.
}

void MirroredPair::fault(const std::string& sentence) {
  if (faults_.size() < 5) faults_.push_back("event " + std::to_string(events_) + ": " + sentence);
}

void MirroredPair::open_log(mirror::OwnerLog::Beginning beginning) {
  Cluster& from = *owner_->cluster;
  Cluster& to = *standby_->cluster;
  mirror::ChannelAddress address{
      .cluster = kCluster, .self = NodeId(1), .self_boot = from.boot, .peer_boot = to.boot};
  to.receiver.set_address(
      {.cluster = kCluster, .self = NodeId(2), .self_boot = to.boot, .peer_boot = from.boot});
  owner_->log->open(address, 1, ++from.generation, now_, beginning);
}

void MirroredPair::restart_dead() {
  if (dead_ == nullptr) return;
  nodes_.push_back(make_node());
  standby_ = nodes_.back().get();
  dead_ = nullptr;
  open_log();
}

void MirroredPair::begin_sessions() {
  for (; begun_ < settings_.plans.size() && start_ + settings_.plans[begun_].start <= now_; ++begun_) {
    const auto port = kPorts[static_cast<size_t>(settings_.plans[begun_].service)];
    const FlowKey key{addresses_.client, addresses_.virtual_ip,
                      PortNumber(static_cast<uint16_t>(kFirstClientPort + begun_)), PortNumber(port)};
    tcp::Engine& engine = client_->engine;
    const uint32_t leg = engine.connect(0, key, engine.find_service(ServiceId(1)), now_);
    if (leg == tcp::kNone || !client_->conversation->begin(engine, leg, begun_))
      fault("the client has no room");
  }
}

// The end of a burst, as a worker does it.
void MirroredPair::settle_mirror(Node& node) {
  auto& pending = node.engine.log_pending();
  const std::vector<uint32_t> round(pending.begin(), pending.end());
  pending.clear();
  for (const uint32_t leg : round) {
    if (!node.engine.legs().is_live(leg) || !node.engine.legs()[leg].log_pending) continue;
    tcp::Connection& c = node.engine.legs()[leg];
    c.log_pending = false;
    const bool here = node.cluster == nullptr || node.log->state() == mirror::OwnerLog::State::closed;
    if (!here && (node.engine.group(0).voice || (&node == owner_ && handing_over_))) {
      if (!node.log->write(leg, now_)) node.engine.want_log(leg);
    } else if (node.engine.group(c.group).voice) {
      node.engine.commit_all(c);
      node.engine.want_output(leg);
    }
  }
  if (node.cluster != nullptr)
    for (const tcp::ClosedLeg& closed : node.engine.closed_legs()) node.log->write_close(closed.leg, now_);
  node.engine.closed_legs().clear();
  if (node.cluster == nullptr) return;
  node.log->snapshot(2, now_);
  node.log->flush(now_);
}

void MirroredPair::settle(Node& node) {
  node.engine.run_timers(now_);
  node.engine.sweep(now_, 4);
  node.engine.upkeep(now_, 4);
  if (node.conversation) node.conversation->pump(node.engine, now_);
  if (&node == owner_ && handing_over_) continue_hand_over();
  for (int round = 0; round < 4; ++round) {
    settle_mirror(node);
    node.engine.flush(now_);
    if (node.engine.log_pending().empty()) break;
  }
  if (node.cluster == nullptr) return;
  node.log->tick(now_);
  node.cluster->receiver.send_ack_if_due(node.cluster->replica.refused(), now_);
  const auto& channel = node.log->channel();
  if (channel.waiting_since() != kNever && channel.waiting_since() + settings_.standby_timeout < now_) {
    ++standby_drops_;
    node.log->drop(now_);
    // A standby learns by other ways that it has been dropped.
    standby_->cluster->replica.mark_stale();
    settle_mirror(node);
    node.engine.flush(now_);
  }
  check_leg_count(node);
  if (node.cluster->replica.drops().of(DropReason::mirror_differs) > 0 && !mirror_is_damaged_)
    fault("owner and standby do not agree on what is mirrored");
}

void MirroredPair::step() {
  ++events_;
  Instant next = in_flight_.empty() ? kNever : in_flight_.top().at;
  for (Node* node : {client_.get(), backend_.get(), owner_, standby_}) {
    if (!node->alive) continue;
    next = std::min(next, node->engine.next_deadline());
    if (node->cluster) next = std::min(next, node->log->next_deadline());
  }
  next = std::min({next, promote_at_, now_ + 50ms});
  if (begun_ < settings_.plans.size()) next = std::min(next, start_ + settings_.plans[begun_].start);
  now_ = std::max(now_ + 1us, next);
  begin_sessions();
  while (!in_flight_.empty() && in_flight_.top().at <= now_) {
    const Frame frame = in_flight_.top();
    in_flight_.pop();
    deliver(frame);
  }
  if (promote_at_ <= now_) promote();
  if (handing_over_ && owner_->alive && standby_->cluster->replica.is_released(0)) receive_hand_over();
  for (Node* node : {client_.get(), backend_.get(), owner_, standby_})
    if (node->alive) settle(*node);
}

bool MirroredPair::run_until(const std::function<bool()>& until, Duration limit) {
  const Instant end = now_ + limit;
  while (!until()) {
    if (now_ >= end) return false;
    step();
  }
  return true;
}

void MirroredPair::crash_owner(InFlight fate) {
  handing_over_ = false;
  for (const Frame& frame : held_) rte_pktmbuf_free(frame.mbuf);
  held_.clear();
  owner_->alive = false;
  dead_ = owner_;
  promote_at_ = now_ + settings_.detection;
  std::vector<Frame> kept;
  for (; !in_flight_.empty(); in_flight_.pop()) {
    const Frame& frame = in_flight_.top();
    const bool stays = frame.from != dead_ || fate == InFlight::arrives ||
                       (fate == InFlight::by_chance && random_.chance(1, 2));
    if (stays)
      kept.push_back(frame);
    else
      rte_pktmbuf_free(frame.mbuf);
  }
  for (const Frame& frame : kept) in_flight_.push(frame);
}

bool MirroredPair::hand_over() {
  if (handing_over_ || !is_synced() || !owner_->alive) return false;
  handing_over_ = true;
  released_ = false;
  owner_->engine.give_up(0);
  return true;
}

// The old owner: everything that changed, then soft state, then the release.
void MirroredPair::continue_hand_over() {
  if (released_) return;
  settle_mirror(*owner_);
  if (!owner_->engine.log_pending().empty()) return;
  mirror::OwnerLog& log = *owner_->log;
  const auto& legs = owner_->engine.legs();
  for (uint32_t leg = 0; leg < legs.capacity(); ++leg)
    if (legs.is_live(leg) && !log.write_soft(leg, now_))
      return;  // the window of these tests takes them at once
  released_ = log.write_release(0, false, now_);
  log.flush(now_);
}

void MirroredPair::receive_hand_over() {
  handing_over_ = false;
  ++hand_overs_;
  Node& former = *owner_;
  owner_ = standby_;
  standby_ = &former;
  former.log->drop(now_);
  former.engine.lie_down(0);
  former.cluster->replica.inherit(0, 0, 1);
  Cluster& c = *owner_->cluster;
  c.receiver.close();
  const Epoch epoch{next_epoch_++, NodeId(2)};
  c.sources.salt(epoch, c.boot.value());
  owner_->engine.receive_hand_over(0, epoch, now_, 500ms);
  c.replica.receive_hand_over(0, now_);
  open_log(mirror::OwnerLog::Beginning::inherited);
  std::vector<Frame> held;
  held.swap(held_);
  for (const Frame& frame : held) deliver(frame);
}

uint64_t MirroredPair::repeated() const {
  uint64_t count = 0;
  for (Node* node : {client_.get(), backend_.get(), owner_, standby_})
    count += node->engine.counters().retransmitted + node->engine.counters().timeouts;
  return count;
}

void MirroredPair::promote() {
  promote_at_ = kNever;
  note_unprotected_sessions();
  owner_ = standby_;
  standby_ = dead_;
  Cluster& c = *owner_->cluster;
  c.receiver.close();
  c.replica.release(0);
  tcp::Group& group = owner_->engine.group(0);
  group.clock.advance_to(dead_->engine.group(0).clock.micros(now_) + 1'000'000, now_);
  const Epoch epoch{next_epoch_++, NodeId(2)};
  c.sources.salt(epoch, c.boot.value());
  owner_->engine.take_over(0, epoch, now_, settings_.reset_hold);
}

bool MirroredPair::is_synced() const {
  return owner_->log->state() == mirror::OwnerLog::State::synced &&
         standby_->cluster->replica.state() == mirror::Replica::State::synced;
}

void MirroredPair::lose_a_leg_at_standby() {
  mirror_is_damaged_ = true;
  mirror::CloseRecord close{};
  close.header = mirror::header_of(mirror::RecordKind::close, sizeof close);
  for (uint32_t leg = 0; leg < owner_->engine.legs().capacity(); ++leg) {
    if (!owner_->engine.legs().is_live(leg) || !owner_->engine.legs()[leg].mirrored) continue;
    close.leg = leg;
    standby_->cluster->replica.on_frame({reinterpret_cast<const uint8_t*>(&close), sizeof close}, nullptr,
                                        now_);
    return;
  }
}

uint32_t MirroredPair::legs_of_owner() const {
  return owner_->engine.group(0).legs;
}

uint32_t MirroredPair::legs_mirrored() const {
  return owner_->engine.group(0).legs_mirrored;
}

uint32_t MirroredPair::legs_held_by_standby() const {
  return standby_->cluster->replica.legs();
}

bool MirroredPair::taken_over() const {
  return promote_at_ == kNever && owner_->alive;
}

}  // namespace understudy
