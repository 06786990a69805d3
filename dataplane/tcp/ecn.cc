// Explicit congestion notification (RFC 3168). Of what RFC 8311 allows beyond it nothing is done: control
// segments and retransmissions leave unmarked.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {
namespace {

// The lower two bits of the type of service (RFC 3168 section 5).
constexpr uint8_t kEcnBits = 3;
constexpr uint8_t kCapable = 2;  // ECT(0)
constexpr uint8_t kMarked = 3;   // CE

}  // namespace

// Section 6.1.1.1: a SYN that is not answered goes out without the request: something on the path may not
// like it.
bool Engine::requests_ecn(const Connection& c, const Soft& soft) const {
  if (settings_.ecn != Ecn::request || !c.active_open) return false;
  if (soft.sent_first == kNone) return true;
  const SentSegment& syn = sent_[soft.sent_first];
  return !syn.lost && !syn.retransmitted;
}

uint8_t Engine::ecn_flags_of_syn(const Connection& c, const Soft* soft) const {
  if (c.state == State::syn_sent)
    return soft != nullptr && requests_ecn(c, *soft) ? wire::kEce | wire::kCwr : 0;
  return c.ecn ? wire::kEce : 0;
}

bool Engine::grants_ecn(const wire::TcpSegment& syn) const {
  return settings_.ecn != Ecn::off && syn.has(wire::kEce) && syn.has(wire::kCwr);
}

// Section 6.1.3: from a mark on every acknowledgement says so, until the peer has reduced its window.
void Engine::note_mark(Soft& soft, const wire::TcpSegment& s) {
  if (s.has(wire::kCwr)) soft.ecn.echoes = false;
  if ((s.type_of_service & kEcnBits) != kMarked || s.payload_length == 0) return;
  ++counters_.congestion_marks_in;
  soft.ecn.echoes = true;
  soft.ack_now = true;
  want_output(soft.leg);
}

// Reduced for what is in flight: one window of data is one reason (section 6.1.2).
bool Engine::has_reduced(const Connection& c, const Soft& soft) const {
  return soft.ecn.reacted && at_or_before(c.snd.una, soft.ecn.point);
}

void Engine::process_congestion_echo(Connection& c, Soft& soft, const wire::TcpSegment& s) {
  const bool again = soft.ecn.reacted && at_or_before(s.ack, soft.ecn.point);
  if (again || soft.recovery.active || !is_synchronised(c.state)) return;
  ++counters_.congestion_echoes_in;
  soft.congestion.on_loss(static_cast<uint32_t>(std::max(0, c.snd.nxt - c.snd.una)));
  soft.congestion.on_recovery_done();
  note_reduction(c, soft);
}

// Whatever the reason: the first new data afterwards tells the peer.
void Engine::note_reduction(const Connection& c, Soft& soft) {
  if (!c.ecn) return;
  soft.ecn.reacted = soft.ecn.owes_notice = true;
  soft.ecn.point = c.snd.nxt;
}

// Sections 6.1.4 to 6.1.6: acknowledgements, retransmissions and window probes do not offer to be marked.
void Engine::mark_outgoing(Soft& soft, bool new_data, wire::TcpSegmentToSend& segment) {
  if (soft.ecn.echoes) segment.flags |= wire::kEce;
  if (!new_data) return;
  segment.type_of_service |= kCapable;
  if (soft.ecn.owes_notice) segment.flags |= wire::kCwr;
  soft.ecn.owes_notice = false;
}

}  // namespace understudy::tcp
