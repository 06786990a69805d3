#pragma once

#include <algorithm>
#include <cmath>

#include "dataplane/tcp/congestion.h"

namespace understudy {

// The average congestion window, in segments, that is published for one loss in every 1/p segments: NewReno's
// sqrt(3/2p), and CUBIC's of RFC 9438 section 5.1 with C = 0.4 and beta = 0.7, which is never less than the
// window of an AIMD flow with the same decrease (its Reno-friendly region; section 4.3).
inline double model_window(tcp::CongestionAlgorithm algorithm, double loss, double round_trip_s) {
  if (loss <= 0) return 1e12;
  const double reno = std::sqrt(1.5 / loss);
  if (algorithm == tcp::CongestionAlgorithm::new_reno) return reno;
  constexpr double kC = 0.4;
  constexpr double kBeta = 0.7;
  const double cubic = std::pow(kC * (3 + kBeta) / (4 * (1 - kBeta)), 0.25) * std::pow(round_trip_s, 0.75) /
                       std::pow(loss, 0.75);
  return std::max(cubic, reno);
}

// Payload bytes per second: that window once per round trip, at most what the receiver's buffer allows in
// that time, and what the link takes, headers included.
inline double model_throughput(tcp::CongestionAlgorithm algorithm, double loss, double round_trip_s,
                               double buffer, double bits_per_second, double payload, double frame) {
  const double by_window = model_window(algorithm, loss, round_trip_s) * payload / round_trip_s;
  const double by_link = bits_per_second / 8 * payload / frame;
  // A window's worth, the time of its first segment on the link included.
  const double by_buffer = buffer / (round_trip_s + frame * 8 / bits_per_second);
  return std::min({by_window, by_link, by_buffer}) * (1 - loss);
}

}  // namespace understudy
