#include "dataplane/neighbour/announcements.h"

#include <algorithm>

namespace understudy::neighbour {

void Announcements::add(GroupId group) {
  if (find(group) != nullptr) return;
  schedules_.emplace_back();
  schedules_.back().group = group;
}

Announcements::Schedule* Announcements::find(GroupId group) {
  const auto found = std::find_if(schedules_.begin(), schedules_.end(),
                                  [&](const Schedule& schedule) { return schedule.group == group; });
  return found == schedules_.end() ? nullptr : &*found;
}

void Announcements::start(GroupId group, Instant now) {
  Schedule* schedule = find(group);
  if (schedule == nullptr) return;
  schedule->running = true;
  schedule->rounds = 0;
  schedule->claimed = now;
  schedule->due = now + kAfterClaim[0];
}

void Announcements::stop(GroupId group) {
  Schedule* schedule = find(group);
  if (schedule == nullptr) return;
  schedule->running = false;
  schedule->due = kNever;
}

bool Announcements::may_defend(GroupId group, Instant now) {
  Schedule* schedule = find(group);
  if (schedule == nullptr || !schedule->running) return false;
  if (schedule->defended && now - *schedule->defended < kDefenceGap) return false;
  schedule->defended = now;
  return true;
}

std::optional<Announcements::Due> Announcements::next_due(Instant now) {
  for (Schedule& schedule : schedules_) {
    if (schedule.due > now) continue;
    if (schedule.rounds == kAfterClaim.size()) {
      schedule.due = now + kRefresh;
      return Due{schedule.group, Round::refresh};
    }
    while (schedule.rounds < kAfterClaim.size() && schedule.claimed + kAfterClaim[schedule.rounds] <= now)
      ++schedule.rounds;
    schedule.due = schedule.rounds < kAfterClaim.size() ? schedule.claimed + kAfterClaim[schedule.rounds]
                                                        : now + kRefresh;
    return Due{schedule.group, Round::after_claim};
  }
  return std::nullopt;
}

Instant Announcements::next_deadline() const {
  Instant next = kNever;
  for (const Schedule& schedule : schedules_) next = std::min(next, schedule.due);
  return next;
}

}  // namespace understudy::neighbour
