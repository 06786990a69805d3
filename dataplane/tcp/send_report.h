#pragma once

#include <cstdint>

#include "common/instant.h"

namespace understudy::tcp {

// How the sender of one leg stands. Segments count as they were cut; zero without soft state.
struct SendReport {
  uint32_t congestion_window = 0;  // bytes
  uint32_t slow_start_threshold = 0;
  uint32_t payload_max = 0;   // bytes of a full segment
  uint32_t segments_out = 0;  // sent and not cumulatively acknowledged
  uint32_t segments_sacked = 0;
  uint32_t segments_lost = 0;           // deemed lost, those sent again since included
  uint32_t segments_retransmitted = 0;  // of those out
  Duration srtt{0};                     // zero: no sample yet
  Duration rttvar{0};
  Duration rtt_min{0};
  Duration rto{0};
  uint8_t backoff = 0;
  uint8_t retransmissions = 0;  // of the oldest segment, in a row
  uint8_t window_probes = 0;
  uint32_t reordering_bytes = 0;  // furthest that a segment came late
  bool in_recovery = false;
  bool after_timeout = false;
};

}  // namespace understudy::tcp
