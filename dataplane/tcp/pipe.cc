#include "dataplane/tcp/pipe.h"

#include <algorithm>
#include <cstring>

#include <rte_prefetch.h>

namespace understudy::tcp {
namespace {

uint8_t* bytes_at(rte_mbuf* mbuf, uint32_t data_offset) {
  return static_cast<uint8_t*>(mbuf->buf_addr) + data_offset;
}

// Longer runs stay where they are: copying them costs more than the buffer they would save.
constexpr uint16_t kCoalesceMax = 512;

}  // namespace

PipeStore::PipeStore(const Settings& settings, rte_mempool* pool)
    : settings_(settings), pool_(pool), pipes_(settings.pipes), chunks_(settings.chunks) {}

PipeStore::~PipeStore() {
  for (uint32_t i = 0; i < chunks_.capacity(); ++i)
    if (chunks_.is_taken(i)) rte_pktmbuf_free(chunks_[i].mbuf);
}

uint32_t PipeStore::create() {
  const uint32_t index = pipes_.take();
  if (index != kNone) pipes_[index].references = 1;
  return index;
}

void PipeStore::release(uint32_t index) {
  Pipe& pipe = pipes_[index];
  invariant(pipe.references > 0, "pipe released more often than referenced");
  if (--pipe.references > 0) return;
  while (pipe.first != kNone) drop_first(pipe);
  pipes_.release(index);
}

uint32_t PipeStore::make_chunk(rte_mbuf* mbuf, uint16_t data_offset, uint16_t length, uint64_t begin) {
  const uint32_t index = chunks_.take();
  if (index == kNone) {
    rte_pktmbuf_free(mbuf);
    return kNone;
  }
  Chunk& chunk = chunks_[index];
  chunk.begin = begin;
  chunk.mbuf = mbuf;
  chunk.data_offset = data_offset;
  chunk.length = length;
  pinned_ += kFrameCharge;
  return index;
}

void PipeStore::free_chunk(uint32_t index) {
  rte_pktmbuf_free(chunks_[index].mbuf);
  chunks_.release(index);
  pinned_ -= kFrameCharge;
}

bool PipeStore::coalesce(Pipe& pipe, const Chunk& chunk) {
  if (pipe.last == kNone || chunk.length > kCoalesceMax) return false;
  Chunk& last = chunks_[pipe.last];
  if (last.end() != chunk.begin || rte_mbuf_refcnt_read(last.mbuf) != 1) return false;
  const uint32_t free_from = static_cast<uint32_t>(last.data_offset) + last.length;
  if (free_from + chunk.length > last.mbuf->buf_len) return false;
  memcpy(bytes_at(last.mbuf, free_from), bytes_at(chunk.mbuf, chunk.data_offset), chunk.length);
  last.length = static_cast<uint16_t>(last.length + chunk.length);
  return true;
}

void PipeStore::append(Pipe& pipe, uint32_t index) {
  Chunk& chunk = chunks_[index];
  invariant(chunk.begin <= pipe.tail, "pipe: a chunk would leave a hole");
  const uint64_t end = chunk.end();
  if (end <= pipe.tail) {
    free_chunk(index);
    return;
  }
  const uint64_t keep_from = std::max(pipe.tail, std::min(pipe.head, end));
  pipe.tail = end;
  const uint64_t skip = keep_from - chunk.begin;
  chunk.begin += skip;
  chunk.data_offset = static_cast<uint16_t>(chunk.data_offset + skip);
  chunk.length = static_cast<uint16_t>(chunk.length - skip);
  if (chunk.length == 0 || coalesce(pipe, chunk)) {
    free_chunk(index);
    return;
  }
  chunk.next = kNone;
  if (pipe.last == kNone)
    pipe.first = index;
  else
    chunks_[pipe.last].next = index;
  pipe.last = index;
}

bool PipeStore::append_bytes(Pipe& pipe, std::span<const uint8_t> bytes) {
  // All buffers first, so that a shortage leaves the stream as it was.
  rte_mbuf* buffers[64];
  const uint32_t room = rte_pktmbuf_data_room_size(pool_) - RTE_PKTMBUF_HEADROOM;
  const auto needed = static_cast<uint32_t>((bytes.size() + room - 1) / room);
  if (needed > std::size(buffers) || chunks_.capacity() - chunks_.taken() < needed) return false;
  if (needed == 0) return true;
  if (rte_pktmbuf_alloc_bulk(pool_, buffers, needed) != 0) return false;
  for (uint32_t i = 0; i < needed; ++i) {
    const auto take = static_cast<uint16_t>(std::min<size_t>(room, bytes.size()));
    memcpy(rte_pktmbuf_mtod(buffers[i], void*), bytes.data(), take);
    bytes = bytes.subspan(take);
    append(pipe, make_chunk(buffers[i], RTE_PKTMBUF_HEADROOM, take, pipe.tail));
  }
  return true;
}

void PipeStore::drop_first(Pipe& pipe) {
  const uint32_t index = pipe.first;
  pipe.first = chunks_[index].next;
  if (pipe.first == kNone) pipe.last = kNone;
  free_chunk(index);
}

void PipeStore::acknowledge(Pipe& pipe, uint64_t offset) {
  if (offset <= pipe.head) return;
  pipe.head = offset;
  // All of it is done with; the low bits would come to mean something else in time.
  if (pipe.has_urgent && static_cast<int32_t>(pipe.urgent - static_cast<uint32_t>(offset)) <= 0)
    pipe.has_urgent = false;
  drop_done(pipe);
}

void PipeStore::note_logged(Pipe& pipe, uint64_t offset) {
  pipe.logged = offset;
  drop_done(pipe);
}

void PipeStore::drop_done(Pipe& pipe) {
  const uint64_t done = pipe.keeps_unlogged ? std::min(pipe.head, pipe.logged) : pipe.head;
  while (pipe.first != kNone && chunks_[pipe.first].end() <= done) drop_first(pipe);
}

// A cursor whose byte is not held any more is of no use; the search begins at the front then.
uint32_t PipeStore::chunk_of(const Pipe& pipe, uint64_t offset, const ReadCursor& cursor) const {
  const bool cursor_holds = cursor.chunk != kNone && cursor.offset >= pipe.head && cursor.offset <= offset;
  uint32_t at = cursor_holds ? cursor.chunk : pipe.first;
  while (at != kNone && chunks_[at].end() <= offset) at = chunks_[at].next;
  return at;
}

void PipeStore::copy_out(const Pipe& pipe, uint64_t offset, uint32_t length, uint8_t* to,
                         ReadCursor& cursor) const {
  if (length == 0) return;  // or all chunks would be walked for nothing
  for (uint32_t at = chunk_of(pipe, offset, cursor); length > 0; at = chunks_[at].next) {
    invariant(at != kNone, "pipe: bytes asked for that are not held");
    const Chunk& chunk = chunks_[at];
    const auto skip = static_cast<uint32_t>(offset - chunk.begin);
    const uint32_t take = std::min<uint32_t>(length, chunk.length - skip);
    memcpy(to, bytes_at(chunk.mbuf, chunk.data_offset + skip), take);
    to += take;
    offset += take;
    length -= take;
    cursor = {at, offset - 1};
  }
}

void PipeStore::prefetch(const Pipe& pipe, uint64_t offset, uint32_t length, ReadCursor& cursor) const {
  if (length == 0) return;
  const uint32_t at = chunk_of(pipe, offset, cursor);
  if (at == kNone) return;
  const Chunk& chunk = chunks_[at];
  const auto skip = static_cast<uint32_t>(offset - chunk.begin);
  const uint8_t* bytes = bytes_at(chunk.mbuf, chunk.data_offset + skip);
  const uint32_t here = std::min<uint32_t>(length, chunk.length - skip);
  for (uint32_t line = 0; line < here; line += RTE_CACHE_LINE_SIZE) rte_prefetch0(bytes + line);
  cursor = {at, offset};
}

}  // namespace understudy::tcp
