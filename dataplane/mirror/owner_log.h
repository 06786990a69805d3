#pragma once

#include <vector>

#include "dataplane/mirror/channel.h"
#include "dataplane/mirror/record.h"
#include "dataplane/tcp/engine.h"

namespace understudy::mirror {

// The owner's end of one mirror stream: what one worker writes of one group, for its shards, to one worker of
// the group's standby, and the commit gate that its acknowledgements open. One thread.
//
//   write(leg)          a leg whose state changed: its records, and an entry in the gate
//   acknowledged()      the standby has applied up to some frame: gate entries up to it commit their legs
//   drop()              the standby is lost: every leg is committed at once and counts as unprotected
//
// A leg that is not in the stream yet is put there whole (with its session) the first time that it changes,
// or when the snapshot's cursor passes it. One for which the standby has no room is unprotected again; a
// second later the cursor starts anew.
class OwnerLog {
 public:
  enum class State : uint8_t { closed, syncing, synced };

  // The stream carries the legs of the group whose shard modulo `streams` is `index`.
  OwnerLog(const ChannelSender::Settings& settings, tcp::GroupIndex group, uint32_t index,
           tcp::Engine& engine, rte_mempool* pool, FrameSink& sink);

  // With `inherited`, the standby is the former owner after a planned hand-over and holds every leg already:
  // acknowledgements wait for it from the first one on, also of legs that are not in the stream yet.
  enum class Beginning : uint8_t { anew, inherited };
  void open(const ChannelAddress& address, uint32_t streams, uint32_t generation, Instant now,
            Beginning beginning = Beginning::anew);
  // See WorkerSettings::gates_acknowledgements.
  void leave_gate_open() { gate_is_open_ = true; }
  // Unprotects all legs of this stream.
  void drop(Instant now);
  bool carries(const tcp::Connection& c) const {
    return state_ != State::closed && c.group == group_ && c.shard % streams_ == index_;
  }

  // Writes what changed. False: no room now; the leg stays pending and its acknowledgements wait.
  bool write(uint32_t leg, Instant now);
  void write_close(tcp::LegId leg, Instant now);
  // Puts up to `legs` more legs into the stream; ends the snapshot when all have been seen.
  void snapshot(uint32_t legs, Instant now);
  // Planned hand-over (release.cc); the owner has stopped. False: no room now, call again. write_soft is for
  // every leg of the stream after its last write(); release ends the log of a group.
  bool write_soft(uint32_t leg, Instant now);
  bool write_release(tcp::GroupIndex group, bool leaves, Instant now);
  // The standby has applied everything up to the last release.
  bool release_is_committed() const {
    return state_ == State::synced && release_sequence_ != 0 && channel_.acknowledged() >= release_sequence_;
  }
  void flush(Instant now) { channel_.flush(now); }
  void on_ack(std::span<const uint8_t> payload, Instant now);
  void tick(Instant now) { channel_.tick(now); }
  void excuse(Instant now) { channel_.excuse(now); }
  Instant next_deadline() const { return channel_.next_deadline(); }

  State state() const { return state_; }
  // It has refused a leg a moment ago: new ones go unprotected.
  bool standby_is_full() const { return full_until_ != Instant::min(); }
  // Payload bytes that may be accepted before the next round of writes.
  uint64_t payload_budget() const;
  const ChannelSender& channel() const { return channel_; }
  DropCounters& drops() { return drops_; }
  uint32_t gates_waiting() const { return static_cast<uint32_t>(gate_tail_ - gate_head_); }

 private:
  struct Gate {
    uint32_t sequence;
    tcp::LegId leg;
    Seq nxt;
    Seq edge;
    uint64_t sendable;
  };
  // What an application had written when its leg entered the stream, and has not found room there yet.
  struct Output {
    tcp::LegId leg{tcp::kNone, 0};
    uint64_t next = 0;  // stream offsets
    uint64_t end = 0;
  };
  bool stands_alone(const tcp::Connection& c) const;
  void exempt_if_over(uint32_t leg);
  bool open_session(uint32_t leg, Instant now);
  bool enter(uint32_t leg, RecordKind kind, Instant now);
  bool is_known(const tcp::Connection& c) const { return inherited_ && c.mirror_leg != tcp::kNone; }
  bool write_open(uint32_t leg, RecordKind kind, Instant now);
  bool write_adopt(uint32_t leg, Instant now);
  bool write_agreed(uint32_t leg, Instant now);
  bool write_heard(uint32_t leg, Instant now);
  void begin_output(uint32_t leg);
  bool write_output(Instant now);
  tcp::ReadCursor cursor_of_sink(const tcp::Connection& c) const;
  bool write_segments(uint32_t leg, Instant now);
  bool write_mark(bool is_end, Instant now);
  void write_digest(Instant now);
  void enter_digest(uint32_t leg);
  void leave_digest(uint32_t leg);
  uint64_t bytes_of_soft(const tcp::Soft& soft) const;
  bool write_sent(uint32_t leg, const tcp::Soft& soft, Instant now);
  bool write_early(uint32_t leg, const tcp::Soft& soft, Instant now);
  uint64_t bytes_to_open(uint32_t client) const;
  bool gate_has_room() const { return gate_tail_ - gate_head_ < gates_.size(); }
  void commit_up_to(uint32_t sequence);
  // A leg for which the standby has no room, until it knows that we know.
  struct Refusal {
    tcp::LegId leg;
    uint32_t close_sequence = 0;  // 0: not written yet
  };
  void on_refused(const RefusedLeg& refused, Instant now);
  void give_up_refused(uint32_t leg);
  Refusal* refusal_of(uint32_t leg);  // null: none, or the slot is free
  void unprotect_refused();
  void want_close(uint32_t leg);
  bool write_closes(Instant now);

  const tcp::GroupIndex group_;
  const uint32_t index_;
  uint32_t streams_ = 1;
  uint32_t frame_payload_;
  uint64_t capacity_;  // bytes of records that the whole window takes
  tcp::Engine& engine_;
  DropCounters drops_;
  ChannelSender channel_;
  State state_ = State::closed;
  std::vector<Gate> gates_;  // a ring
  uint64_t gate_head_ = 0;
  uint64_t gate_tail_ = 0;
  bool gate_is_open_ = false;
  uint32_t snapshot_next_ = 0;
  uint32_t snapshot_legs_ = 0;
  uint32_t snapshot_end_sequence_ = 0;  // 0: not written yet
  uint32_t release_sequence_ = 0;       // likewise
  bool inherited_ = false;
  Output output_;
  Instant full_until_ = Instant::min();  // the standby; min: it is not
  std::vector<uint64_t> closes_;         // a bit per leg whose CLOSE waits for room
  uint32_t closes_waiting_ = 0;
  std::vector<Refusal> refusals_;
  Digest digest_;
  std::vector<uint32_t> shares_;  // of each leg in digest_; 0: it is not in the stream
  Instant digest_at_ = kNever;
};

}  // namespace understudy::mirror
