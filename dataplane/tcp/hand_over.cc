// A leg changes hands while both owners live: its soft state goes along, so nothing is sent twice and nothing
// waits for a timer. The old owner has stopped before its last word; what the new one holds is exact.
#include <cstring>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

Soft* Engine::take_handed_soft(uint32_t leg, Instant now) {
  Connection& c = legs_[leg];
  release_soft(c);
  return soft_for(c, leg, now);
}

bool Engine::add_handed_sent(uint32_t leg, const SentSegment& sent) {
  Soft& soft = soft_[legs_[leg].soft];
  if (sent_.taken() == sent_.capacity()) return false;
  const Instant give_up_at = soft.give_up_at;  // goes on; it does not begin with this node
  record_sent(soft, sent.begin, sent.length, sent.sent_at);
  soft.give_up_at = give_up_at;
  SentSegment& copy = sent_[soft.sent_last];
  copy.retransmitted = sent.retransmitted;
  copy.pushed = sent.pushed;
  if (sent.sacked) {
    copy.sacked = true;
    soft.in_flight -= sent.length;
    soft.sacked_bytes += sent.length;
  } else if (sent.lost) {
    mark_lost(soft, copy);
  }
  return true;
}

bool Engine::add_handed_early(uint32_t leg, uint64_t offset, std::span<const uint8_t> bytes) {
  Connection& c = legs_[leg];
  // What came with a SYN stands right at the tail until the handshake is over.
  const uint64_t first = pipes_[c.rx].tail + (c.state == State::syn_received ? 0 : 1);
  if (!pipes_.has_room_for_early() || offset < first) return false;
  rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
  if (frame == nullptr) return false;
  const auto length = static_cast<uint16_t>(bytes.size());
  char* room = rte_pktmbuf_append(frame, length);
  if (room == nullptr) {
    rte_pktmbuf_free(frame);
    return false;
  }
  std::memcpy(room, bytes.data(), bytes.size());
  const uint32_t chunk = pipes_.make_chunk(frame, frame->data_off, length, offset);
  if (chunk == kNone) return false;
  Soft& soft = soft_[c.soft];
  const uint64_t newest = soft.last_out_of_order;  // the owner's word stands
  const Soft::Duplicate duplicate = soft.duplicate;
  queue_out_of_order(c, soft, chunk);
  soft.last_out_of_order = newest;
  soft.duplicate = duplicate;
  return true;
}

void Engine::forget_soft(uint32_t leg) {
  release_soft(legs_[leg]);
  legs_[leg].adopted = true;
}

void Engine::receive_hand_over(GroupIndex index, Epoch epoch, Instant now, Duration reset_hold) {
  take_over(index, epoch, now, reset_hold);
  groups_[index].handed_over = true;
}

void Engine::wake_handed(uint32_t leg, Instant now) {
  Connection& c = legs_[leg];
  Soft& soft = soft_[c.soft];
  c.resumed = true;
  ++counters_.resumed;
  keep_unlogged(c);
  if (c.state != State::syn_sent) {
    // Both nodes hold everything that the records said.
    c.rcv.committed = c.rcv.nxt;
    c.rcv.committed_edge = c.rcv.edge;
    if (c.tx != kNone && pipes_[c.tx].sendable != UINT64_MAX) pipes_[c.tx].sendable = pipes_[c.tx].tail;
  }
  if (c.state == State::time_wait) await_end_of_time_wait(c, leg, now);
  if (c.state == State::syn_received && !c.active_open) bear(c, Burden::embryonic, now);
  arm(c, soft);
  want_output(leg);
  want_log(leg);
  tell_if_open(c, leg, now);
}

void Engine::keep_unlogged(Connection& c) {
  if (c.rx == kNone || pipes_[c.rx].keeps_unlogged) return;
  pipes_[c.rx].keeps_unlogged = true;
  pipes_[c.rx].logged = pipes_[c.rx].tail;
}

void Engine::keep_no_more(Connection& c) {
  if (c.rx == kNone || !pipes_[c.rx].keeps_unlogged) return;
  pipes_[c.rx].keeps_unlogged = false;
  pipes_.note_logged(pipes_[c.rx], pipes_[c.rx].tail);
}

void Engine::lie_down(GroupIndex index) {
  for (uint32_t leg = 0; leg < legs_.capacity(); ++leg) {
    if (!legs_.is_live(leg) || legs_[leg].group != index) continue;
    Connection& c = legs_[leg];
    if (!c.protect) {
      free_leg(leg);
      continue;
    }
    if (c.mirrored) --groups_[index].legs_mirrored;
    c.mirrored = false;
    c.adopted = true;
    c.resumed = false;
    c.mirror_leg = kNone;
    release_soft(c);
    forget_silence(c, leg);
    keep_no_more(c);
  }
}

}  // namespace understudy::tcp
