#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "common/instant.h"
#include "common/random.h"

namespace understudy::sim {

// Somebody at the switch between the nodes, who hears what they say to each other and says it again.
class Stranger {
 public:
  struct Word {
    Instant at;
    size_t from;
    std::vector<uint8_t> frame;
  };
  explicit Stranger(uint64_t seed) : random_(seed) {}
  void hear(size_t node, std::span<const uint8_t> frame, Instant now);
  // From when on it says what it has heard by then; what it says after that is its own.
  void begin(Instant until) { until_ = until; }
  bool is_speaking(Instant now) const { return now < until_; }
  // One of those that have arrived long since; nothing if there is none.
  const Word* any(Instant now);
  void said() { ++said_; }
  uint64_t count() const { return said_; }

 private:
  std::deque<Word> words_;
  Random random_;
  Instant until_{};
  uint64_t said_ = 0;
};

}  // namespace understudy::sim
