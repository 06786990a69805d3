#include "tests/sim/voices.h"

#include <fmt/format.h>

namespace understudy::sim {
namespace {

std::string text_of(const Epoch& epoch) {
  return fmt::format("{}.{}", epoch.counter, epoch.node.value());
}

}  // namespace

void Voices::take(const Word& word) {
  ++words_;
  if (word.is_late) {
    late_ += word.epoch < highest_;
    return;
  }
  if (!word.has_lease) complain_(fmt::format("n{} speaks without a lease", word.node + 1));
  const auto [owner, is_new] = owners_.emplace(word.epoch, word.node);
  if (owner->second != word.node)
    complain_(fmt::format("two voices: n{} and n{} speak in epoch {}", owner->second + 1, word.node + 1,
                          text_of(word.epoch)));
  if (word.epoch < highest_)
    complain_(fmt::format("two voices: n{} speaks in epoch {} after n{} in epoch {}", word.node + 1,
                          text_of(word.epoch), speaker_ + 1, text_of(highest_)));
  if (highest_ < word.epoch) {
    highest_ = word.epoch;
    speaker_ = word.node;
  }
}

void Voices::count(size_t speakers, const std::string& who) {
  if (speakers > 1) complain_(fmt::format("{} nodes may speak at once:{}", speakers, who));
}

}  // namespace understudy::sim
