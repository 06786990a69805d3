// Bytes in order, and bytes that came too early.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

// The queue is ordered by offset and free of overlaps: what is already there wins, the rest of the newcomer
// is cut to fit. (Two copies of a byte that differ are the peer's problem; we deliver the first.)
void Engine::queue_out_of_order(Connection&, Soft& soft, uint32_t index) {
  Chunk& chunk = pipes_.chunk(index);
  soft.last_out_of_order = chunk.begin;
  uint32_t previous = kNone;
  uint32_t at = soft.reassembly_first;
  while (at != kNone && pipes_.chunk(at).begin <= chunk.begin) {
    previous = at;
    at = pipes_.chunk(at).next;
  }
  if (previous != kNone && pipes_.chunk(previous).end() > chunk.begin) {
    const uint64_t overlap = std::min<uint64_t>(pipes_.chunk(previous).end() - chunk.begin, chunk.length);
    chunk.begin += overlap;
    chunk.data_offset = static_cast<uint16_t>(chunk.data_offset + overlap);
    chunk.length = static_cast<uint16_t>(chunk.length - overlap);
  }
  // Followers that the newcomer covers whole go; one that it covers in part stays and the newcomer ends
  // before it.
  while (at != kNone && chunk.length > 0 && pipes_.chunk(at).end() <= chunk.end()) {
    const uint32_t covered = at;
    at = pipes_.chunk(covered).next;
    pipes_.free_chunk(covered);
    --soft.reassembly_count;
  }
  if (at != kNone && chunk.end() > pipes_.chunk(at).begin && chunk.begin < pipes_.chunk(at).begin)
    chunk.length = static_cast<uint16_t>(pipes_.chunk(at).begin - chunk.begin);
  else if (at != kNone && chunk.begin >= pipes_.chunk(at).begin)
    chunk.length = 0;
  if (previous == kNone)
    soft.reassembly_first = at;
  else
    pipes_.chunk(previous).next = at;
  if (chunk.length == 0) {
    pipes_.free_chunk(index);
    return;
  }
  chunk.next = at;
  if (previous == kNone)
    soft.reassembly_first = index;
  else
    pipes_.chunk(previous).next = index;
  ++soft.reassembly_count;
}

void Engine::deliver_reassembled(Connection& c, Soft& soft) {
  Pipe& rx = pipes_[c.rx];
  while (soft.reassembly_first != kNone && pipes_.chunk(soft.reassembly_first).begin <= rx.tail) {
    const uint32_t index = soft.reassembly_first;
    soft.reassembly_first = pipes_.chunk(index).next;
    --soft.reassembly_count;
    const uint64_t before_tail = rx.tail;
    pipes_.append(rx, index);
    counters_.payload_in += rx.tail - before_tail;
  }
}

void Engine::drop_reassembly(Soft& soft) {
  while (soft.reassembly_first != kNone) {
    const uint32_t index = soft.reassembly_first;
    soft.reassembly_first = pipes_.chunk(index).next;
    pipes_.free_chunk(index);
  }
  soft.reassembly_count = 0;
}

// In-order bytes stand at the end of the rx pipe: everything that follows from that.
void Engine::deliver(Connection& c, uint32_t leg, Instant now) {
  Soft& soft = soft_[c.soft];
  Pipe& rx = pipes_[c.rx];
  if (soft.reassembly_first != kNone) {
    deliver_reassembled(c, soft);
    soft.ack_now = true;  // RFC 5681 section 4.2: what fills a gap, or a part of one, is acknowledged at once
  }
  c.rcv.nxt = receive_seq_of(c, rx.tail);
  soft.ack_soon = true;
  if (soft.quick_acks > 0) soft.ack_now = true;
  ++soft.segments_since_ack;
  if (soft.delayed_ack_at == kNever) soft.delayed_ack_at = now + settings_.delayed_ack;
  want_log(leg);
  want_output(leg);
  const LegId id = legs_.id_of(leg);
  if (rx.sink != kNone)
    want_output(rx.sink);
  else if (const Service* service = find_service(c.service))
    service->application->on_data(*this, leg, now);
  if (legs_.is_live(id) && soft.fin_out_of_order && soft.fin_offset == rx.tail) accept_fin(c, leg, now);
}

// RFC 2018 section 4: the block of the newest arrival first. Called only when everything below rcv.nxt is
// committed: a gated acknowledgement must not look like loss.
uint8_t Engine::fill_sack_blocks(const Connection& c, const Soft& soft, wire::TcpOptions& options) const {
  const uint8_t most = c.timestamps ? 3 : 4;
  uint8_t count = 0;
  uint8_t newest = 0;
  auto& pipes = const_cast<PipeStore&>(pipes_);
  for (uint32_t at = soft.reassembly_first; at != kNone;) {
    const uint64_t left = pipes.chunk(at).begin;
    uint64_t right = pipes.chunk(at).end();
    for (at = pipes.chunk(at).next; at != kNone && pipes.chunk(at).begin == right; at = pipes.chunk(at).next)
      right = pipes.chunk(at).end();
    const bool is_newest = soft.last_out_of_order >= left && soft.last_out_of_order < right;
    const wire::SackBlock block{receive_seq_of(c, left), receive_seq_of(c, right)};
    if (count < most) {
      if (is_newest) newest = count;
      options.sack[count++] = block;
    } else if (is_newest) {
      newest = static_cast<uint8_t>(count - 1);
      options.sack[newest] = block;
    }
  }
  if (count > 0) std::swap(options.sack[0], options.sack[newest]);
  options.sack_count = count;
  return count;
}

}  // namespace understudy::tcp
