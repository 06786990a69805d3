#pragma once

#include <cstdint>
#include <span>

#include <rte_mbuf.h>

#include "common/slab.h"

namespace understudy::tcp {

constexpr uint32_t kNone = UINT32_MAX;

// A run of stream bytes inside an mbuf. The chunk holds one reference to the mbuf.
struct Chunk {
  uint64_t begin = 0;  // stream offset of the first byte
  rte_mbuf* mbuf = nullptr;
  uint16_t data_offset = 0;  // from mbuf->buf_addr
  uint16_t length = 0;
  uint32_t next = kNone;
  uint64_t end() const { return begin + length; }
};

// Where a sequential reader stood: `chunk` holds the byte at `offset`, as long as that byte is held.
struct ReadCursor {
  uint32_t chunk = kNone;
  uint64_t offset = 0;
};

// One direction of a byte stream, stored once: the receive queue of the leg that is its source and the send
// queue of the leg that is its sink. Offsets count from the first byte of the stream.
//
//        head               tail
//   ------|==================|-------------------> offset
//   acked |   bytes held     |  not yet received
//   by the sink              |  (fin: the source's FIN stands at tail)
//
// After a takeover head may run ahead of tail: the sink acknowledged bytes that the former owner had sent and
// this node has not received yet. Such bytes are dropped when they arrive.
struct Pipe {
  uint64_t head = 0;
  uint64_t tail = 0;
  uint64_t sendable = UINT64_MAX;  // bytes from here on wait for the commit of what produced them
  uint64_t logged = 0;             // bytes below are in the mirror's log
  uint32_t first = kNone;          // chunks, in order, without gaps
  uint32_t last = kNone;
  uint32_t source = kNone;  // the leg that fills it; kNone: an application does
  uint32_t sink = kNone;    // the leg that sends it; kNone: an application consumes it
  uint8_t references = 0;
  bool fin = false;
  bool keeps_unlogged =
      false;  // bytes stay here until they are in the log, even when the sink is done with them
  bool has_urgent = false;
  uint32_t urgent =
      0;  // low bits of the offset behind the last urgent byte, which is less than 2^31 from tail
  uint64_t held() const { return tail > head ? tail - head : 0; }
  uint64_t send_end() const { return tail < sendable ? tail : sendable; }
};

// All pipes and chunks of a worker, and what they pin: a queue is charged the true size of the buffers that
// it holds. One thread.
class PipeStore {
 public:
  struct Settings {
    uint32_t pipes;
    uint32_t chunks;
    uint64_t pinned_max;  // bytes of buffers that all pipes together may hold
  };
  PipeStore(const Settings& settings, rte_mempool* pool);
  ~PipeStore();
  PipeStore(const PipeStore&) = delete;
  PipeStore& operator=(const PipeStore&) = delete;

  uint32_t create();  // with one reference; kNone when there is no more room
  void add_reference(uint32_t pipe) { ++pipes_[pipe].references; }
  void release(uint32_t pipe);  // the last one frees the bytes
  Pipe& operator[](uint32_t pipe) { return pipes_[pipe]; }
  const Pipe& operator[](uint32_t pipe) const { return pipes_[pipe]; }

  // Whether another frame may be pinned. False: payload must be dropped before it is acknowledged.
  bool has_room() const {
    return pinned_ + kFrameCharge <= settings_.pinned_max && chunks_.taken() < settings_.chunks;
  }
  // The same for bytes that come too early. The last quarter is for bytes in order: they can leave again.
  bool has_room_for_early() const {
    return pinned_ <= settings_.pinned_max / 4 * 3 && chunks_.taken() < settings_.chunks / 4 * 3;
  }
  uint64_t pinned() const { return pinned_; }
  uint64_t pinned_max() const { return settings_.pinned_max; }

  // A chunk that refers to `length` bytes at `data_offset` (from buf_addr) of `mbuf` takes one reference that
  // the caller gives up. kNone (and the reference freed) when there is no room.
  uint32_t make_chunk(rte_mbuf* mbuf, uint16_t data_offset, uint16_t length, uint64_t begin);
  void free_chunk(uint32_t chunk);
  Chunk& chunk(uint32_t index) { return chunks_[index]; }
  static std::span<const uint8_t> bytes_of(const Chunk& chunk) {
    return {static_cast<const uint8_t*>(chunk.mbuf->buf_addr) + chunk.data_offset, chunk.length};
  }

  // Appends a chunk whose range touches or overlaps tail; what lies below tail or below head is trimmed.
  // Small chunks are copied into the tailroom of the last one when that is ours alone.
  void append(Pipe& pipe, uint32_t chunk);
  // Copies bytes in (application output, replicated payload). False when there is no buffer; then nothing was
  // appended.
  bool append_bytes(Pipe& pipe, std::span<const uint8_t> bytes);
  // The sink has acknowledged (or the application has consumed) everything below `offset`.
  void acknowledge(Pipe& pipe, uint64_t offset);
  // The log holds everything below `offset`.
  void note_logged(Pipe& pipe, uint64_t offset);
  // The first byte of the stream that is still here, tail if there is none.
  uint64_t begin_of(const Pipe& pipe) const {
    return pipe.first == kNone ? pipe.tail : chunks_[pipe.first].begin;
  }

  // Copies `length` held bytes from `offset`. The cursor is left at the last byte, so that sequential readers
  // do not walk the list.
  void copy_out(const Pipe& pipe, uint64_t offset, uint32_t length, uint8_t* to, ReadCursor& cursor) const;
  // Has the processor fetch the first of the bytes that copy_out will be asked for in a moment, as far as
  // they lie in one buffer. The cursor is left where copy_out can begin.
  void prefetch(const Pipe& pipe, uint64_t offset, uint32_t length, ReadCursor& cursor) const;

 private:
  uint32_t chunk_of(const Pipe& pipe, uint64_t offset, const ReadCursor& cursor) const;
  static constexpr uint64_t kFrameCharge = 2304;  // an mbuf with its data room
  bool coalesce(Pipe& pipe, const Chunk& chunk);
  void drop_first(Pipe& pipe);
  void drop_done(Pipe& pipe);

  Settings settings_;
  rte_mempool* pool_;
  Slab<Pipe> pipes_;
  Slab<Chunk> chunks_;
  uint64_t pinned_ = 0;
};

}  // namespace understudy::tcp
