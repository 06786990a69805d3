#pragma once

#include <algorithm>

#include "common/instant.h"

namespace understudy::tcp {

// Round-trip estimation and retransmission timeout (RFC 6298). Its minimum of one second is taken down to
// what today's stacks use, and is a minimum of the variance's part instead of the whole: on a long path with
// a steady round trip time a timeout of just that time would fire for nothing.
struct RttEstimator {
  static constexpr Duration kRtoInitial = 1s;
  static constexpr Duration kRtoMin = 200ms;
  static constexpr Duration kRtoMax = 60s;

  Duration srtt{0};  // zero: no sample yet
  Duration rttvar{0};
  Duration rtt_min = Duration::max();
  uint8_t backoff = 0;

  void sample(Duration rtt) {
    rtt = std::max(rtt, Duration(1us));
    rtt_min = std::min(rtt_min, rtt);
    backoff = 0;
    if (srtt == Duration::zero()) {
      srtt = rtt;
      rttvar = rtt / 2;
      return;
    }
    rttvar = (3 * rttvar + (srtt > rtt ? srtt - rtt : rtt - srtt)) / 4;
    srtt = (7 * srtt + rtt) / 8;
  }
  // (2.3) and (5.5): the current timeout with its exponential back-off.
  Duration rto() const {
    const Duration base = srtt == Duration::zero() ? kRtoInitial : srtt + std::max(kRtoMin, 4 * rttvar);
    return std::min(kRtoMax, base * (int64_t{1} << std::min<int>(backoff, 10)));
  }
};

}  // namespace understudy::tcp
