#include "control/appliance/promotions.h"

#include <bit>

namespace understudy::appliance {
namespace {

// A successor's clock starts this much ahead of the last value that can have been seen.
constexpr Duration kClockMargin = 500ms;

}  // namespace

using worker::Command;
using worker::Report;

void Promotions::on_heartbeat(const mirror::Heartbeat& beat, Instant now) {
  for (const mirror::GroupBeat& group : beat.groups)
    if (group.role == mirror::GroupRole::owner) {
      HeardClock& heard = clocks_[group.group];
      if (group.clock_us >= heard.clock_us) heard = {group.clock_us, now};
    }
}

void Promotions::on_silence(uint32_t number) {
  silence_ = std::max(silence_, number);
}

uint64_t Promotions::clock_for(GroupId group, Instant now) const {
  const auto heard = clocks_.find(group);
  // Nobody has ever owned it as far as we know: start from the machine's own clock, which has run on since
  // the last time.
  if (heard == clocks_.end()) return static_cast<uint64_t>(to_us(now.time_since_epoch()));
  return heard->second.clock_us + static_cast<uint64_t>(to_us(now - heard->second.at + kClockMargin));
}

void Promotions::promote(const cluster::Promote& action, Instant now) {
  Command command;
  command.kind = Command::Kind::promote;
  command.group = action.group;
  command.epoch = action.epoch;
  command.clock_us = clock_for(action.group, now);
  command.flag = action.handed;
  command.silence = silence_;
  promotions_[action.group] = {.command = command, .told_all = false};
  workers_.tell(0, command);
}

// Worker 0 announces the addresses. If another one spoke before that, switches would lead the answers to
// where the addresses were.
void Promotions::tell_the_others(Promotion& promotion) {
  if (std::exchange(promotion.told_all, true)) return;  // or there is none
  for (size_t worker = 1; worker < workers_.size(); ++worker) workers_.tell(worker, promotion.command);
}

void Promotions::demote(const cluster::Demote& action) {
  tell_the_others(promotions_[action.group]);
  Command command;
  command.kind = Command::Kind::demote;
  command.group = action.group;
  command.epoch = action.epoch;
  command.flag = action.handed;
  workers_.tell_all(command);
}

void Promotions::mute(GroupId group) {
  tell_the_others(promotions_[group]);
  Command command;
  command.kind = Command::Kind::mute;
  command.group = group;
  command.silence = silence_;
  workers_.tell_all(command);
}

bool Promotions::is_whole(uint64_t workers) const {
  return std::popcount(workers) == workers_.size();
}

Promotions::Progress Promotions::on_promoted(const Report& report) {
  const auto it = promotions_.find(report.group);
  if (it == promotions_.end() || report.number != it->second.command.epoch.counter) return {};
  Promotion& promotion = it->second;
  Progress progress;
  if (report.worker == 0) progress.announced = promotion.command.epoch;
  tell_the_others(promotion);
  promotion.promoted |= uint64_t{1} << report.worker;
  progress.is_whole = is_whole(promotion.promoted);
  return progress;
}

bool Promotions::on_handed(const Report& report) {
  uint64_t& handed = promotions_[report.group].handed;
  const uint64_t bit = uint64_t{1} << report.worker;
  handed = report.flag ? handed | bit : handed & ~bit;
  return is_whole(handed);
}

}  // namespace understudy::appliance
