#include "tests/support/mirrored_pair.h"

#include <algorithm>
#include <cstring>

#include "tests/support/icmp_message.h"
#include "tests/support/mbuf_pool.h"

namespace understudy {
namespace {

constexpr uint16_t kPorts[] = {80, 7, 9, 1117};  // by SessionPlan::Service
constexpr uint16_t kFirstClientPort = 40000;
constexpr uint32_t kCluster = 77;

const tcp::ShardMap& shards() {
  static const tcp::ShardMap map(4);
  return map;
}

tcp::Service service_on(const IpAddress& address, uint16_t port, tcp::Application& application, uint16_t id) {
  return {.id = ServiceId(id),
          .group = 0,
          .addresses = {address},
          .first_port = PortNumber(port),
          .last_port = PortNumber(port),
          .application = &application};
}

struct Room {
  uint32_t legs = 64;
  uint32_t chunks = 4096;
};

tcp::EngineSettings engine_settings(bool is_node, const Room& room, const MirroredPair::Settings& settings) {
  tcp::EngineSettings s;
  s.legs = s.active_legs = room.legs;
  s.chunks = room.chunks;
  s.sent_segments = 4096;
  s.receive_buffer = settings.receive_buffer;
  if (is_node) s.syn_cookies = settings.syn_cookies;
  s.time_wait = 10s;  // outlasts a few lost retransmissions of a FIN
  return s;
}

std::string place_of(const wire::TcpSegment& s) {
  return FlowKey{s.destination, s.source, s.destination_port, s.source_port}
      .to_string();  // source -> destination
}

}  // namespace

MirroredPair::Addresses::Addresses(const Settings& settings) {
  const auto choose = [](bool v6, const char* v4_text, const char* v6_text) {
    return *IpAddress::parse(v6 ? v6_text : v4_text);
  };
  client = choose(settings.ipv6_client, "10.10.0.100", "fd00:10::100");
  virtual_ip = choose(settings.ipv6_client, "10.10.0.10", "fd00:10::10");
  source = choose(settings.ipv6_backend, "10.20.0.100", "fd00:20::100");
  backend = choose(settings.ipv6_backend, "10.20.0.11", "fd00:20::11");
}

// What only the two mirroring nodes have.
struct MirroredPair::Cluster {
  Cluster(MirroredPair& pair, tcp::Engine& engine, mirror::FrameSink& sink, BootId own_boot)
      : boot(own_boot),
        backends({{.address = pair.addresses_.backend,
                   .port = PortNumber(pair.settings_.first_backend_refuses ? 81 : 80),
                   .up = true},
                  {.address = pair.addresses_.backend, .port = PortNumber(80), .up = true},
                  {.address = pair.addresses_.backend, .port = PortNumber(80), .up = true},
                  {.address = pair.addresses_.backend, .port = PortNumber(80), .up = true},
                  {.address = pair.addresses_.backend, .port = PortNumber(80), .up = true}}),
        sources({pair.addresses_.source}, own_boot.value() * 1000),
        proxy(backends, sources),
        receiver(pair.settings_.channel_window, test_mbuf_pool(), sink, drops),
        replica(engine, 0) {}
  BootId boot;
  uint32_t generation = 0;
  service::BackendPool backends;
  service::SourcePool sources;
  service::Proxy proxy;
  service::Echo echo;
  service::Discard discard;
  service::Tally tally;
  DropCounters drops;
  mirror::ChannelReceiver receiver;
  mirror::Replica replica;
};

struct MirroredPair::Node : tcp::SegmentSink, mirror::FrameSink {
  Node(MirroredPair& p, bool is_node, const Room& room, uint64_t seed)
      : pair(p),
        random(seed),
        engine(engine_settings(is_node, room, p.settings_), Secret{{1, 2, 3}}, shards(), test_mbuf_pool(),
               *this, random, p.now_) {}
  void transmit(rte_mbuf* frame, const FlowKey& key) override { pair.transmit(*this, frame, key); }
  void transmit_cluster(rte_mbuf* frame) override { pair.transmit_cluster(*this, frame); }

  MirroredPair& pair;
  Random random;
  bool alive = true;
  tcp::Engine engine;
  std::unique_ptr<Conversation> conversation;  // hosts
  std::unique_ptr<Cluster> cluster;            // nodes
  std::unique_ptr<mirror::OwnerLog> log;
};

std::unique_ptr<MirroredPair::Node> MirroredPair::make_host(bool is_client) {
  auto host = std::make_unique<Node>(*this, false, Room(), random_.next());
  host->conversation = std::make_unique<Conversation>(settings_.plans, is_client, start_);
  host->engine.add_group(GroupId(1), true);
  host->engine.add_address(0, is_client ? addresses_.client : addresses_.backend);
  host->engine.add_service(service_on(is_client ? addresses_.client : addresses_.backend, is_client ? 1 : 80,
                                      *host->conversation, 1));
  return host;
}

std::unique_ptr<MirroredPair::Node> MirroredPair::make_node(uint32_t legs, uint32_t chunks) {
  auto node = std::make_unique<Node>(*this, true, Room{legs, chunks}, random_.next());
  node->cluster = std::make_unique<Cluster>(*this, node->engine, *node, BootId(next_boot_++));
  mirror::ChannelSender::Settings channel;
  channel.window = settings_.channel_window;
  node->log = std::make_unique<mirror::OwnerLog>(channel, 0, 0, node->engine, test_mbuf_pool(), *node);
  node->engine.add_group(GroupId(1));
  node->engine.add_address(0, addresses_.virtual_ip);
  node->engine.add_address(0, addresses_.source);
  Cluster& c = *node->cluster;
  tcp::Application* applications[] = {&c.proxy, &c.echo, &c.discard, &c.tally};
  for (uint16_t i = 0; i < 4; ++i)
    node->engine.add_service(
        service_on(addresses_.virtual_ip, kPorts[i], *applications[i], static_cast<uint16_t>(i + 1)));
  return node;
}

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

void MirroredPair::open_log() {
  Cluster& from = *owner_->cluster;
  Cluster& to = *standby_->cluster;
  mirror::ChannelAddress address{
      .cluster = kCluster, .self = NodeId(1), .self_boot = from.boot, .peer_boot = to.boot};
  to.receiver.set_address(
      {.cluster = kCluster, .self = NodeId(2), .self_boot = to.boot, .peer_boot = from.boot});
  owner_->log->open(address, 1, ++from.generation, now_);
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

// A router in the middle: the packet goes no further, and its sender hears of it.
void MirroredPair::refuse_too_large(rte_mbuf* mbuf, Node* from, const Path& path) {
  const std::span<const uint8_t> packet(
      rte_pktmbuf_mtod_offset(mbuf, const uint8_t*, sizeof(wire::EthernetHeader)),
      mbuf->pkt_len - sizeof(wire::EthernetHeader));
  const bool is_v4 = packet[0] >> 4 == 4;
  const auto message =
      is_v4 ? icmp_error_about(packet, IpAddress::v4(0xc6336401), wire::kIcmpUnreachable,
                               wire::kIcmpFragmentationNeeded, path.mtu)
            : icmp_error_about(packet, IpAddress({0xfd, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}),
                               wire::kIcmpv6PacketTooBig, 0, path.mtu);
  rte_pktmbuf_free(mbuf);
  rte_mbuf* answer = mbuf_from(message);
  wire::EthernetHeader ethernet{};
  ethernet.type.set(is_v4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6);
  std::memcpy(rte_pktmbuf_prepend(answer, sizeof ethernet), &ethernet, sizeof ethernet);
  ++refused_;
  in_flight_.push({now_ + path.delay, order_++, answer, nullptr, from->cluster == nullptr ? from : nullptr});
}

void MirroredPair::enqueue(rte_mbuf* mbuf, Node* from, Node* to, const Path& path) {
  if (path.mtu != 0 && mbuf->pkt_len > path.mtu + sizeof(wire::EthernetHeader))
    return refuse_too_large(mbuf, from, path);
  if (random_.chance(path.loss_per_mille, 1000)) return rte_pktmbuf_free(mbuf);
  if (random_.chance(path.duplicate_per_mille, 1000))
    if (rte_mbuf* copy = rte_pktmbuf_copy(mbuf, test_mbuf_pool(), 0, UINT32_MAX))
      in_flight_.push({now_ + path.delay + 50us, order_++, copy, from, to});
  Instant at = now_ + path.delay + Duration(1us) * random_.below(10);
  if (random_.chance(path.reorder_per_mille, 1000)) {
    at += path.delay * random_.below(4);
  } else {
    Instant& last = last_arrival_[{from, to}];
    at = last = std::max(at, last);
  }
  in_flight_.push({at, order_++, mbuf, from, to});
}

void MirroredPair::transmit(Node& from, rte_mbuf* mbuf, const FlowKey&) {
  auto* ethernet = rte_pktmbuf_mtod(mbuf, wire::EthernetHeader*);
  *ethernet = wire::EthernetHeader{};
  ethernet->type = wire::ether_type_of_packet(mbuf);
  const auto parsed = wire::parse_frame(mbuf);
  const auto* segment = std::get_if<wire::TcpSegment>(&parsed);
  if (segment == nullptr) {
    fault("a frame that does not parse leaves");
    return rte_pktmbuf_free(mbuf);
  }
  if (from.cluster != nullptr) {
    ++said_;
    if (&from != owner_) fault("two voices: " + place_of(*segment));
    check_promise(from, *segment);
  }
  check_wire(*segment);
  Node* to = segment->destination == addresses_.client    ? client_.get()
             : segment->destination == addresses_.backend ? backend_.get()
                                                          : nullptr;
  const bool client_side = segment->destination == addresses_.client || segment->source == addresses_.client;
  enqueue(mbuf, &from, to, client_side ? settings_.client_path : settings_.backend_path);
}

void MirroredPair::transmit_cluster(Node& from, rte_mbuf* mbuf) {
  // The sender keeps a frame until it is confirmed; the wire has its own copy.
  rte_mbuf* copy = rte_pktmbuf_copy(mbuf, test_mbuf_pool(), 0, UINT32_MAX);
  rte_pktmbuf_free(mbuf);
  if (copy == nullptr) return;
  if (peer_cut_) return rte_pktmbuf_free(copy);
  Node* to = &from == owner_ ? standby_ : owner_;
  enqueue(copy, &from, to, settings_.peer_path);
}

void MirroredPair::deliver(Frame frame) {
  Node* to = frame.to;
  if (frame.to != nullptr && frame.to->cluster != nullptr) {
    if (!to->alive) return rte_pktmbuf_free(frame.mbuf);
    return deliver_cluster(*to, frame.mbuf);
  }
  const auto parsed = wire::parse_frame(frame.mbuf);
  if (to == nullptr && handing_over_) {
    held_.push_back(frame);
    return;
  }
  if (to == nullptr) to = owner_;
  if (!to->alive) return rte_pktmbuf_free(frame.mbuf);
  if (const auto* error = std::get_if<wire::IcmpError>(&parsed)) {
    to->engine.receive_error(*error, now_);
    return rte_pktmbuf_free(frame.mbuf);
  }
  const auto& segment = std::get<wire::TcpSegment>(parsed);
  if (segment.has(wire::kRst)) check_reset(*to, segment);
  if (to->cluster != nullptr) to->engine.set_payload_budget(to->log->payload_budget());
  to->engine.receive(frame.mbuf, segment, now_);
}

void MirroredPair::deliver_cluster(Node& to, rte_mbuf* mbuf) {
  const std::span<const uint8_t> bytes(
      rte_pktmbuf_mtod_offset(mbuf, const uint8_t*, sizeof(wire::EthernetHeader)),
      mbuf->pkt_len - sizeof(wire::EthernetHeader));
  const auto parsed = mirror::parse_cluster_header(bytes, kCluster);
  const auto* view = std::get_if<mirror::ClusterFrameView>(&parsed);
  if (view == nullptr) {
    fault("a cluster frame that does not parse");
    return rte_pktmbuf_free(mbuf);
  }
  if (view->kind == mirror::ClusterFrameKind::mirror_data)
    return to.cluster->receiver.receive(view->boot, view->payload, mbuf, to.cluster->replica, now_);
  to.log->on_ack(view->payload, now_);
  rte_pktmbuf_free(mbuf);
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
  Cluster& to = *standby_->cluster;
  mirror::ChannelAddress address{
      .cluster = kCluster, .self = NodeId(1), .self_boot = c.boot, .peer_boot = to.boot};
  to.receiver.set_address(
      {.cluster = kCluster, .self = NodeId(2), .self_boot = to.boot, .peer_boot = c.boot});
  owner_->log->open(address, 1, ++c.generation, now_, mirror::OwnerLog::Beginning::inherited);
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

// Sessions that the owner did not count as protected may end in any way.
void MirroredPair::note_unprotected_sessions() {
  const mirror::Replica& replica = standby_->cluster->replica;
  const bool ready = replica.state() == mirror::Replica::State::synced || replica.is_inheriting();
  for (size_t i = 0; i < begun_; ++i) {
    if (session_done(i) || std::ranges::find(lost_, i) != lost_.end()) continue;
    const auto port = kPorts[static_cast<size_t>(settings_.plans[i].service)];
    const uint32_t leg =
        dead_->engine.legs().find({addresses_.virtual_ip, addresses_.client, PortNumber(port),
                                   PortNumber(static_cast<uint16_t>(kFirstClientPort + i))});
    const bool is_new = leg == tcp::kNone && client_->conversation->of_session(i)->heard == 0;
    if (is_new) continue;  // its SYN is still to come
    const bool is_mirrored = leg == tcp::kNone || dead_->engine.legs()[leg].mirrored;
    bool whole = ready && (is_mirrored || replica.is_inheriting());
    if (leg != tcp::kNone && !whole) {
      const tcp::Connection& c = dead_->engine.legs()[leg];
      whole = !after(c.rcv.committed, c.rcv.irs);  // nothing was promised: the SYN will be sent again
    }
    if (!whole) lost_.push_back(i);
  }
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

// Promise 1: neither the acknowledgement number nor the right edge runs ahead of what the standby has
// applied.
void MirroredPair::check_promise(Node& from, const wire::TcpSegment& s) {
  if (from.log->state() == mirror::OwnerLog::State::closed || !s.has(wire::kAck)) return;
  const FlowKey key{s.source, s.destination, s.source_port, s.destination_port};
  const uint32_t leg = from.engine.legs().find(key);
  if (leg == tcp::kNone || !from.engine.legs()[leg].mirrored) return;
  const tcp::Connection& c = from.engine.legs()[leg];
  const uint32_t held = standby_->engine.legs().find(key);
  if (held == tcp::kNone) {
    if (standby_->cluster->replica.state() == mirror::Replica::State::synced)
      fault("promise 1: " + place_of(s) + " acknowledges, and the standby does not have the connection");
    return;
  }
  const tcp::Connection& mirror = standby_->engine.legs()[held];
  if (standby_->cluster->replica.state() != mirror::Replica::State::synced) return;
  ++checked_;
  if (after(s.ack, mirror.rcv.nxt))
    fault("promise 1: " + place_of(s) + " acknowledges " + std::to_string(s.ack - mirror.rcv.nxt) +
          " bytes that the standby does not hold");
  if (s.has(wire::kRst)) return;
  const Seq edge = s.ack + (static_cast<int64_t>(s.window) << (s.has(wire::kSyn) ? 0 : c.rcv_scale));
  if (after(edge, mirror.rcv.edge + (from.engine.window_unit(c) - 1)))
    fault("promise 1: " + place_of(s) + " advertises " + std::to_string(edge - mirror.rcv.edge) +
          " beyond the edge that the standby knows");
}

void MirroredPair::check_wire(const wire::TcpSegment& s) {
  if (s.has(wire::kRst)) return;
  Wire& w = wires_[{s.source, s.destination, s.source_port, s.destination_port}];
  if (s.has(wire::kSyn) && w.iss != s.seq) w = Wire{.iss = s.seq};
  if (s.has(wire::kSyn)) w.scale = s.options.window_scale.value_or(0);
  if (s.options.timestamps) {
    const uint32_t value = s.options.timestamps->value;
    if (w.timestamped && static_cast<int32_t>(value - w.timestamp) < 0)
      fault("TSval runs backwards by " + std::to_string(w.timestamp - value) + " on " + place_of(s));
    w.timestamped = true;
    w.timestamp = value;
  } else if (w.timestamped) {
    fault("a segment without the timestamps that were agreed upon on " + place_of(s));
  }
  const auto offered = wires_.find({s.destination, s.source, s.destination_port, s.source_port});
  if (s.payload_length > 0 && offered != wires_.end() && offered->second.has_edge) {
    const int64_t rounding = (int64_t{1} << offered->second.scale) - 1;
    if (after(s.seq + s.payload_length, offered->second.edge + rounding))
      fault(std::to_string(s.seq + s.payload_length - offered->second.edge) +
            " bytes beyond what its peer has offered on " + place_of(s));
  }
  if (!s.has(wire::kAck) || s.has(wire::kSyn)) return;  // a SYN cannot say a scaled window
  const Seq edge = s.ack + (static_cast<int64_t>(s.window) << w.scale);
  const int64_t unit = int64_t{1} << w.scale;  // the header field rounds
  if (w.has_edge && before(edge, w.edge - (unit - 1)))
    fault("the right edge moves left by " + std::to_string(w.edge - edge) + " on " + place_of(s));
  w.edge = w.has_edge ? later_of(w.edge, edge) : edge;
  w.has_edge = true;
}

// Promise 2: no reset reaches a live connection unless the plan asks for one.
void MirroredPair::check_reset(Node& to, const wire::TcpSegment& s) {
  const uint32_t leg = to.engine.legs().find({s.destination, s.source, s.destination_port, s.source_port});
  if (leg == tcp::kNone || to.cluster != nullptr) return;
  const tcp::Connection& c = to.engine.legs()[leg];
  const bool counts =
      c.state == tcp::State::syn_sent || (tcp::is_synchronised(c.state) && c.state != tcp::State::time_wait);
  if (!counts) return;
  const Side* side = to.conversation->of_leg(to.engine.legs().id_of(leg));
  if (side != nullptr && side->plan != nullptr) {
    const auto index = static_cast<size_t>(side->plan - settings_.plans.data());
    if (side->plan->expects_reset() || std::ranges::find(lost_, index) != lost_.end()) return;
  } else if (!lost_.empty()) {
    return;
  } else {
    for (const SessionPlan& plan : settings_.plans)
      if (plan.expects_reset()) return;
  }
  fault("a reset reaches a live connection: " + place_of(s) + " in " + std::string(name_of(c.state)));
}

// The count of mirrored legs that is on display is the true one.
void MirroredPair::check_leg_count(Node& node) {
  uint32_t mirrored = 0;
  uint32_t legs = 0;
  for (uint32_t leg = 0; leg < node.engine.legs().capacity(); ++leg) {
    if (!node.engine.legs().is_live(leg)) continue;
    mirrored += node.engine.legs()[leg].mirrored;
    ++legs;
  }
  const tcp::Group& group = node.engine.group(0);
  if (mirrored != group.legs_mirrored || legs != group.legs)
    fault("the group counts " + std::to_string(group.legs_mirrored) + " of " + std::to_string(group.legs) +
          " legs as mirrored; it is " + std::to_string(mirrored) + " of " + std::to_string(legs));
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

bool MirroredPair::session_done(size_t index) {
  const SessionPlan& plan = settings_.plans[index];
  const Side* client = client_->conversation->of_session(index);
  const Side* backend = backend_->conversation->of_session(index);
  if (client == nullptr) return false;
  if (plan.expects_reset()) return client->closed && (backend == nullptr || backend->closed);
  if (!client->complete()) return false;
  return plan.service != SessionPlan::Service::proxy || plan.request == 0 ||
         (backend != nullptr && backend->complete());
}

bool MirroredPair::all_done() {
  if (begun_ < settings_.plans.size() || promote_at_ != kNever) return false;
  for (size_t i = 0; i < begun_; ++i)
    if (!session_done(i) && std::ranges::find(lost_, i) == lost_.end()) return false;
  return true;
}

bool MirroredPair::all_quiet() {
  return client_->engine.legs().size() == 0 && backend_->engine.legs().size() == 0 &&
         owner_->engine.legs().size() == 0 && (!standby_->alive || standby_->engine.legs().size() == 0);
}

std::vector<std::string> MirroredPair::faults() const {
  auto all = faults_;
  for (const auto* host : {client_.get(), backend_.get()})
    for (const auto& sentence : host->conversation->faults()) all.push_back(sentence);
  for (const auto* host : {client_.get(), backend_.get()})
    for (size_t i = 0; i < begun_; ++i)
      if (const Side* side = host->conversation->of_session(i); side != nullptr && side->wrong > 0)
        all.push_back("session " + std::to_string(i) + ": " + std::to_string(side->wrong) + " wrong bytes");
  return all;
}

std::string MirroredPair::describe() {
  std::string text;
  for (size_t i = 0; i < begun_; ++i)
    for (const auto& host : {client_.get(), backend_.get()}) {
      const Side* side = host->conversation->of_session(i);
      if (side == nullptr) continue;
      text += "\n  session " + std::to_string(i) + (side->is_client ? " client" : " backend") + ": said " +
              std::to_string(side->said) + "/" + std::to_string(side->say.size()) + " heard " +
              std::to_string(side->heard) + "/" + std::to_string(side->expect.size()) +
              (side->peer_finished ? " peer finished" : "") +
              (side->closed ? " closed: " + std::string(name_of(side->reason)) : "");
    }
  for (const auto& [who, node] :
       {std::pair{"owner", owner_}, {"client", client_.get()}, {"backend", backend_.get()}})
    for (uint32_t leg = 0; leg < node->engine.legs().capacity(); ++leg) {
      if (!node->engine.legs().is_live(leg)) continue;
      const tcp::Connection& c = node->engine.legs()[leg];
      text += "\n  " + std::string(who) + " " + c.key.to_string() + " " + std::string(name_of(c.state)) +
              (c.resumed ? "" : " asleep") + " una+" + std::to_string(c.snd.una - c.snd.iss) + " nxt+" +
              std::to_string(c.snd.nxt - c.snd.iss) + " wnd " + std::to_string(c.snd.wnd) + " rcv+" +
              std::to_string(c.rcv.nxt - c.rcv.irs) + " committed+" +
              std::to_string(c.rcv.committed - c.rcv.irs) + " edge+" +
              std::to_string(c.rcv.edge_sent - c.rcv.irs);
      if (c.tx != tcp::kNone) {
        const tcp::Pipe& tx = node->engine.pipes()[c.tx];
        text += " tx " + std::to_string(tx.head) + ".." + std::to_string(tx.tail) + (tx.fin ? " fin" : "");
      }
    }
  return text;
}

}  // namespace understudy
