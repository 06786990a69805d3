#include "dataplane/worker/syn_guard.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/check.h"

namespace understudy::worker {
namespace {

constexpr uint32_t kBitsPerLine = 512;
constexpr uint32_t kBitsPerSyn = 12;  // when it is full; one in fifty is taken for another then

}  // namespace

TurnedAway::TurnedAway(const Secret& secret, uint32_t lines)
    : secret_(secret), lines_(lines), filters_{std::vector<Line>(lines), std::vector<Line>(lines)} {
  invariant(std::has_single_bit(lines), "a filter's lines are not a power of two");
}

TurnedAway::Place TurnedAway::place_of(const wire::Opening& syn) const {
  std::array<uint8_t, sizeof syn.key + sizeof(uint32_t) + 1> bytes{};  // no length that other hashes have
  const uint32_t number = syn.seq.raw();
  std::memcpy(bytes.data(), &syn.key, sizeof syn.key);
  std::memcpy(bytes.data() + sizeof syn.key, &number, sizeof number);
  uint64_t hash = siphash(secret_, bytes.data(), bytes.size());
  Place place{hash & (lines_ - 1), {}};
  hash >>= 32;
  for (int i = 0; i < 3; ++i, hash >>= 9) place.bits[hash >> 6 & 7] |= uint64_t{1} << (hash & 63);
  return place;
}

bool TurnedAway::knows(const wire::Opening& syn) const {
  const Place place = place_of(syn);
  return std::ranges::any_of(filters_, [&](const std::vector<Line>& filter) {
    const Line& line = filter[place.line];
    for (size_t word = 0; word < line.size(); ++word)
      if ((line[word] & place.bits[word]) != place.bits[word]) return false;
    return true;
  });
}

void TurnedAway::add(const wire::Opening& syn, Instant now) {
  if (added_ >= lines_ * kBitsPerLine / kBitsPerSyn || now > turned_ + kTurn) {
    current_ ^= 1;
    std::ranges::fill(filters_[current_], Line{});
    added_ = 0;
    turned_ = now;
  }
  const Place place = place_of(syn);
  Line& line = filters_[current_][place.line];
  for (size_t word = 0; word < line.size(); ++word) line[word] |= place.bits[word];
  ++added_;
}

void SynGuard::begin_round(Instant now) {
  const Duration span = std::max(now - now_, Duration::zero());
  if (admitted_ > 0) {
    const Duration share = span * admitted_ / (admitted_ + others_);
    credit_ -= std::min<Duration>(share, kCostMost * admitted_);
  }
  credit_ = std::min(credit_ + std::min(span, kShare * kCreditMost) / kShare, kCreditMost);
  now_ = now;
  admitted_ = others_ = 0;
}

bool SynGuard::admits(const wire::Opening& syn) {
  bool welcome = credit_ > kCreditMost / 2;
  if (!welcome) {
    const bool twice = turned_away_again_.knows(syn);
    const bool once = twice || turned_away_.knows(syn);
    welcome = once && credit_ > (twice ? Duration::zero() : kCreditMost / 4);
    if (!welcome) (once ? turned_away_again_ : turned_away_).add(syn, now_);
  }
  if (welcome) ++admitted_;
  return welcome;
}

}  // namespace understudy::worker
