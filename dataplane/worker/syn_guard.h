#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/instant.h"
#include "common/siphash.h"
#include "dataplane/wire/opening.h"

namespace understudy::worker {

// Remembers SYNs that were turned away, for four to eight seconds, or the last 42 for each of its `lines` at
// least (1.4 million): those who mean it say theirs again after one second, and three (RFC 6298 section
// 2.1), while a flood has a new one each time. Two Bloom filters take turns, each with three bits in one
// cache line per SYN; the hash is keyed. It takes about one SYN in fifty for one that came before when it is
// full.
class TurnedAway {
 public:
  static constexpr uint32_t kLines = uint32_t{1} << 15;  // 2 MiB in each filter

  TurnedAway(const Secret& secret, uint32_t lines);
  bool knows(const wire::Opening& syn) const;
  void add(const wire::Opening& syn, Instant now);

 private:
  using Line = std::array<uint64_t, 8>;
  struct Place {
    size_t line;
    Line bits;
  };
  static constexpr Duration kTurn = 4s;

  Place place_of(const wire::Opening& syn) const;

  Secret secret_;
  uint32_t lines_;
  std::array<std::vector<Line>, 2> filters_;
  size_t current_ = 0;
  uint32_t added_ = 0;  // to the current one
  Instant turned_{};
};

// Bounds what SYNs cost a worker to half of its time, so that a flood of them, however fast it comes in,
// leaves the other half to those who have a connection, and never fills the ring in which both wait. A SYN
// that is turned away costs a look at its flags and a few cache lines. Half of what may be spent is kept for
// those that were turned away before, and half of that for those that were so twice: whoever connects during
// a flood waits a second at worst, and three when the flood says each of its SYNs twice. (Who says his a
// third time waits longer beside a flood that does so, too.)
//
// What a SYN costs is measured, not assumed: the time of a round is divided among the frames that it has
// worked through. Time is a parameter. One thread.
class SynGuard {
 public:
  static constexpr uint32_t kFilterLines = TurnedAway::kLines;

  explicit SynGuard(const Secret& secret, uint32_t filter_lines = kFilterLines)
      : turned_away_(secret, filter_lines), turned_away_again_(secret, filter_lines) {}

  // A round begins, the last one is over.
  void begin_round(Instant now);
  // A SYN without ACK has come. False: it is to be dropped.
  bool admits(const wire::Opening& syn);
  // Any other frame.
  void note_other() { ++others_; }

 private:
  static constexpr int kShare = 4;  // one part in so many
  static constexpr Duration kCreditMost = 10ms;
  // At most this is charged for a SYN: rounds are also long because somebody else had the processor.
  static constexpr Duration kCostMost = 10us;

  TurnedAway turned_away_;
  TurnedAway turned_away_again_;
  Instant now_{};
  Duration credit_ = kCreditMost;  // may be below zero
  uint32_t admitted_ = 0;          // in this round
  uint32_t others_ = 0;            // likewise
};

}  // namespace understudy::worker
