#include "tests/sim/stranger.h"

namespace understudy::sim {
namespace {

constexpr size_t kWordsMost = 4096;
constexpr Duration kArrivedAfter = 50ms;

}  // namespace

void Stranger::hear(size_t node, std::span<const uint8_t> frame, Instant now) {
  if (frame.size() < 14 || frame[12] != 0x88 || frame[13] != 0xb5 || is_speaking(now)) return;
  words_.push_back({now, node, {frame.begin(), frame.end()}});
  if (words_.size() > kWordsMost) words_.pop_front();
}

const Stranger::Word* Stranger::any(Instant now) {
  if (words_.empty()) return nullptr;
  const Word& word = words_[random_.below(static_cast<uint32_t>(words_.size()))];
  return word.at + kArrivedAfter < now ? &word : nullptr;
}

}  // namespace understudy::sim
