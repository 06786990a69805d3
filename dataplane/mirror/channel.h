#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "common/address.h"
#include "common/byte_order.h"
#include "common/instant.h"
#include "common/strong.h"
#include "dataplane/mirror/cluster_frame.h"
#include "dataplane/wire/drop_reason.h"

namespace understudy::mirror {

// The peer channel: an ordered, reliable stream of frames for one group, from one worker of its owner to one
// worker of its standby. Frames are numbered from 1 within a generation; the receiver acknowledges what it
// has applied, cumulatively and with a bitmap of the 64 frames that follow, and the sender repeats what is
// missing. A frame's payload is never changed once it is sent.

struct MirrorDataHeader {
  be64_t to_boot;     // the incarnation that this stream was opened with; another one ignores it
  be32_t generation;  // grows each time that the sender opens the stream anew
  be32_t sequence;
  be16_t group;
  be32_t epoch;  // counter of the epoch under which the sender owns the group
};
static_assert(sizeof(MirrorDataHeader) == 22);

struct MirrorAckHeader {
  be64_t to_boot;
  be32_t generation;
  be32_t next_expected;  // everything before is applied
  be64_t received;       // bit i: next_expected + 1 + i has come
  be16_t group;
};
static_assert(sizeof(MirrorAckHeader) == 26);

// Behind the header, any number of them: legs for which the standby has no room. They are named in every
// acknowledgement until the owner closes them in the stream, so it knows of them before it takes anything of
// theirs for committed; and it goes on without a standby for them once their CLOSE is committed. A leg is the
// same only with the same initial sequence number.
struct RefusedLeg {
  be32_t leg;  // the owner's index
  be32_t iss;
};
static_assert(sizeof(RefusedLeg) == 8);

// Who talks to whom; the same for both ends of a stream, seen from each.
struct ChannelAddress {
  uint32_t cluster = 0;
  NodeId self;
  BootId self_boot;
  uint8_t self_worker = 0;
  MacAddress self_mac;
  BootId peer_boot;
  uint8_t peer_worker = 0;
  MacAddress peer_mac;
  GroupId group;
  uint32_t epoch = 0;  // counter; the owner's
};

// Takes finished frames, Ethernet header included.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  // Takes one reference. The sender may have another one and keep the frame as the call leaves it, sealed
  // perhaps; from then on everybody only reads it.
  virtual void transmit_cluster(rte_mbuf* frame) = 0;
  // Once more what transmit_cluster left; takes no reference.
  virtual void repeat_cluster(rte_mbuf* sent) = 0;
};

class ChannelSender {
 public:
  struct Settings {
    uint32_t window = 1024;         // frames; a power of two
    uint32_t frame_payload = 1400;  // bytes of records per frame
    Duration keepalive =
        10ms;  // an empty frame after this much silence, so that both ends know that the other lives
    Duration retransmit_min = 4ms;
  };
  ChannelSender(const Settings& settings, rte_mempool* pool, FrameSink& sink, DropCounters& drops);
  ~ChannelSender();
  ChannelSender(const ChannelSender&) = delete;
  ChannelSender& operator=(const ChannelSender&) = delete;

  void open(const ChannelAddress& address, uint32_t generation, Instant now);
  void close();
  bool is_open() const { return open_; }
  uint32_t generation() const { return generation_; }

  // Room for a record of `length` bytes (at most frame_payload) at the end of the current frame, or of a new
  // one. Null when the window or the pool is exhausted. current_sequence() is then the frame that holds it.
  uint8_t* append(uint32_t length, Instant now);
  uint32_t current_sequence() const { return next_; }
  uint32_t room_in_frame() const;  // bytes that still fit the current frame
  // Records of at least this many bytes in all can be appended now.
  uint64_t room() const;
  void flush(Instant now);  // sends the frame under construction
  // False: it is about another stream, or older than one that we have seen.
  bool on_ack(const MirrorAckHeader& ack, Instant now);
  void tick(Instant now);
  Instant next_deadline() const;
  void excuse(Instant now) { last_progress_ = now; }  // we were away: silence does not count

  uint32_t acknowledged() const { return una_ - 1; }  // highest frame of which all before are applied too
  uint32_t in_flight() const { return next_ - una_; }
  // Since when nothing has been confirmed although something should have been; kNever when nothing is owed.
  Instant waiting_since() const { return in_flight() == 0 ? kNever : last_progress_; }
  uint64_t retransmitted() const { return retransmitted_; }
  uint64_t frames_sent() const { return frames_sent_; }
  uint64_t bytes_sent() const { return bytes_sent_; }

 private:
  struct Slot {
    rte_mbuf* frame = nullptr;
    Instant sent_at{};
    bool received = false;
  };
  Slot& slot(uint32_t sequence) { return slots_[sequence & (settings_.window - 1)]; }
  bool start_frame();
  void prepare_next();
  void send(uint32_t sequence, Instant now);
  void repeat(uint32_t sequence, Instant now);
  void count_sent(Slot& s, Instant now);
  void release_up_to(uint32_t next_expected);
  void release_all();

  Settings settings_;
  rte_mempool* pool_;
  FrameSink& sink_;
  DropCounters& drops_;
  ChannelAddress address_;
  std::vector<Slot> slots_;
  bool open_ = false;
  uint32_t generation_ = 0;
  uint32_t una_ = 1;   // oldest frame not confirmed
  uint32_t next_ = 1;  // sequence of the frame under construction
  rte_mbuf* building_ = nullptr;
  rte_mbuf* prepared_ = nullptr;  // for the frame after it
  uint32_t built_ = 0;            // payload bytes in it
  Instant last_sent_{};
  Instant last_progress_{};
  Instant retransmit_at_ = kNever;
  Duration retransmit_wait_{};
  uint64_t retransmitted_ = 0;
  uint64_t frames_sent_ = 0;
  uint64_t bytes_sent_ = 0;
};

class ChannelReceiver {
 public:
  // Gets the frames' payloads in order. `frame` stays the channel's; take a reference to keep bytes.
  class Consumer {
   public:
    virtual ~Consumer() = default;
    virtual void on_open(uint32_t generation, Instant now) = 0;  // a new generation: forget the one before
    // False: it could not be applied. Then nothing of this generation is acknowledged any more, this frame
    // included.
    virtual bool on_frame(std::span<const uint8_t> records, rte_mbuf* frame, Instant now) = 0;
  };
  ChannelReceiver(uint32_t window, rte_mempool* pool, FrameSink& sink, DropCounters& drops);
  ~ChannelReceiver();
  ChannelReceiver(const ChannelReceiver&) = delete;
  ChannelReceiver& operator=(const ChannelReceiver&) = delete;

  void set_address(const ChannelAddress& address) { address_ = address; }
  // receive() would begin a new generation with it.
  bool would_open(BootId from_boot, std::span<const uint8_t> payload) const;
  // Takes the frame. `payload` are the bytes after the cluster header, inside the frame.
  void receive(BootId from_boot, std::span<const uint8_t> payload, rte_mbuf* frame, Consumer& consumer,
               Instant now);
  void send_ack_if_due(std::span<const RefusedLeg> refused, Instant now);
  void close();  // ignores the generation from now on, and acknowledges nothing
  uint32_t generation() const { return generation_; }
  BootId from_boot() const { return from_boot_; }
  Instant last_heard() const { return last_heard_; }
  bool is_open() const { return open_; }

 private:
  struct Waiting {
    rte_mbuf* frame = nullptr;
    uint16_t offset = 0;
    uint16_t length = 0;
  };
  void release_all();

  uint32_t window_;
  rte_mempool* pool_;
  FrameSink& sink_;
  DropCounters& drops_;
  ChannelAddress address_;
  std::vector<Waiting> waiting_;
  bool open_ = false;
  bool ack_due_ = false;
  BootId from_boot_;
  std::array<BootId, 8>
      former_boots_{};  // incarnations that have been succeeded: their late frames change nothing
  size_t former_next_ = 0;
  uint32_t generation_ = 0;
  uint32_t next_ = 1;
  Instant last_heard_{};
};

// Which group a mirror frame is of, and under which epoch its sender owns it; nothing when it is too short.
struct MirrorSubject {
  GroupId group;
  uint32_t epoch = 0;  // counter; of data frames
};
std::optional<MirrorSubject> subject_of_data(std::span<const uint8_t> payload);
std::optional<MirrorSubject> subject_of_ack(std::span<const uint8_t> payload);

// An Ethernet frame with cluster header and `payload` for `destination`, in a buffer with room for its seal.
// Null when the pool is empty.
rte_mbuf* make_cluster_frame(rte_mempool* pool, const MacAddress& source, const MacAddress& destination,
                             const ClusterFrameView& view, uint32_t cluster);

}  // namespace understudy::mirror
