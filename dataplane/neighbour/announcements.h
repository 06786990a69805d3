#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/instant.h"
#include "common/strong.h"

namespace understudy::neighbour {

// When a group's addresses are announced: at once after its claim, several times soon after (an announcement
// is not acknowledged, and a switch port may still be coming up), then as a refresh for as long as the
// claim holds. Knows nothing of frames. One thread.
class Announcements {
 public:
  enum class Round : uint8_t {
    after_claim,  // everybody, and each known neighbour by name
    refresh,      // everybody
    defence       // everybody: a rival was heard
  };
  struct Due {
    GroupId group;
    Round round;
  };

  // After the claim.
  static constexpr std::array<Duration, 5> kAfterClaim = {0ms, 10ms, 50ms, 200ms, 1s};
  static constexpr Duration kRefresh = 10s;
  // Two nodes that both believe to own an address must not answer each other without end (RFC 5227 section
  // 2.4, whose 10 s would leave clients at the rival for too long).
  static constexpr Duration kDefenceGap = 1s;

  void add(GroupId group);  // start-up; once more does nothing
  // Anew, also while it runs. A group that was never added has nothing to announce.
  void start(GroupId group, Instant now);
  void stop(GroupId group);
  // True if a rival may be answered now, which then counts as answered.
  bool may_defend(GroupId group, Instant now);

  // The next group that is due, if one is; call until there is none. A round that was missed is made up for
  // once, not several times.
  std::optional<Due> next_due(Instant now);
  Instant next_deadline() const;

 private:
  struct Schedule {
    GroupId group;
    bool running = false;
    size_t rounds = 0;  // of kAfterClaim that are over
    Instant claimed{};
    Instant due = kNever;
    std::optional<Instant> defended;
  };
  Schedule* find(GroupId group);

  std::vector<Schedule> schedules_;
};

}  // namespace understudy::neighbour
