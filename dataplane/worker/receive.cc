// Frames from the ports: what they are, and whose.
#include <algorithm>
#include <cstring>
#include <utility>

#include "dataplane/wire/icmp.h"
#include "dataplane/wire/ipv4.h"
#include "dataplane/worker/worker.h"

namespace understudy::worker {
namespace {

// Cuts the frame to the message with room for Ethernet and `ip` before it. The reply has neither IP options
// nor extension headers: it begins right before the message, where the request has been longer or as long.
template <class IpHeader>
void put_before_message(rte_mbuf* frame, const wire::IcmpEchoRequest& request, const IpHeader& ip) {
  constexpr size_t kHeaders = sizeof(wire::EthernetHeader) + sizeof ip;
  rte_pktmbuf_adj(frame, static_cast<uint16_t>(request.message_offset - kHeaders));
  std::memcpy(rte_pktmbuf_mtod_offset(frame, uint8_t*, sizeof(wire::EthernetHeader)), &ip, sizeof ip);
  const auto length = static_cast<uint16_t>(kHeaders + request.message_length);
  if (frame->data_len > length) rte_pktmbuf_trim(frame, static_cast<uint16_t>(frame->data_len - length));
}

// Port and MAC in one word; never 0, for the port counts from 1 in it.
tcp::Origin origin_of(uint16_t port, const std::array<uint8_t, 6>& mac) {
  uint64_t word = port + 1U;
  for (const uint8_t byte : mac) word = word << 8 | byte;
  return {word};
}

}  // namespace

void Worker::answer(rte_mbuf* frame, const FlowKey& key, tcp::Origin origin) {
  note_first_packet();
  std::array<uint8_t, 6> mac;
  for (size_t i = 0; i < mac.size(); ++i) mac[i] = static_cast<uint8_t>(origin.word >> (8 * (5 - i)));
  const auto port = static_cast<uint16_t>((origin.word >> 48) - 1);
  resolver_.send_back(frame, key.local, key.remote, port, MacAddress(mac), now_);
}

bool Worker::receive_ports(Instant now) {
  bool any = false;
  std::array<rte_mbuf*, kBurst> burst;
  for (uint16_t port = 0; port < settings_.ports.size(); ++port) {
    const uint16_t count = settings_.ports[port].port->receive(burst);
    if (count > 0 && !any) end_isolation(now);
    any |= count > 0;
    for (uint16_t i = 0; i < count; ++i) {
      if (i + 2 < count) rte_prefetch0(rte_pktmbuf_mtod(burst[i + 2], void*));
      receive_frame(port, burst[i], now);
    }
  }
  return any;
}

// To a node that was cut off from everything its networks come back one frame at a time, and its successor's
// first heartbeat need not be the first: what it said once more to nobody makes the switches send it what is
// meant for that successor. So unknown connections get no reset until there was time for a heartbeat. Whose
// peers are dead hears a quiet network, too: that is taken for the end of an isolation once, not each time.
void Worker::end_isolation(Instant now) {
  const Instant frame_before = std::exchange(last_frame_, now);
  if (settings_.nodes.size() < 2 || now - frame_before < settings_.dead_after) return;
  Instant beat = Instant::min();
  for (const SharedSigns::Sign& sign : settings_.signs->nodes)
    beat = std::max(beat, Instant(Duration(sign.beat_ns.load(std::memory_order_relaxed))));
  if (now < beat + settings_.dead_after || (end_of_isolation_ && beat <= *end_of_isolation_)) return;
  end_of_isolation_ = now;
  engine_.hold_resets(now + settings_.dead_after);
}

void Worker::receive_frame(uint16_t port, rte_mbuf* frame, Instant now) {
  wire::EthernetHeader ethernet;
  std::memcpy(&ethernet, rte_pktmbuf_mtod(frame, const void*), sizeof ethernet);
  const auto refuse = [&](DropReason reason) {
    drops_.count(reason);
    rte_pktmbuf_free(frame);
  };
  // Ports run promiscuous: other hosts' frames that a switch floods are no error, but they are not ours.
  if (!resolver_.claims().accepts_mac(port, MacAddress(ethernet.destination)))
    return refuse(DropReason::ethernet_not_for_us);
  if (const auto opening = wire::peek_opening(frame); !opening)
    syn_guard_.note_other();
  else if (!syn_guard_.admits(*opening))
    return refuse(DropReason::tcp_syn_turned_away);
  const wire::ParsedFrame parsed = wire::parse_frame(frame);
  if (const auto* segment = std::get_if<wire::TcpSegment>(&parsed)) {
    if (pass_on(frame, *segment, ethernet, now) || pass_to_keeper(port, frame, *segment, ethernet, now) ||
        hold(port, frame, *segment, ethernet, now))
      return;
    // Who was passed on to us is not where his frame came from.
    const bool passed = has_pairs_ && was_passed(port, ethernet);
    engine_.receive(frame, *segment, now, passed ? tcp::Origin() : origin_of(port, ethernet.source));
  } else if (const auto* cluster = std::get_if<wire::ClusterFrame>(&parsed)) {
    receive_cluster(port, frame, cluster->payload_offset, now);
  } else if (const auto* arp = std::get_if<wire::ArpPacket>(&parsed)) {
    resolver_.receive_arp(port, *arp, MacAddress(ethernet.source), now);
    rte_pktmbuf_free(frame);
  } else if (const auto* discovery = std::get_if<wire::NeighbourMessage>(&parsed)) {
    resolver_.receive_discovery(port, *discovery, MacAddress(ethernet.source), now);
    rte_pktmbuf_free(frame);
  } else if (const auto* echo = std::get_if<wire::IcmpEchoRequest>(&parsed)) {
    answer_echo(port, frame, *echo, MacAddress(ethernet.source), now);
  } else if (const auto* error = std::get_if<wire::IcmpError>(&parsed)) {
    if (pass_to_keeper(port, frame, *error, ethernet)) return;
    engine_.receive_error(*error, now);
    rte_pktmbuf_free(frame);
  } else {
    refuse(std::get<DropReason>(parsed));
  }
}

void Worker::answer_echo(uint16_t port, rte_mbuf* frame, const wire::IcmpEchoRequest& request,
                         const MacAddress& from, Instant now) {
  if (!resolver_.claims().is_ours(request.destination)) {
    drops_.count(DropReason::ip_not_for_us);
    rte_pktmbuf_free(frame);
    return;
  }
  const std::span<uint8_t> message(rte_pktmbuf_mtod_offset(frame, uint8_t*, request.message_offset),
                                   request.message_length);
  if (request.destination.is_v4()) {
    wire::turn_into_echo_reply(message);
    wire::Ipv4Header ip;
    wire::build_ipv4_header(ip, request.destination, request.source, wire::kProtocolIcmp,
                            request.message_length);
    put_before_message(frame, request, ip);
  } else {
    wire::turn_into_echo_reply(message, request.destination, request.source);
    wire::Ipv6Header ip;
    wire::build_ipv6_header(ip, request.destination, request.source, wire::kProtocolIcmpv6,
                            request.message_length);
    put_before_message(frame, request, ip);
  }
  resolver_.send_back(frame, request.destination, request.source, port, from, now);
}

bool Worker::is_peer(NodeId node, BootId boot) const {
  const PeerNode* peer = peer_of(node);
  return peer != nullptr && peer->workers > 0 && boot == peer->boot;
}

// Opened, genuine, not seen before, and from somebody who may say such a thing.
std::variant<DropReason, mirror::ClusterFrameView> Worker::open_cluster_frame(std::span<uint8_t> bytes) {
  const auto opened = opener_.open(bytes);
  if (const auto* reason = std::get_if<DropReason>(&opened)) return *reason;
  const auto& [view, proven] = std::get<mirror::FrameOpener::Opened>(opened);
  switch (view.kind) {
    case mirror::ClusterFrameKind::mirror_data:
    case mirror::ClusterFrameKind::mirror_ack:
      // They name our boot id, which no recording of a former life does; the channel checks it.
      if (!is_peer(view.from, view.boot)) return DropReason::cluster_stranger;
      return view;
    case mirror::ClusterFrameKind::greeting:
      opener_.take_greeting(view);
      return view;
    default:
      if (!proven) return DropReason::cluster_unproven;
      return view;
  }
}

void Worker::receive_cluster(uint16_t port, rte_mbuf* frame, uint16_t offset, Instant now) {
  const std::span<uint8_t> bytes(rte_pktmbuf_mtod_offset(frame, uint8_t*, offset),
                                 static_cast<size_t>(frame->data_len - offset));
  const auto opened = open_cluster_frame(bytes);
  if (const auto* reason = std::get_if<DropReason>(&opened)) {
    drops_.count(*reason);
    rte_pktmbuf_free(frame);
    return;
  }
  const auto& view = std::get<mirror::ClusterFrameView>(opened);
  switch (view.kind) {
    case mirror::ClusterFrameKind::mirror_data:
      return receive_mirror_data(view, frame, now);
    case mirror::ClusterFrameKind::mirror_ack:
      receive_mirror_ack(view, now);
      rte_pktmbuf_free(frame);
      return;
    case mirror::ClusterFrameKind::greeting:
      rte_pktmbuf_free(frame);
      return;
    default:
      break;
  }
  if (view.kind == mirror::ClusterFrameKind::heartbeat) note_beat(view, port, now);
  Report r;
  r.kind = Report::Kind::cluster_frame;
  r.port = port;
  r.when = now;
  r.flag = view.kind == mirror::ClusterFrameKind::vote;  // somebody waits
  r.frame = frame;
  report(r);
}

void Worker::note_beat(const mirror::ClusterFrameView& view, uint16_t port, Instant now) {
  if (!is_peer(view.from, view.boot)) return;
  const auto at = std::ranges::find(settings_.nodes, view.from);
  SharedSigns::Sign& sign = settings_.signs->nodes[static_cast<size_t>(at - settings_.nodes.begin())];
  const Instant before{Duration(sign.beat_ns.load(std::memory_order_relaxed))};
  if (sign.boot.load(std::memory_order_relaxed) != view.boot.value() || before + 2 * settings_.interval < now)
    sign.woke_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  sign.beat_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  if (port == peer_port_) sign.link_beat_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  sign.boot.store(view.boot.value(), std::memory_order_release);
}

void Worker::receive_mirror_ack(const mirror::ClusterFrameView& view, Instant now) {
  const auto subject = mirror::subject_of_ack(view.payload);
  const int group = subject ? group_index(subject->group) : -1;
  if (group < 0) return drops_.count(DropReason::cluster_malformed);
  GroupMirror& mirror = mirrors_[static_cast<size_t>(group)];
  if (mirror.standby.node != view.from || mirror.standby.boot != view.boot) return;
  if (view.from_worker < mirror.logs.size()) mirror.logs[view.from_worker]->on_ack(view.payload, now);
}

void Worker::receive_mirror_data(const mirror::ClusterFrameView& view, rte_mbuf* frame, Instant now) {
  const auto refuse = [&](DropReason reason) {
    drops_.count(reason);
    rte_pktmbuf_free(frame);
  };
  const auto subject = mirror::subject_of_data(view.payload);
  const int index = subject ? group_index(subject->group) : -1;
  if (index < 0) return refuse(DropReason::cluster_malformed);
  const auto group = static_cast<tcp::GroupIndex>(index);
  GroupMirror& mirror = mirrors_[group];
  const Epoch epoch{subject->epoch, view.from};
  // The heir's first word as owner may come before control hears of it.
  const HandOver& hand_over = hand_overs_[group];
  if (hand_over.phase == HandOver::Phase::released && hand_over.to == view.from && epoch > mirror.epoch)
    become_mirror(group, epoch, now);
  // An owner that was replaced gets no confirmation, so that it acknowledges nothing more. While the group is
  // ours, control has to hear of the new owner first: our own legs make room then.
  if (epoch < mirror.epoch || mirror.epoch.node == settings_.node)
    return refuse(DropReason::mirror_superseded);
  follow(group, epoch);
  IncomingStream& stream = incoming_from(group, view.from_worker);
  stream.channel->set_address(channel_address(group, *peer_of(view.from), view.from_worker));
  stream.channel->receive(view.boot, view.payload, frame, *stream.replica, now);
  tell_released(group);
}

Worker::IncomingStream& Worker::incoming_from(tcp::GroupIndex group, uint16_t peer_worker) {
  GroupMirror& mirror = mirrors_[group];
  if (peer_worker >= mirror.incoming.size()) mirror.incoming.resize(peer_worker + 1U);
  IncomingStream& stream = mirror.incoming[peer_worker];
  if (stream.channel == nullptr) {
    mirror::FrameSink& sink = *this;
    stream.channel = std::make_unique<mirror::ChannelReceiver>(settings_.mirror_window, pool_, sink, drops_);
    stream.replica = std::make_unique<mirror::Replica>(engine_, group);
  }
  return stream;
}

void Worker::look_for_witnesses(Instant) {
  for (size_t i = 0; i < probed_.size();) {
    const auto answered = resolver_.last_answer(probed_[i].address);
    if (!answered || *answered < probed_[i].since) {
      ++i;
      continue;
    }
    Report r;
    r.kind = Report::Kind::witness_answer;
    r.address = probed_[i].address;
    r.when = *answered;
    report(r);
    probed_.erase(probed_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Worker::look_for_rivals() {
  if (resolver_.counters().rivals_heard == rivals_reported_ || !resolver_.last_rival()) return;
  rivals_reported_ = resolver_.counters().rivals_heard;
  Report r;
  r.kind = Report::Kind::rival;
  r.address = resolver_.last_rival()->address;
  r.mac = resolver_.last_rival()->mac;
  r.port = resolver_.last_rival()->port;
  report(r);
}

}  // namespace understudy::worker
