#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "common/instant.h"
#include "common/sequence.h"
#include "dataplane/tcp/congestion.h"
#include "dataplane/tcp/pipe.h"
#include "dataplane/tcp/rtt.h"
#include "dataplane/tcp/source_table.h"

namespace understudy::tcp {

// Where a frame came from, as whoever sends the answer understands it; nothing to the engine. 0: nowhere.
struct Origin {
  uint64_t word = 0;
  explicit operator bool() const { return word != 0; }
};

// What was sent in one segment and is not yet cumulatively acknowledged. RACK (RFC 8985) works on these.
struct SentSegment {
  Seq begin;
  uint32_t length = 0;  // sequence numbers: bytes, plus one for SYN or FIN
  Instant sent_at{};
  uint32_t next = kNone;
  uint32_t previous = kNone;
  bool sacked : 1 = false;
  bool lost : 1 = false;           // deemed lost and not sent again yet
  bool retransmitted : 1 = false;  // at least once
  bool pushed : 1 = false;         // said PSH in the middle of a run
  Seq end() const { return begin + length; }
};

// The soft state of one active leg: what may be forgotten, because the connection finds it again
// (ARCHITECTURE.md, "State").
struct Soft {
  uint32_t leg = kNone;

  // Loss recovery.
  RttEstimator rtt;
  Congestion congestion;
  uint32_t sent_first = kNone;  // SentSegments in sequence order
  uint32_t sent_last = kNone;
  uint32_t in_flight = 0;  // bytes neither sacked nor lost
  uint32_t sacked_bytes = 0;
  uint32_t lost_segments = 0;  // marked lost, waiting for retransmission
  Seq highest_sacked;          // end of the highest SACKed range; valid while sacked_bytes > 0
  struct Rack {                // RFC 8985 section 5.2
    Instant xmit_ts{};
    Seq end_seq;
    Duration rtt{0};
    Seq fack_before;  // what was highest before the acknowledgement at hand
    bool reordering_seen = false;
    uint32_t reordering_bytes = 0;  // how far back a segment came that was late and not lost
  } rack;
  struct Recovery {  // RFC 6937
    bool active = false;
    bool after_timeout = false;
    Seq point;  // recovery ends when this is acknowledged
    uint32_t flight_size = 0;
    uint32_t delivered = 0;
    uint32_t out = 0;
  } recovery;
  struct TailLossProbe {  // RFC 8985 section 7
    bool outstanding = false;
    bool was_retransmission = false;
    Seq end_seq;
  } tlp;
  uint32_t duplicate_acks = 0;     // for peers without SACK
  struct CongestionNotification {  // RFC 3168
    bool echoes = false;           // the peer is told of a mark until it says that it has slowed down
    bool owes_notice = false;      // the window was reduced: the next new data says so (CWR)
    bool reacted = false;          // ... for an echo, and not again before this is acknowledged
    Seq point;
  } ecn;
  ReadCursor cursor;  // where new data was last read

  Origin origin;  // in SYN-RECEIVED: where the SYN came from

  // Receiver.
  uint32_t reassembly_first = kNone;  // out-of-order chunks, ordered by offset, not overlapping
  uint32_t reassembly_count = 0;
  uint64_t last_out_of_order =
      0;  // offset of the newest out-of-order arrival: its block is reported first (RFC 2018)
  // Offsets in the blocks that were reported last, in their order; UINT64_MAX: none.
  std::array<uint64_t, 4> reported = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
  struct Duplicate {  // RFC 2883: bytes that came once more, to be reported once
    bool due = false;
    Seq left;
    Seq right;
  } duplicate;
  bool fin_out_of_order = false;  // a FIN waits behind a hole, at fin_offset
  uint64_t fin_offset = 0;
  uint32_t duplicate_acks_owed = 0;
  Seq duplicate_ack_at;  // rcv.nxt when the newest of them became due: it must be committed first
  uint32_t segments_since_ack = 0;
  uint32_t quick_acks = 0;  // segments that are still to be acknowledged at once
  bool ack_soon = false;    // in-order data arrived: delayed-ACK rules apply
  bool ack_now = false;     // ... and they say now
  bool window_probe_due = false;
  bool challenge_ack = false;            // an ACK without new information is due
  Instant challenged_at = Instant(-1h);  // RFC 5961: when an unacceptable segment was last answered

  // Deadlines; the wheel holds the earliest.
  Instant retransmit_at = kNever;  // RTO
  Instant probe_at = kNever;       // TLP
  Instant reorder_at = kNever;     // RACK reordering timer
  Instant persist_at = kNever;     // zero-window probe
  Instant delayed_ack_at = kNever;
  Instant give_up_at = kNever;  // the user timeout
  bool soft_error = false;      // the network has said so since the peer last acknowledged anything
  uint8_t dscp = 0;             // of the service
  Duration user_timeout{0};     // of the service; 0: none
  uint8_t persist_backoff = 0;
  uint8_t retransmissions = 0;  // of the oldest segment, or of window probes, unanswered in a row
  Instant last_sent_at{};       // for the restart after idle

  // What this leg costs without giving anything for it, and its place in the queue of those (admission.cc).
  struct BurdenLink {
    std::optional<Burden> kind;
    Instant since{};
    uint32_t previous = kNone;
    uint32_t next = kNone;
  } burden;

  // Nothing here that the connection would miss.
  // Within the interval for which nothing else unacceptable is answered (RFC 5961 section 7).
  bool was_challenged(Instant now) const { return now < challenged_at + Duration(100ms); }
  bool is_quiet() const {
    return sent_first == kNone && reassembly_first == kNone && duplicate_acks_owed == 0 && !ack_soon &&
           !ack_now && !fin_out_of_order && persist_at == kNever;
  }
};

}  // namespace understudy::tcp
