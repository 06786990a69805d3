#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "tests/support/node_in_process.h"

namespace understudy::sim {

// Rare branches that a run over many seeds must reach: what was never reached was never tested.
#define UNDERSTUDY_SIM_PROBES(X)                                                       \
  X(takeover, "a standby took over")                                                   \
  X(second_takeover, "two takeovers in one run")                                       \
  X(believed, "an acknowledgement was believed beyond what the successor holds")       \
  X(resumed, "a mirrored leg woke")                                                    \
  X(standby_dropped, "an owner stopped waiting for its standby")                       \
  X(woke_after_takeover, "a paused owner woke up after it had been replaced")          \
  X(late_words, "frames of a replaced node reached the wire")                          \
  X(challenge_ack, "a suspicious segment was challenged")                              \
  X(tail_loss_probe, "a tail-loss probe was sent")                                     \
  X(fast_recovery, "a loss was repaired without a timeout")                            \
  X(timeout, "a retransmission timeout expired")                                       \
  X(mirror_frame_repeated, "a frame of the mirror was sent again")                     \
  X(mirror_log_full, "payload was dropped because the mirror had no room")             \
  X(pool_empty, "a node had no packet buffer")                                         \
  X(reset_withheld, "a reset for an unknown connection was withheld after a takeover") \
  X(checksum_wrong, "a damaged frame was dropped")                                     \
  X(paws, "a segment with an old timestamp was dropped")                               \
  X(duplicate_payload, "payload that had been received came again")                    \
  X(session_excused, "a session was not protected when its owner died")

enum class Probe : uint8_t {
#define X(name, text) name,
  UNDERSTUDY_SIM_PROBES(X)
#undef X
};
constexpr size_t kProbes = 0
#define X(name, text) +1  // NOLINT(bugprone-macro-parentheses): a term of a sum
    UNDERSTUDY_SIM_PROBES(X)
#undef X
    ;
std::string_view name_of(Probe probe);
std::string_view text_of(Probe probe);

class Probes {
 public:
  void hit(Probe probe, uint64_t times = 1) { counts_[static_cast<size_t>(probe)] += times; }
  uint64_t of(Probe probe) const { return counts_[static_cast<size_t>(probe)]; }
  void add(const Probes& other) {
    for (size_t i = 0; i < kProbes; ++i) counts_[i] += other.counts_[i];
  }
  // What a node's counters say, before it goes.
  void harvest(NodeInProcess& node);

 private:
  std::array<uint64_t, kProbes> counts_{};
};

}  // namespace understudy::sim
