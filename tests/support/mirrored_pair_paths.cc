#include <algorithm>
#include <cstring>

#include "tests/support/icmp_message.h"
#include "tests/support/mirrored_pair_node.h"
#include "tests/support/plain_frame.h"

// How frames travel between the hosts and nodes of a MirroredPair.
namespace understudy {

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
  put_plain_ethernet(mbuf);
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
  wires_.check(*segment);
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

}  // namespace understudy
