#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace understudy::tcp {

struct EngineCounters {
  uint64_t segments_in = 0;
  uint64_t segments_out = 0;
  uint64_t payload_in = 0;   // bytes accepted in order
  uint64_t payload_out = 0;  // bytes sent, retransmissions included
  uint64_t passive_opens = 0;
  uint64_t active_opens = 0;
  uint64_t established = 0;
  uint64_t resets_in = 0;
  uint64_t resets_out = 0;
  uint64_t retransmitted = 0;
  uint64_t timeouts = 0;
  uint64_t tail_loss_probes = 0;
  uint64_t keepalive_probes = 0;
  uint64_t keepalive_timeouts = 0;  // connections ended because no probe was answered
  uint64_t user_timeouts = 0;
  uint64_t black_holes = 0;  // paths on which smaller segments were tried because full ones vanished
  uint64_t fast_recoveries = 0;
  uint64_t congestion_marks_in = 0;   // segments of the peer that a router has marked
  uint64_t congestion_echoes_in = 0;  // reductions because the peer told of marks
  uint64_t believed = 0;              // acknowledgements beyond snd.nxt accepted after a takeover
  uint64_t resumed = 0;               // adopted legs woken
  uint64_t challenge_acks = 0;
  uint64_t cookies_sent = 0;
  uint64_t cookies_accepted = 0;
};

// Every counter of the engine by name, for whoever shows them. A name has neither prefix nor unit.
struct EngineCounter {
  uint64_t EngineCounters::*value;
  std::string_view name;
  std::string_view unit;  // "bytes", or nothing where it counts things
  std::string_view text;
};

inline constexpr std::array kEngineCounters = {
    EngineCounter{&EngineCounters::segments_in, "segments_received", "", "Segments received"},
    EngineCounter{&EngineCounters::segments_out, "segments_sent", "", "Segments sent"},
    EngineCounter{&EngineCounters::payload_in, "payload_accepted", "bytes", "Payload accepted in order"},
    EngineCounter{&EngineCounters::payload_out, "payload_sent", "bytes",
                  "Payload sent, retransmissions included"},
    EngineCounter{&EngineCounters::passive_opens, "passive_opens", "", "Connections that others opened"},
    EngineCounter{&EngineCounters::active_opens, "active_opens", "", "Connections opened to backends"},
    EngineCounter{&EngineCounters::established, "established", "", "Connections that became established"},
    EngineCounter{&EngineCounters::resets_in, "resets_received", "",
                  "Resets received that ended a connection"},
    EngineCounter{&EngineCounters::resets_out, "resets_sent", "", "Resets sent"},
    EngineCounter{&EngineCounters::retransmitted, "segments_retransmitted", "", "Segments sent again"},
    EngineCounter{&EngineCounters::timeouts, "retransmission_timeouts", "",
                  "Retransmission timers that ran out"},
    EngineCounter{&EngineCounters::tail_loss_probes, "tail_loss_probes", "",
                  "Tail loss probes sent (RFC 8985)"},
    EngineCounter{&EngineCounters::keepalive_probes, "keepalive_probes", "", "Keep-alive probes sent"},
    EngineCounter{&EngineCounters::keepalive_timeouts, "keepalive_timeouts", "",
                  "Connections ended because no keep-alive probe was answered"},
    EngineCounter{&EngineCounters::user_timeouts, "user_timeouts", "",
                  "Connections ended by their user timeout"},
    EngineCounter{&EngineCounters::black_holes, "black_holes", "",
                  "Full segments that were lost without a word, whereupon smaller ones were tried"},
    EngineCounter{&EngineCounters::fast_recoveries, "fast_recoveries", "", "Loss recoveries without a timer"},
    EngineCounter{&EngineCounters::congestion_marks_in, "congestion_marks_received", "",
                  "Segments that a router had marked (RFC 3168)"},
    EngineCounter{&EngineCounters::congestion_echoes_in, "congestion_echoes_received", "",
                  "Reductions because the peer told of marks"},
    EngineCounter{&EngineCounters::believed, "acknowledgements_believed", "",
                  "Acknowledgements beyond what this node had sent, accepted after a takeover"},
    EngineCounter{&EngineCounters::resumed, "connections_resumed", "",
                  "Adopted connections woken after a takeover"},
    EngineCounter{&EngineCounters::challenge_acks, "challenge_acks", "", "Challenge ACKs sent (RFC 5961)"},
    EngineCounter{&EngineCounters::cookies_sent, "cookies_sent", "", "SYNs answered with a cookie"},
    EngineCounter{&EngineCounters::cookies_accepted, "cookies_accepted", "",
                  "Connections made from a cookie"},
};
static_assert(sizeof(EngineCounters) == kEngineCounters.size() * sizeof(uint64_t), "one is missing above");

}  // namespace understudy::tcp
