// Bytes in order, and bytes that came too early.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

// The queue is ordered by offset and free of overlaps: what is already there wins, the rest of the newcomer
// is cut to fit. (Two copies of a byte that differ are the peer's problem; we deliver the first.)
void Engine::queue_out_of_order(const Connection& c, Soft& soft, uint32_t index) {
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
    note_duplicate(c, soft, chunk.begin, chunk.begin + overlap);
    chunk.begin += overlap;
    chunk.data_offset = static_cast<uint16_t>(chunk.data_offset + overlap);
    chunk.length = static_cast<uint16_t>(chunk.length - overlap);
  }
  // Followers that the newcomer covers whole go; one that it covers in part stays and the newcomer ends
  // before it.
  while (at != kNone && chunk.length > 0 && pipes_.chunk(at).end() <= chunk.end()) {
    const uint32_t covered = at;
    note_duplicate(c, soft, pipes_.chunk(covered).begin, pipes_.chunk(covered).end());
    at = pipes_.chunk(covered).next;
    pipes_.free_chunk(covered);
    --soft.reassembly_count;
  }
  if (at != kNone && chunk.length > 0 && chunk.end() > pipes_.chunk(at).begin) {
    const uint64_t kept_end = std::max(chunk.begin, pipes_.chunk(at).begin);
    note_duplicate(c, soft, kept_end, chunk.end());
    chunk.length = static_cast<uint16_t>(kept_end - chunk.begin);
  }
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
    note_duplicate(c, soft, pipes_.chunk(index).begin, std::min(pipes_.chunk(index).end(), rx.tail));
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

// RFC 2883: the sender may want to know that it sent these bytes without need. The newest segment counts, and
// of what it repeats the first (section 4.2.3).
void Engine::note_duplicate(const Connection& c, Soft& soft, uint64_t begin, uint64_t end) {
  if (!c.sack || begin >= end || duplicate_noted_) return;
  duplicate_noted_ = true;
  soft.duplicate = {.due = true, .left = receive_seq_of(c, begin), .right = receive_seq_of(c, end)};
}

// RFC 2018 section 4: the block of the newest arrival first, then those that were reported last, in their
// order; before them what is a duplicate (RFC 2883). Called only when everything below rcv.nxt is committed:
// a gated acknowledgement must not look like loss.
void Engine::fill_sack_blocks(const Connection& c, Soft& soft, wire::TcpOptions& options) {
  struct Block {
    uint64_t left, right;
    size_t rank;
  };
  const auto rank_of = [&](uint64_t left, uint64_t right) -> size_t {
    const auto inside = [&](uint64_t offset) { return offset >= left && offset < right; };
    if (inside(soft.last_out_of_order)) return 0;
    return 1 + static_cast<size_t>(std::ranges::find_if(soft.reported, inside) - soft.reported.begin());
  };
  const size_t most = c.timestamps ? 3 : 4;
  std::array<Block, 5> best{};
  size_t count = 0;
  for (uint32_t at = soft.reassembly_first; at != kNone;) {
    Block block{pipes_.chunk(at).begin, pipes_.chunk(at).end(), 0};
    for (at = pipes_.chunk(at).next; at != kNone && pipes_.chunk(at).begin == block.right;
         at = pipes_.chunk(at).next)
      block.right = pipes_.chunk(at).end();
    block.rank = rank_of(block.left, block.right);
    size_t place = count;
    for (; place > 0 && best[place - 1].rank > block.rank; --place) best[place] = best[place - 1];
    best[place] = block;
    if (count < most) ++count;
  }
  soft.reported.fill(UINT64_MAX);
  for (size_t i = 0; i < count; ++i) soft.reported[i] = best[i].left;
  uint8_t said = 0;
  if (soft.duplicate.due) options.sack[said++] = {soft.duplicate.left, soft.duplicate.right};
  for (size_t i = 0; i < count && said < most; ++i)
    options.sack[said++] = {receive_seq_of(c, best[i].left), receive_seq_of(c, best[i].right)};
  options.sack_count = said;
}

}  // namespace understudy::tcp
