// What an acknowledgement does: to the send queue, to the scoreboard, to the state.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

// After a takeover a peer may acknowledge bytes that the former owner sent before their record was committed.
// Such an acknowledgement is believed as far as the former owner can have sent: to the right edge that the
// source of these bytes was given, plus one for its FIN. The source will send those bytes again; they are
// dropped on arrival. What stands in the send queue itself may have been sent as well: an application's
// answer is written here and there alike.
bool Engine::believe(const Connection& c, Seq ack) const {
  if (!c.adopted || c.tx == kNone) return false;
  const Pipe& tx = pipes_[c.tx];
  const uint64_t offset = send_offset_of(c, ack, std::max(tx.head, tx.tail));
  if (offset <= tx.tail + (tx.fin ? 1 : 0)) return true;
  if (tx.source == kNone || tx.fin) return false;
  const Connection& source = legs_[tx.source];
  const Seq edge = later_of(source.rcv.edge, source.rcv.edge_sent) + window_unit(source);
  const uint64_t furthest = receive_offset_of(source, edge, tx.tail) + 1;
  return offset <= furthest;
}

// The stream offset that an acknowledgement number stands for; FIN's own number maps to tail.
uint64_t Engine::offset_of_ack(const Connection& c, Seq ack) const {
  const Pipe& tx = pipes_[c.tx];
  const uint64_t offset = send_offset_of(c, ack, tx.head);
  if (tx.fin && offset == tx.tail + 1) return tx.tail;
  return offset;
}

// `sacked`: bytes that the same segment has newly SACKed.
void Engine::acknowledge(Connection& c, uint32_t leg, Seq ack, uint32_t sacked, Instant now) {
  Soft& soft = soft_[c.soft];
  const bool acks_syn = c.snd.una == c.snd.iss;
  if (!acks_syn) note_first_use(c, now);
  c.snd.una = ack;
  if (after(c.snd.una, c.snd.nxt)) c.snd.nxt = c.snd.una;
  uint32_t delivered = sacked + remove_acknowledged(c, soft, now, true);
  // RFC 6937 section 3: without SACK each duplicate acknowledgement was taken for a segment delivered.
  if (!c.sack) delivered -= std::min(delivered, soft.duplicate_acks * uint32_t{c.mss});
  note_progress(soft, now);
  soft.duplicate_acks = 0;
  want_log(leg);
  if (c.tx != kNone) {
    Pipe& tx = pipes_[c.tx];
    const bool acks_fin = tx.fin && ack == send_seq_of(c, tx.tail) + 1;
    if (!acks_syn || ack != c.snd.iss + 1) pipes_.acknowledge(tx, offset_of_ack(c, ack));
    if (tx.source != kNone && tx.source != leg) want_log(tx.source);  // its window may open
    after_ack(c, soft, delivered, true, now);
    if (acks_fin) our_fin_acknowledged(c, leg, now);
    return;
  }
  after_ack(c, soft, delivered, true, now);
}

void Engine::our_fin_acknowledged(Connection& c, uint32_t leg, Instant now) {
  // An adopted leg may learn of its own FIN's acknowledgement before it knew that the FIN had been sent. Then
  // the peer may still wait for the acknowledgement of its own.
  if (c.state == State::established)
    c.state = State::fin_wait_1;
  else if (c.state == State::close_wait)
    c.state = State::closing;
  want_log(leg);
  if (c.state == State::fin_wait_1)
    c.state = State::fin_wait_2;
  else if (c.state == State::closing)
    enter_time_wait(c, leg, now);
  else if (c.state == State::last_ack && c.adopted)
    // The acknowledgement may have been for the FIN that the former owner sent, so it does not show that the
    // peer has heard of its own FIN's arrival: stay to answer when it asks again.
    enter_time_wait(c, leg, now);
  else if (c.state == State::last_ack)
    close(leg, CloseReason::finished, now);
}

// RFC 2018: marks what the peer holds above the cumulative acknowledgement. Returns the bytes newly covered.
uint32_t Engine::process_sack(Connection& c, Soft& soft, const wire::TcpSegment& s, Instant now) {
  const auto& options = s.options;
  if (!c.sack || options.sack_count == 0 || soft.sent_first == kNone) return 0;
  uint32_t newly = 0;
  for (uint32_t at = soft.sent_first; at != kNone; at = sent_[at].next) {
    SentSegment& sent = sent_[at];
    if (sent.sacked) continue;
    for (uint8_t i = 0; i < options.sack_count; ++i) {
      const wire::SackBlock& block = options.sack[i];
      const bool sane =
          after(block.left, s.ack) && after(block.right, block.left) && at_or_before(block.right, c.snd.nxt);
      if (!sane || before(sent.begin, block.left) || after(sent.end(), block.right)) continue;
      sent.sacked = true;
      newly += sent.length;
      if (sent.lost) {
        sent.lost = false;
        --soft.lost_segments;
      } else {
        soft.in_flight -= sent.length;
      }
      rack_detect_reordering(soft, sent);
      soft.highest_sacked = soft.sacked_bytes == 0 ? sent.end() : later_of(soft.highest_sacked, sent.end());
      soft.sacked_bytes += sent.length;
      rack_update(soft, sent, now);
      break;
    }
  }
  return newly;
}

// Takes everything below snd.una off the list of what was sent. Returns the bytes newly delivered (not SACKed
// before).
uint32_t Engine::remove_acknowledged(Connection& c, Soft& soft, Instant now, bool measure) {
  uint32_t delivered = 0;
  Duration sample = Duration::max();
  while (soft.sent_first != kNone) {
    const uint32_t at = soft.sent_first;
    SentSegment& sent = sent_[at];
    const uint32_t covered = after(sent.end(), c.snd.una)
                                 ? static_cast<uint32_t>(std::max(0, c.snd.una - sent.begin))
                                 : sent.length;
    if (covered == 0) break;
    if (sent.sacked) {
      soft.sacked_bytes -= covered;
    } else {
      delivered += covered;
      if (!sent.lost) soft.in_flight -= covered;
    }
    if (covered < sent.length) {
      sent.begin = c.snd.una;
      sent.length -= covered;
      break;
    }
    if (!sent.sacked) {
      rack_detect_reordering(soft, sent);
      rack_update(soft, sent, now);
      if (!sent.retransmitted && !sent.lost) sample = now - sent.sent_at;
    }
    if (sent.lost) --soft.lost_segments;
    soft.sent_first = sent.next;
    if (soft.sent_first == kNone)
      soft.sent_last = kNone;
    else
      sent_[soft.sent_first].previous = kNone;
    sent_.release(at);
  }
  if (measure && sample != Duration::max()) soft.rtt.sample(sample);
  return delivered;
}

}  // namespace understudy::tcp
