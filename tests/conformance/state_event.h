#pragma once

#include <array>
#include <string>
#include <string_view>

#include "tests/conformance/script.h"

namespace understudy::conformance {

// Where a connection stands when an event comes. As in RFC 9293 section 3.3.2, CLOSED and LISTEN included.
enum class Place : uint8_t {
  closed,
  listen,
  syn_sent,
  syn_received,         // from LISTEN
  syn_received_active,  // from SYN-SENT: both have opened
  established,
  fin_wait_1,
  fin_wait_2,
  close_wait,
  closing,
  last_ack,
  time_wait,
};
constexpr size_t kPlaces = 12;

// What happens: segments of the peer, what the application does, and time.
enum class Event : uint8_t {
  syn,             // in the window, or the first
  syn_again,       // the peer's own first one, once more
  syn_anew,        // beyond everything so far: a new connection with the same ports
  syn_ack,         // acknowledges all that was sent
  ack,             // of all that was sent
  ack_again,       // of what was acknowledged already
  ack_beyond,      // of what was not sent
  data,            // the next bytes
  data_early,      // bytes behind a hole
  data_beyond,     // behind the window
  data_again,      // bytes that were received
  fin,             // the next number
  fin_again,       // the one that was received
  rst,             // the next number
  rst_near,        // in the window
  rst_far,         // outside
  rst_ack,         // the next number, and acknowledges all that was sent
  without_ack,     // the next bytes, but no ACK bit
  old_timestamp,   // the next bytes with an old timestamp (RFC 7323 section 5)
  retransmission,  // a second passes
  retries_end,     // an hour passes
  close,           // the application has nothing more to send
  abort,
  send,
};
constexpr size_t kEvents = 24;

std::string_view name_of(Place place);
std::string_view name_of(Event event);

// Brings a fresh script there. What was exchanged on the way is gone. Where there is a peer, it has sent 100
// bytes; where we may send, 1000 bytes are unacknowledged.
void bring_to(Script& script, Place place, bool timestamps);
// Lets it happen. `what left | where it stands then`.
std::string outcome_of(Script& script, Place place, Event event);

}  // namespace understudy::conformance
