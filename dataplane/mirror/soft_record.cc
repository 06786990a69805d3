#include "dataplane/mirror/soft_record.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace understudy::mirror {
namespace {

constexpr int64_t kWireNever = std::numeric_limits<int64_t>::max();

uint64_t wire_of(Instant when, Instant now) {
  return static_cast<uint64_t>(when == kNever ? kWireNever : (when - now).count());
}

Instant instant_of(be64_t wire, Instant now) {
  const auto distance = static_cast<int64_t>(wire.get());
  // More than a year is damage, and must not overflow.
  constexpr int64_t kFurthest = int64_t{365} * 24 * 3600 * 1'000'000'000;
  if (distance == kWireNever) return kNever;
  return now + Duration(std::clamp(distance, -kFurthest, kFurthest));
}

uint64_t bits_of(double value) {
  return std::bit_cast<uint64_t>(value);
}

double real_of(be64_t wire) {
  const auto value = std::bit_cast<double>(wire.get());
  return value >= 0 && value < 1e12 ? value : 0;  // and not NaN
}

Duration span_of(be64_t wire) {
  return Duration(static_cast<int64_t>(std::min<uint64_t>(wire.get(), uint64_t{60'000'000'000})));
}

uint32_t flags_of(const tcp::Connection& c, const tcp::Soft& s) {
  return (c.adopted ? kSoftAdopted : 0) | (s.rack.reordering_seen ? kSoftReorderingSeen : 0) |
         (s.recovery.active ? kSoftRecovering : 0) | (s.recovery.after_timeout ? kSoftAfterTimeout : 0) |
         (s.tlp.outstanding ? kSoftProbing : 0) | (s.tlp.was_retransmission ? kSoftProbeRepeats : 0) |
         (s.fin_out_of_order ? kSoftEarlyFin : 0) | (s.ack_soon ? kSoftAckSoon : 0) |
         (s.ack_now ? kSoftAckNow : 0) | (s.window_probe_due ? kSoftWindowProbeDue : 0) |
         (s.challenge_ack ? kSoftChallenge : 0) | (s.ecn.echoes ? kSoftEchoesMark : 0) |
         (s.ecn.owes_notice ? kSoftOwesNotice : 0) | (s.ecn.reacted ? kSoftReacted : 0) |
         (s.duplicate.due ? kSoftDuplicate : 0) | (s.soft_error ? kSoftNetworkError : 0);
}

void write_sender(SoftRecord& r, const tcp::Soft& soft, Instant now) {
  r.srtt = static_cast<uint64_t>(soft.rtt.srtt.count());
  r.rttvar = static_cast<uint64_t>(soft.rtt.rttvar.count());
  r.rtt_min = static_cast<uint64_t>(soft.rtt.rtt_min.count());
  r.backoff = soft.rtt.backoff;
  const tcp::Congestion::Memory memory = soft.congestion.memory();
  r.congestion_mss = memory.mss;
  r.cwnd = memory.cwnd;
  r.ssthresh = memory.ssthresh;
  r.acked_since_increase = memory.acked_since_increase;
  r.w_max = bits_of(memory.w_max);
  r.w_est = bits_of(memory.w_est);
  r.k = bits_of(memory.k);
  r.epoch_start = wire_of(memory.epoch_start, now);
  r.highest_sacked = soft.highest_sacked.raw();
  r.rack_end = soft.rack.end_seq.raw();
  r.rack_sent_at = wire_of(soft.rack.xmit_ts, now);
  r.rack_rtt = static_cast<uint64_t>(soft.rack.rtt.count());
  r.recovery_point = soft.recovery.point.raw();
  r.recovery_flight = soft.recovery.flight_size;
  r.recovery_delivered = soft.recovery.delivered;
  r.recovery_out = soft.recovery.out;
  r.probe_end = soft.tlp.end_seq.raw();
  r.duplicate_acks = soft.duplicate_acks;
  r.ecn_point = soft.ecn.point.raw();
}

void restore_sender(const SoftRecord& r, tcp::Soft& soft, Instant now) {
  soft.rtt.srtt = span_of(r.srtt);
  soft.rtt.rttvar = span_of(r.rttvar);
  const uint64_t least = r.rtt_min.get();
  soft.rtt.rtt_min = least >= static_cast<uint64_t>(kWireNever) ? Duration::max() : span_of(r.rtt_min);
  soft.rtt.backoff = std::min<uint8_t>(r.backoff, 10);
  soft.congestion.restore({.mss = std::clamp<uint32_t>(r.congestion_mss.get(), 64, UINT16_MAX),
                           .cwnd = r.cwnd.get(),
                           .ssthresh = r.ssthresh.get(),
                           .acked_since_increase = r.acked_since_increase.get(),
                           .w_max = real_of(r.w_max),
                           .w_est = real_of(r.w_est),
                           .k = real_of(r.k),
                           .epoch_start = instant_of(r.epoch_start, now)});
  const uint32_t flags = r.flags.get();
  soft.highest_sacked = Seq(r.highest_sacked.get());
  soft.rack.end_seq = Seq(r.rack_end.get());
  soft.rack.xmit_ts = instant_of(r.rack_sent_at, now);
  soft.rack.rtt = span_of(r.rack_rtt);
  soft.rack.reordering_seen = flags & kSoftReorderingSeen;
  soft.recovery = {.active = (flags & kSoftRecovering) != 0,
                   .after_timeout = (flags & kSoftAfterTimeout) != 0,
                   .point = Seq(r.recovery_point.get()),
                   .flight_size = std::max<uint32_t>(r.recovery_flight.get(), 1),
                   .delivered = r.recovery_delivered.get(),
                   .out = r.recovery_out.get()};
  soft.tlp.outstanding = flags & kSoftProbing;
  soft.tlp.was_retransmission = flags & kSoftProbeRepeats;
  soft.tlp.end_seq = Seq(r.probe_end.get());
  soft.duplicate_acks = r.duplicate_acks.get();
  soft.ecn = {.echoes = (flags & kSoftEchoesMark) != 0,
              .owes_notice = (flags & kSoftOwesNotice) != 0,
              .reacted = (flags & kSoftReacted) != 0,
              .point = Seq(r.ecn_point.get())};
}

}  // namespace

SoftRecord soft_record_of(const tcp::Connection& c, const tcp::Soft& soft, uint32_t leg, Instant now) {
  SoftRecord r{};
  r.header.length = sizeof r;
  r.header.kind = static_cast<uint8_t>(RecordKind::soft);
  r.leg = leg;
  r.flags = flags_of(c, soft);
  r.snd_nxt = c.snd.nxt.raw();
  r.snd_wl1 = c.snd.wl1.raw();
  r.snd_wl2 = c.snd.wl2.raw();
  r.snd_wnd = c.snd.wnd;
  r.snd_wnd_max = c.snd.wnd_max;
  r.rcv_acked = c.rcv.acked.raw();
  r.rcv_edge_sent = c.rcv.edge_sent.raw();
  write_sender(r, soft, now);
  r.newest_early = soft.last_out_of_order;
  r.fin_offset = soft.fin_offset;
  r.duplicate_acks_owed = soft.duplicate_acks_owed;
  r.duplicate_ack_at = soft.duplicate_ack_at.raw();
  r.segments_since_ack = soft.segments_since_ack;
  r.challenged_at = wire_of(soft.challenged_at, now);
  r.retransmit_at = wire_of(soft.retransmit_at, now);
  r.probe_at = wire_of(soft.probe_at, now);
  r.reorder_at = wire_of(soft.reorder_at, now);
  r.persist_at = wire_of(soft.persist_at, now);
  r.delayed_ack_at = wire_of(soft.delayed_ack_at, now);
  r.last_sent_at = wire_of(soft.last_sent_at, now);
  r.give_up_at = wire_of(soft.give_up_at, now);
  r.persist_backoff = soft.persist_backoff;
  r.retransmissions = soft.retransmissions;
  for (size_t i = 0; i < soft.reported.size(); ++i) r.reported[i] = soft.reported[i];
  r.duplicate_left = soft.duplicate.left.raw();
  r.duplicate_right = soft.duplicate.right.raw();
  r.quick_acks = soft.quick_acks;
  r.reordering_bytes = soft.rack.reordering_bytes;
  return r;
}

void restore(const SoftRecord& r, tcp::Connection& c, tcp::Soft& soft, Instant now) {
  const uint32_t flags = r.flags.get();
  c.adopted = flags & kSoftAdopted;
  c.snd.nxt = Seq(r.snd_nxt.get());
  c.snd.wl1 = Seq(r.snd_wl1.get());
  c.snd.wl2 = Seq(r.snd_wl2.get());
  c.snd.wnd = r.snd_wnd.get();
  c.snd.wnd_max = r.snd_wnd_max.get();
  c.rcv.acked = Seq(r.rcv_acked.get());
  c.rcv.edge_sent = Seq(r.rcv_edge_sent.get());
  restore_sender(r, soft, now);
  soft.last_out_of_order = r.newest_early.get();
  soft.fin_out_of_order = flags & kSoftEarlyFin;
  soft.fin_offset = r.fin_offset.get();
  soft.duplicate_acks_owed = r.duplicate_acks_owed.get();
  soft.duplicate_ack_at = Seq(r.duplicate_ack_at.get());
  soft.segments_since_ack = r.segments_since_ack.get();
  soft.ack_soon = flags & kSoftAckSoon;
  soft.ack_now = flags & kSoftAckNow;
  soft.window_probe_due = flags & kSoftWindowProbeDue;
  soft.challenge_ack = flags & kSoftChallenge;
  soft.challenged_at = instant_of(r.challenged_at, now);
  soft.retransmit_at = instant_of(r.retransmit_at, now);
  soft.probe_at = instant_of(r.probe_at, now);
  soft.reorder_at = instant_of(r.reorder_at, now);
  soft.persist_at = instant_of(r.persist_at, now);
  soft.delayed_ack_at = instant_of(r.delayed_ack_at, now);
  soft.last_sent_at = instant_of(r.last_sent_at, now);
  soft.give_up_at = instant_of(r.give_up_at, now);
  soft.persist_backoff = std::min<uint8_t>(r.persist_backoff, 8);
  soft.retransmissions = r.retransmissions;
  soft.soft_error = flags & kSoftNetworkError;
  for (size_t i = 0; i < soft.reported.size(); ++i) soft.reported[i] = r.reported[i].get();
  soft.duplicate = {.due = (flags & kSoftDuplicate) != 0,
                    .left = Seq(r.duplicate_left.get()),
                    .right = Seq(r.duplicate_right.get())};
  soft.quick_acks = r.quick_acks.get();
  soft.rack.reordering_bytes = r.reordering_bytes.get();
}

bool load_soft(std::span<const uint8_t> record, SoftRecord& r) {
  if (record.size() < kSoftRecordFirst) return false;
  r = SoftRecord{};
  std::memcpy(&r, record.data(), std::min(record.size(), sizeof r));
  return true;
}

SentEntry sent_entry_of(const tcp::SentSegment& sent, Instant now) {
  SentEntry entry;
  entry.begin = sent.begin.raw();
  entry.length = sent.length | (sent.sacked ? kSentSacked : 0) | (sent.lost ? kSentLost : 0) |
                 (sent.retransmitted ? kSentRepeated : 0) | (sent.pushed ? kSentPushed : 0);
  entry.sent_at = wire_of(sent.sent_at, now);
  return entry;
}

tcp::SentSegment sent_segment_of(const SentEntry& entry, Instant now) {
  tcp::SentSegment sent;
  const uint32_t length = entry.length.get();
  sent.begin = Seq(entry.begin.get());
  sent.length = length & (kSentPushed - 1);
  sent.pushed = length & kSentPushed;
  sent.sacked = length & kSentSacked;
  sent.lost = length & kSentLost;
  sent.retransmitted = length & kSentRepeated;
  sent.sent_at = instant_of(entry.sent_at, now);
  return sent;
}

}  // namespace understudy::mirror
