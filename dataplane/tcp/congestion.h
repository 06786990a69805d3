#pragma once

#include <cstdint>

#include "common/instant.h"

namespace understudy::tcp {

enum class CongestionAlgorithm : uint8_t { cubic, new_reno };

// Congestion window of one leg, in bytes. CUBIC (RFC 9438) or NewReno (RFC 5681); the reduction during
// recovery is spread by PRR (RFC 6937), which the sender drives.
class Congestion {
 public:
  void start(CongestionAlgorithm algorithm, uint32_t mss);
  // New data was acknowledged outside recovery, and the window was what limited us.
  void on_ack(uint32_t acked, Duration srtt, Instant now);
  // Loss was detected: ssthresh is set; the caller enters recovery.
  void on_loss(uint32_t in_flight);
  void on_recovery_done();
  // RFC 5681 section 3.1: after a retransmission timeout the window is one segment.
  void on_timeout(uint32_t in_flight);
  // RFC 5681 section 4.1: after an idle time the window is at most the initial one.
  void on_idle_restart();

  uint32_t cwnd() const { return cwnd_; }
  uint32_t ssthresh() const { return ssthresh_; }
  bool in_slow_start() const { return cwnd_ < ssthresh_; }
  void set_cwnd(uint32_t cwnd) { cwnd_ = cwnd; }
  void set_mss(uint32_t mss) { mss_ = mss; }
  uint32_t initial_window() const;  // RFC 6928

  // Everything, for a planned hand-over. The moment travels as an age, which the caller converts.
  struct Memory {
    uint32_t mss = 0;
    uint32_t cwnd = 0;
    uint32_t ssthresh = 0;
    uint32_t acked_since_increase = 0;
    double w_max = 0;
    double w_est = 0;
    double k = 0;
    Instant epoch_start = kNever;
  };
  Memory memory() const {
    return {mss_, cwnd_, ssthresh_, acked_since_increase_, w_max_, w_est_, k_, epoch_start_};
  }
  void restore(const Memory& memory) {
    mss_ = memory.mss;
    cwnd_ = memory.cwnd;
    ssthresh_ = memory.ssthresh;
    acked_since_increase_ = memory.acked_since_increase;
    w_max_ = memory.w_max;
    w_est_ = memory.w_est;
    k_ = memory.k;
    epoch_start_ = memory.epoch_start;
  }

 private:
  void cubic_increase(uint32_t acked, Duration srtt, Instant now);

  CongestionAlgorithm algorithm_ = CongestionAlgorithm::cubic;
  uint32_t mss_ = 536;
  uint32_t cwnd_ = 0;
  uint32_t ssthresh_ = UINT32_MAX;
  uint32_t acked_since_increase_ = 0;
  // RFC 9438 section 4: windows in segments, time in seconds.
  double w_max_ = 0;
  double w_est_ = 0;
  double k_ = 0;
  Instant epoch_start_ = kNever;
};

}  // namespace understudy::tcp
