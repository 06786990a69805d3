#pragma once

#include <functional>
#include <map>
#include <string>

#include "common/strong.h"

namespace understudy::sim {

// Under an arbiter: never two voices for a group. Judges each frame that a node sends in the group's name by
// the epoch under which that node owns the group, which no node shares with another one, and by the lease by
// which it may speak; and between frames, how many nodes could speak if they wanted to.
class Voices {
 public:
  using Complain = std::function<void(const std::string& sentence)>;
  explicit Voices(Complain complain) : complain_(std::move(complain)) {}

  struct Word {
    size_t node = 0;
    Epoch epoch;
    bool has_lease = false;
    // A device had held it back: no lease can call it back.
    bool is_late = false;
  };
  void take(const Word& word);
  // So many nodes have a voice and a lease now.
  void count(size_t speakers, const std::string& who);
  uint64_t words() const { return words_; }
  uint64_t late() const { return late_; }

 private:
  Complain complain_;
  Epoch highest_;
  size_t speaker_ = 0;
  std::map<Epoch, size_t> owners_;
  uint64_t words_ = 0;
  uint64_t late_ = 0;
};

}  // namespace understudy::sim
