#pragma once

#include <cstdint>
#include <string_view>

namespace understudy::tcp {

// RFC 9293 section 3.3.2. LISTEN is a service, not a connection; CLOSED is the absence of one.
enum class State : uint8_t {
  syn_sent,
  syn_received,
  established,
  fin_wait_1,
  fin_wait_2,
  close_wait,
  closing,
  last_ack,
  time_wait,
};

constexpr std::string_view name_of(State state) {
  constexpr std::string_view kNames[] = {"SYN-SENT",   "SYN-RECEIVED", "ESTABLISHED",
                                         "FIN-WAIT-1", "FIN-WAIT-2",   "CLOSE-WAIT",
                                         "CLOSING",    "LAST-ACK",     "TIME-WAIT"};
  return kNames[static_cast<size_t>(state)];
}

constexpr bool is_synchronised(State state) {
  return state != State::syn_sent && state != State::syn_received;
}
// The peer's FIN has been received.
constexpr bool peer_has_closed(State state) {
  return state == State::close_wait || state == State::closing || state == State::last_ack ||
         state == State::time_wait;
}
// Our FIN has been sent (and may have been acknowledged).
constexpr bool we_have_closed(State state) {
  return state == State::fin_wait_1 || state == State::fin_wait_2 || state == State::closing ||
         state == State::last_ack || state == State::time_wait;
}
constexpr bool our_fin_unacknowledged(State state) {
  return state == State::fin_wait_1 || state == State::closing || state == State::last_ack;
}

// Why a connection ended; what the application is told.
enum class CloseReason : uint8_t { finished, reset_by_peer, refused, timed_out, unreachable, idle, aborted };

constexpr std::string_view name_of(CloseReason reason) {
  constexpr std::string_view kNames[] = {"finished",    "reset by peer", "refused", "timed out",
                                         "unreachable", "idle",          "aborted"};
  return kNames[static_cast<size_t>(reason)];
}

}  // namespace understudy::tcp
