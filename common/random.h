#pragma once

#include <cstdint>

namespace understudy {

// A seeded pseudo-random source (splitmix64, Steele et al. 2014). Handed in wherever chance is
// wanted, so that a whole cluster replays from one seed. Not for secrets: those come from the cluster's
// secret file.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // Uniform in [0, bound); bound > 0. The bias of the multiply-shift is below 2^-32.
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(((next() >> 32) * bound) >> 32); }
  bool chance(uint32_t numerator, uint32_t denominator) { return below(denominator) < numerator; }

 private:
  uint64_t state_;
};

}  // namespace understudy
