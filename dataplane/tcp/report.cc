// What may be asked about a leg.
#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

SendReport Engine::report(const Connection& c) const {
  SendReport r;
  r.payload_max = segment_payload_max(c);
  if (c.soft == kNone) return r;
  const Soft& soft = soft_[c.soft];
  r.congestion_window = soft.congestion.cwnd();
  r.slow_start_threshold = soft.congestion.ssthresh();
  for (uint32_t at = soft.sent_first; at != kNone; at = sent_[at].next) {
    const SentSegment& sent = sent_[at];
    ++r.segments_out;
    r.segments_sacked += sent.sacked;
    r.segments_lost += sent.lost || (sent.retransmitted && !sent.sacked && soft.recovery.active);
    r.segments_retransmitted += sent.retransmitted;
  }
  r.srtt = soft.rtt.srtt;
  r.rttvar = soft.rtt.rttvar;
  r.rtt_min = soft.rtt.rtt_min == Duration::max() ? Duration::zero() : soft.rtt.rtt_min;
  r.rto = soft.rtt.rto();
  r.backoff = soft.rtt.backoff;
  r.retransmissions = soft.retransmissions;
  r.window_probes = soft.persist_backoff;
  r.reordering_bytes = soft.rack.reordering_bytes;
  r.in_recovery = soft.recovery.active;
  r.after_timeout = soft.recovery.after_timeout;
  return r;
}

}  // namespace understudy::tcp
