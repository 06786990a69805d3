#pragma once

#include "dataplane/mirror/record.h"
#include "dataplane/tcp/soft.h"

namespace understudy::mirror {

// What a planned hand-over says beyond the log, soft state above all: written by an owner that has stopped,
// after the last segment record of each leg that is active, and read by a standby that knows these kinds.
// Another one skips them, and its legs start with fresh soft state as after a crash.
//
//   soft     the soft state of a leg, and the numbers that segment records leave out
//   sent     what is in flight: SentEntry, oldest first; after soft
//   early    a run of the out-of-order queue; after soft
//   release  the end of the log for a group: who has applied it may claim the group, and nothing is lost
//
// And from the successor to the former owner, in its first stream:
//
//   adopt    a leg that the reader holds as it stood at the release, under its own index: instead of open
//
// Instants travel as nanoseconds from the moment of writing, negative in the past; INT64_MAX stands for
// never.

struct SoftRecord {
  RecordHeader header;
  be32_t leg;
  be32_t flags;  // SoftFlag
  be32_t snd_nxt, snd_wl1, snd_wl2, snd_wnd, snd_wnd_max;
  be32_t rcv_acked, rcv_edge_sent;
  // Round-trip time, in nanoseconds.
  be64_t srtt, rttvar, rtt_min;
  uint8_t backoff, persist_backoff, retransmissions, reserved;
  // Congestion window; the real numbers as bit patterns (IEEE 754).
  be32_t congestion_mss, cwnd, ssthresh, acked_since_increase;
  be64_t w_max, w_est, k, epoch_start;
  // Loss recovery.
  be32_t highest_sacked, rack_end;
  be64_t rack_sent_at, rack_rtt;
  be32_t recovery_point, recovery_flight, recovery_delivered, recovery_out;
  be32_t probe_end, duplicate_acks, ecn_point;
  // Receiver.
  be64_t newest_early, fin_offset;
  be32_t duplicate_acks_owed, duplicate_ack_at, segments_since_ack;
  be64_t challenged_at;
  // Deadlines.
  be64_t retransmit_at, probe_at, reorder_at, persist_at, delayed_ack_at, last_sent_at, give_up_at;
  // What follows an older owner does not say; it reads as zero.
  be64_t reported[4];  // offsets; UINT64_MAX, or all zero: none
  be32_t duplicate_left, duplicate_right, quick_acks, reordering_bytes;
};
constexpr size_t kSoftRecordFirst = 260;  // bytes that every owner writes
static_assert(sizeof(SoftRecord) == kSoftRecordFirst + 48);

constexpr uint32_t kSoftAdopted = 1U << 0;
constexpr uint32_t kSoftReorderingSeen = 1U << 1;
constexpr uint32_t kSoftRecovering = 1U << 2;
constexpr uint32_t kSoftAfterTimeout = 1U << 3;
constexpr uint32_t kSoftProbing = 1U << 4;
constexpr uint32_t kSoftProbeRepeats = 1U << 5;
constexpr uint32_t kSoftEarlyFin = 1U << 6;
constexpr uint32_t kSoftAckSoon = 1U << 7;
constexpr uint32_t kSoftAckNow = 1U << 8;
constexpr uint32_t kSoftWindowProbeDue = 1U << 9;
constexpr uint32_t kSoftChallenge = 1U << 10;
constexpr uint32_t kSoftEchoesMark = 1U << 11;
constexpr uint32_t kSoftOwesNotice = 1U << 12;
constexpr uint32_t kSoftReacted = 1U << 13;
constexpr uint32_t kSoftDuplicate = 1U << 14;
constexpr uint32_t kSoftNetworkError = 1U << 15;

struct SentEntry {
  be32_t begin;
  be32_t length;  // the upper four bits are SentFlag
  be64_t sent_at;
};
static_assert(sizeof(SentEntry) == 16);
constexpr uint32_t kSentSacked = 1U << 31;
constexpr uint32_t kSentLost = 1U << 30;
constexpr uint32_t kSentRepeated = 1U << 29;
constexpr uint32_t kSentPushed = 1U << 28;  // only where segments are pushed in the middle of a run

struct SentRecord {
  RecordHeader header;
  be32_t leg;  // SentEntries follow, to the end of the record
};

struct EarlyRecord {
  RecordHeader header;
  be32_t leg;
  be64_t offset;  // in the stream; the bytes follow, to the end of the record
};

struct ReleaseRecord {
  RecordHeader header;
  be16_t group;
  uint8_t leaves;  // 1: the owner goes away, and will not be its successor's standby
  uint8_t reserved;
  be64_t clock_us;  // the group's clock when the owner stopped: its successor's goes on from here
};
static_assert(sizeof(ReleaseRecord) == 16);

struct AdoptRecord {
  RecordHeader header;
  be32_t leg;
  be32_t former;  // the reader's index
  be32_t iss;     // must be the same, or the two do not speak of the same leg
};
static_assert(sizeof(AdoptRecord) == 16);

SoftRecord soft_record_of(const tcp::Connection& c, const tcp::Soft& soft, uint32_t leg, Instant now);
SentEntry sent_entry_of(const tcp::SentSegment& sent, Instant now);
// False: too short even for the oldest owner.
bool load_soft(std::span<const uint8_t> record, SoftRecord& r);
// Fills in a fresh soft state, less what SentEntries and early bytes say.
void restore(const SoftRecord& record, tcp::Connection& c, tcp::Soft& soft, Instant now);
tcp::SentSegment sent_segment_of(const SentEntry& entry, Instant now);

}  // namespace understudy::mirror
