#include "dataplane/seal/replay_window.h"

#include <algorithm>

namespace understudy::seal {

bool ReplayWindow::is_new(uint64_t number) const {
  if (number > highest_) return true;
  if (number == 0 || highest_ - number >= kWidth) return false;
  return (seen_[number / 64 % kWords] >> (number % 64) & 1) == 0;
}

bool ReplayWindow::accept(uint64_t number) {
  if (!is_new(number)) return false;
  if (number > highest_) {
    const uint64_t words = std::min(number / 64 - highest_ / 64, kWords);
    for (uint64_t i = 0; i < words; ++i) seen_[(number / 64 - i) % kWords] = 0;
    highest_ = number;
  }
  seen_[number / 64 % kWords] |= uint64_t{1} << (number % 64);
  return true;
}

}  // namespace understudy::seal
