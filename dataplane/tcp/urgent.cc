// Urgent data (RFC 9293 section 3.8.5). What one leg of a session receives as urgent, the other sends as
// urgent; nobody here takes the urgent byte out of the stream.
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {
namespace {

uint64_t urgent_end_of(const Pipe& pipe) {
  return pipe.tail + static_cast<uint64_t>(static_cast<int64_t>(
                         static_cast<int32_t>(pipe.urgent - static_cast<uint32_t>(pipe.tail))));
}

}  // namespace

// Sixth: the pointer names the first byte that is not urgent (RFC 6093), which may not have arrived yet.
void Engine::process_urgent(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now) {
  if (!s.has(wire::kUrg) || c.rx == kNone || c.fin_received) return;
  if (c.state != State::established && c.state != State::fin_wait_1 && c.state != State::fin_wait_2) return;
  Pipe& rx = pipes_[c.rx];
  const uint64_t end = receive_offset_of(c, s.seq, rx.tail) + s.urgent_pointer;
  const bool newer = !rx.has_urgent || static_cast<int64_t>(end - urgent_end_of(rx)) > 0;
  if (!newer || static_cast<int64_t>(end - rx.head) <= 0) return;
  rx.has_urgent = true;
  rx.urgent = static_cast<uint32_t>(end);
  c.terms_changed = true;
  want_log(leg);
  if (rx.sink == kNone) {
    if (const Service* service = find_service(c.service)) service->application->on_urgent(*this, leg, now);
    return;
  }
  // The peer of the other leg hears of it at once, also when its window is closed.
  Connection& sending = legs_[rx.sink];
  if (!is_synchronised(sending.state) || we_have_closed(sending.state)) return;
  if (Soft* soft = soft_for(sending, rx.sink, now)) soft->challenge_ack = true;
  want_output(rx.sink);
}

uint64_t Engine::urgent_bytes(const Connection& c) const {
  if (c.rx == kNone || !pipes_[c.rx].has_urgent) return 0;
  const Pipe& rx = pipes_[c.rx];
  return static_cast<uint64_t>(std::max<int64_t>(0, static_cast<int64_t>(urgent_end_of(rx) - rx.head)));
}

void Engine::mark_urgent(uint32_t leg) {
  Pipe& tx = pipes_[legs_[leg].tx];
  tx.has_urgent = true;
  tx.urgent = static_cast<uint32_t>(tx.tail);
}

void Engine::point_at_urgent(const Connection& c, wire::TcpSegmentToSend& segment) {
  const Seq end = send_seq_of(c, urgent_end_of(pipes_[c.tx]));
  if (at_or_before(end, segment.seq)) return;
  segment.flags |= wire::kUrg;
  segment.urgent_pointer = static_cast<uint16_t>(std::min(65535, end - segment.seq));
}

}  // namespace understudy::tcp
