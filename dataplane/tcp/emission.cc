// What a segment of ours says, whoever decided that it leaves.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

bool Engine::send_empty(Connection& c, Soft* soft, Seq seq, uint8_t flags, Instant now) {
  rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
  if (frame == nullptr) {
    drops_.count(DropReason::mbuf_pool_empty);
    return false;
  }
  emit(c, soft, frame, seq, flags, now);
  return true;
}

uint16_t Engine::window_to_advertise(const Connection& c, bool is_syn) const {
  if (c.state == State::syn_sent) return static_cast<uint16_t>(std::min(c.receive_buffer, 65535U));
  const auto window = static_cast<uint32_t>(std::max(0, c.rcv.committed_edge - c.rcv.committed));
  if (is_syn) return static_cast<uint16_t>(std::min(window, 65535U));
  // Rounded up, so that the right edge never moves left by what the shift cuts off.
  return static_cast<uint16_t>(std::min((window + window_unit(c) - 1) >> c.rcv_scale, 65535U));
}

// RFC 2474: the codepoint stands above the two bits of ECN.
uint8_t Engine::type_of_service(const Connection& c) const {
  if (c.soft != kNone) return static_cast<uint8_t>(soft_[c.soft].dscp << 2);
  const Service* service = find_service(c.service);
  return service == nullptr ? 0 : static_cast<uint8_t>(service->dscp << 2);
}

// The gate: the acknowledgement number and the right edge are those that the in-sync set holds.
void Engine::emit(Connection& c, Soft* soft, rte_mbuf* frame, Seq seq, uint8_t flags, Instant now) {
  const bool is_syn = (flags & wire::kSyn) != 0;
  const bool new_data = frame->pkt_len > 0 && seq == c.snd.nxt;
  if (is_syn) flags |= ecn_flags_of_syn(c, soft);
  wire::TcpSegmentToSend segment;
  segment.hop_limit = settings_.hop_limit;
  segment.type_of_service = type_of_service(c);
  segment.key = c.key;
  segment.seq = seq;
  segment.flags = flags;
  segment.window = window_to_advertise(c, is_syn);
  if (flags & wire::kAck) segment.ack = c.rcv.committed;
  if (is_syn) {
    segment.option_order = settings_.syn_options;
    const bool offers = c.state == State::syn_sent;
    segment.options.mss = static_cast<uint16_t>(mss_to_offer(c));
    if (offers ? settings_.window_scaling : c.window_scaling)
      segment.options.window_scale = uint8_t{c.rcv_scale};
    segment.options.sack_permitted = offers ? settings_.sack : c.sack;
  }
  if (c.state == State::syn_sent ? settings_.timestamps : c.timestamps)
    segment.options.timestamps = {groups_[c.group].clock.millis(now) + c.ts_offset,
                                  (flags & wire::kAck) ? c.ts_recent : 0};
  if (!is_syn && c.sack && soft != nullptr && (soft->reassembly_first != kNone || soft->duplicate.due) &&
      c.rcv.committed == c.rcv.nxt) {
    fill_sack_blocks(c, *soft, segment.options);
    // RFC 9293 section 3.7.1: options count against the payload. A full segment says no blocks; the
    // acknowledgements that out-of-order data is owed say them.
    if (frame->pkt_len > 0) {
      const uint32_t room = segment_payload_max(c) - frame->pkt_len;
      segment.options.sack_count =
          static_cast<uint8_t>(std::min(uint32_t{segment.options.sack_count}, room < 4 ? 0 : (room - 4) / 8));
    }
    if (segment.options.sack_count > 0) soft->duplicate.due = false;  // RFC 2883 section 4: said once
  }
  if (flags & wire::kAck) {
    c.rcv.acked = c.rcv.committed;
    c.rcv.edge_sent = later_of(c.rcv.edge_sent, c.rcv.committed + (static_cast<int64_t>(segment.window)
                                                                   << (is_syn ? 0 : c.rcv_scale)));
    if (soft != nullptr && c.rcv.committed == c.rcv.nxt) {
      // An acknowledgement that rides on data: the exchange is interactive, and waiting saves a segment.
      soft->quick_acks = soft->ack_soon && frame->pkt_len > 0
                             ? 0
                             : soft->quick_acks - std::min(soft->quick_acks, soft->segments_since_ack);
      soft->ack_soon = soft->ack_now = false;
      soft->segments_since_ack = 0;
      soft->delayed_ack_at = kNever;
    }
  }
  if (!is_syn && c.tx != kNone && pipes_[c.tx].has_urgent) point_at_urgent(c, segment);
  if (c.ecn && !is_syn && soft != nullptr) mark_outgoing(*soft, new_data, segment);
  ++counters_.segments_out;
  wire::build_tcp_frame(frame, segment);
  hand_out(frame, c.key, c.state == State::syn_received && soft != nullptr ? soft->origin : Origin());
}

void Engine::hand_out(rte_mbuf* frame, const FlowKey& key, Origin origin) {
  if (origin)
    sink_.answer(frame, key, origin);
  else
    sink_.transmit(frame, key);
}

void Engine::send_reset(const FlowKey& key, Seq seq, Seq ack, uint8_t flags) {
  wire::TcpSegmentToSend segment;
  segment.key = key;
  segment.seq = seq;
  segment.ack = ack;
  segment.flags = flags;
  ++counters_.resets_out;
  send_without_leg(segment);
}

// The reset that ends a synchronised connection. RFC 7323 section 3.2: it has timestamps when the others had.
void Engine::send_reset(const Connection& c, Instant now) {
  if (now < reset_hold_until(groups_[c.group])) resets_.note(c.key);
  wire::TcpSegmentToSend segment;
  segment.key = c.key;
  segment.type_of_service = type_of_service(c);
  segment.seq = c.snd.nxt;
  segment.ack = c.resumed ? c.rcv.committed : c.rcv.nxt;  // what a record said is committed
  segment.flags = wire::kRst | wire::kAck;
  if (c.timestamps)
    segment.options.timestamps = {groups_[c.group].clock.millis(now) + c.ts_offset, c.ts_recent};
  ++counters_.resets_out;
  send_without_leg(segment);
}

void Engine::send_without_leg(wire::TcpSegmentToSend segment) {
  segment.hop_limit = settings_.hop_limit;
  rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
  if (frame == nullptr) {
    drops_.count(DropReason::mbuf_pool_empty);
    return;
  }
  ++counters_.segments_out;
  wire::build_tcp_frame(frame, segment);
  const bool to_stranger = stranger_ != nullptr && *stranger_ == segment.key;
  hand_out(frame, segment.key, to_stranger ? stranger_origin_ : Origin());
}

}  // namespace understudy::tcp
