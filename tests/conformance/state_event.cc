#include "tests/conformance/state_event.h"

#include <fmt/format.h>

#include "common/check.h"

namespace understudy::conformance {
namespace {

// Numbers as they stand in a place: what we have sent, and what the peer sends next.
struct Numbers {
  int una = 0;
  int nxt = 0;
  int peer = 0;
};

Numbers numbers_in(Place place) {
  switch (place) {
    case Place::closed:
    case Place::listen:
      return {0, 0, 0};
    case Place::syn_sent:
      return {0, 1, 0};
    case Place::syn_received:
    case Place::syn_received_active:
      return {0, 1, 1};
    case Place::established:
      return {1, 1001, 101};
    case Place::fin_wait_1:
      return {1, 2, 101};
    case Place::fin_wait_2:
      return {2, 2, 101};
    case Place::close_wait:
      return {1, 1001, 102};
    case Place::closing:
    case Place::last_ack:
      return {1, 2, 102};
    case Place::time_wait:
      return {2, 2, 102};
  }
  return {};
}

std::string segment_of(Event event, const Numbers& n) {
  switch (event) {
    case Event::syn:
      return fmt::format("S {0}:{0} mss 1000 sackok", n.peer == 0 ? 0 : n.peer + 10);
    case Event::syn_again:
      return "S 0:0 mss 1000 sackok";
    case Event::syn_anew:
      return "S 200000:200000 mss 1000 sackok";
    case Event::syn_ack:
      return fmt::format("S. {0}:{0} ack {1} mss 1000 sackok", n.peer, n.nxt);
    case Event::ack:
      return fmt::format(". {0}:{0} ack {1}", n.peer, n.nxt);
    case Event::ack_again:
      return fmt::format(". {0}:{0} ack {1}", n.peer, n.una);
    case Event::ack_beyond:
      return fmt::format(". {0}:{0} ack {1}", n.peer, n.nxt + 1000);
    case Event::data:
      return fmt::format("P. {}:{} ack {}", n.peer, n.peer + 50, n.una);
    case Event::data_early:
      return fmt::format("P. {}:{} ack {}", n.peer + 50, n.peer + 100, n.una);
    case Event::data_beyond:
      return fmt::format("P. {}:{} ack {}", n.peer + 70'000, n.peer + 70'050, n.una);
    case Event::data_again:
      return fmt::format("P. 1:51 ack {}", n.una);
    case Event::fin:
      return fmt::format("F. {0}:{0} ack {1}", n.peer, n.una);
    case Event::fin_again:
      return fmt::format("F. {0}:{0} ack {1}", n.peer - 1, n.una);
    case Event::rst:
      return fmt::format("R {0}:{0}", n.peer);
    case Event::rst_near:
      return fmt::format("R {0}:{0}", n.peer + 10);
    case Event::rst_far:
      return fmt::format("R {0}:{0}", n.peer + 70'000);
    case Event::rst_ack:
      return fmt::format("R. {0}:{0} ack {1}", n.peer, n.nxt);
    case Event::without_ack:
      return fmt::format("P {}:{}", n.peer, n.peer + 50);
    case Event::old_timestamp:
      return fmt::format("P. {}:{} ack {} ts 50 0", n.peer, n.peer + 50, n.una);
    default:
      return "";
  }
}

}  // namespace

std::string_view name_of(Place place) {
  constexpr std::array<std::string_view, kPlaces> kNames = {
      "CLOSED",      "LISTEN",     "SYN_SENT",   "SYN_RECEIVED", "SYN_RECEIVED_active",
      "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT",   "CLOSING",
      "LAST_ACK",    "TIME_WAIT"};
  return kNames.at(static_cast<size_t>(place));
}

std::string_view name_of(Event event) {
  constexpr std::array<std::string_view, kEvents> kNames = {
      "syn",         "syn_again",  "syn_anew",    "syn_ack",       "ack",
      "ack_again",   "ack_beyond", "data",        "data_early",    "data_beyond",
      "data_again",  "fin",        "fin_again",   "rst",           "rst_near",
      "rst_far",     "rst_ack",    "without_ack", "old_timestamp", "retransmission",
      "retries_end", "close",      "abort",       "send"};
  return kNames.at(static_cast<size_t>(event));
}

void bring_to(Script& s, Place place, bool timestamps) {
  const std::string options = timestamps ? "mss 1000 sackok ts 100 0" : "mss 1000 sackok";
  const std::string ts = timestamps ? " ts 101 0" : "";
  if (place == Place::closed) {
    s.host().add_address(*IpAddress::parse("192.168.0.1"));
    return;
  }
  if (place == Place::syn_sent || place == Place::syn_received_active) {
    s.connect();
    if (place == Place::syn_received_active) s.arrives("S 0:0 " + options);
    s.left();
    return;
  }
  s.listen();
  if (place == Place::listen) return;
  if (place == Place::syn_received) {
    s.arrives("S 0:0 " + options);
    s.left();
    return;
  }
  s.establish(options);
  s.arrives("P. 1:101 ack 1" + ts);
  switch (place) {
    case Place::established:
      s.write(1000);
      break;
    case Place::fin_wait_1:
      s.shutdown();
      break;
    case Place::fin_wait_2:
      s.shutdown();
      s.arrives(". 101:101 ack 2" + ts);
      break;
    case Place::close_wait:
      s.arrives("F. 101:101 ack 1" + ts);
      s.write(1000);
      break;
    case Place::closing:
      s.shutdown();
      s.arrives("F. 101:101 ack 1" + ts);
      break;
    case Place::last_ack:
      s.arrives("F. 101:101 ack 1" + ts);
      s.shutdown();
      break;
    case Place::time_wait:
      s.shutdown();
      s.arrives(". 101:101 ack 2" + ts);
      s.arrives("F. 101:101 ack 2" + ts);
      break;
    default:
      break;
  }
  s.left();
}

std::string outcome_of(Script& s, Place place, Event event) {
  switch (event) {
    case Event::retransmission:
      s.wait(1100ms);
      break;
    case Event::retries_end: {
      s.wait(1h);
      const std::string all = s.left();  // its last line tells how it ended
      const std::string last = all.substr(all.rfind('\n') == std::string::npos ? 0 : all.rfind('\n') + 1);
      return last + " | " + std::string(s.where());
    }
    case Event::close:
      if (place == Place::listen || place == Place::syn_received)
        s.close_listener();
      else if (place == Place::syn_sent)
        s.close();
      else
        s.shutdown();
      break;
    case Event::abort:
      s.abort();
      break;
    case Event::send:
      s.try_write(100);
      break;
    default:
      s.arrives(segment_of(event, numbers_in(place)));
  }
  std::string sent = s.left();
  for (size_t at = 0; (at = sent.find('\n', at)) != std::string::npos;) sent.replace(at, 1, " / ");
  return sent + " | " + std::string(s.where());
}

}  // namespace understudy::conformance
