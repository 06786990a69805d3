#pragma once

#include <array>
#include <string_view>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

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
