#include "dataplane/tcp/congestion.h"

#include <algorithm>
#include <cmath>

namespace understudy::tcp {
namespace {
constexpr double kCubicC = 0.4;
constexpr double kCubicBeta = 0.7;
}  // namespace

uint32_t Congestion::initial_window() const {
  return std::min(10 * mss_, std::max(2 * mss_, 14600U));
}

void Congestion::start(CongestionAlgorithm algorithm, uint32_t mss) {
  *this = Congestion();
  algorithm_ = algorithm;
  mss_ = mss;
  cwnd_ = initial_window();
}

void Congestion::on_ack(uint32_t acked, Duration srtt, Instant now) {
  if (in_slow_start()) {
    cwnd_ += std::min(acked, ssthresh_ - cwnd_);
    return;
  }
  if (algorithm_ == CongestionAlgorithm::cubic) {
    cubic_increase(acked, srtt, now);
    return;
  }
  acked_since_increase_ += acked;
  if (acked_since_increase_ >= cwnd_) {
    acked_since_increase_ -= cwnd_;
    cwnd_ += mss_;
  }
}

void Congestion::cubic_increase(uint32_t acked, Duration srtt, Instant now) {
  const double cwnd = static_cast<double>(cwnd_) / mss_;
  if (epoch_start_ == kNever) {
    epoch_start_ = now;
    if (w_max_ < cwnd) w_max_ = cwnd;
    k_ = std::cbrt((w_max_ - cwnd) / kCubicC);
    w_est_ = cwnd;
  }
  const auto seconds = [](Duration d) { return std::chrono::duration<double>(d).count(); };
  const double t = seconds(now - epoch_start_ + srtt) - k_;
  const double target = std::clamp(kCubicC * t * t * t + w_max_, cwnd, 1.5 * cwnd);
  // Section 4.3: never slower than a Reno flow with the same multiplicative decrease.
  constexpr double kAlpha = 3.0 * (1.0 - kCubicBeta) / (1.0 + kCubicBeta);
  w_est_ += (w_est_ < w_max_ ? kAlpha : 1.0) * (static_cast<double>(acked) / mss_) / cwnd;
  const double step = std::max(0.0, (target - cwnd) / cwnd) * (static_cast<double>(acked) / mss_);
  const double next = std::max(cwnd + step, w_est_);
  cwnd_ = static_cast<uint32_t>(std::min(next * mss_, 1e9));
}

void Congestion::on_loss(uint32_t in_flight) {
  const double cwnd = static_cast<double>(cwnd_) / mss_;
  if (algorithm_ == CongestionAlgorithm::cubic) {
    // Section 4.7, fast convergence.
    w_max_ = cwnd < w_max_ ? cwnd * (1.0 + kCubicBeta) / 2.0 : cwnd;
    epoch_start_ = kNever;
    ssthresh_ =
        std::max(static_cast<uint32_t>(std::min(cwnd_, std::max(in_flight, mss_)) * kCubicBeta), 2 * mss_);
  } else {
    ssthresh_ = std::max(in_flight / 2, 2 * mss_);
  }
}

void Congestion::on_recovery_done() {
  cwnd_ = ssthresh_;
  acked_since_increase_ = 0;
}

void Congestion::on_timeout(uint32_t in_flight) {
  on_loss(in_flight);
  cwnd_ = mss_;
}

void Congestion::on_idle_restart() {
  cwnd_ = std::min(cwnd_, initial_window());
  epoch_start_ = kNever;
}

}  // namespace understudy::tcp
