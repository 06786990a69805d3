#pragma once

#include <array>
#include <cstdint>

namespace understudy::seal {

// Which numbers of an ever growing sequence have been seen: the highest, and which of the kWidth numbers up
// to it (RFC 6479's blocks of bits: moving the window clears words, it shifts nothing). Numbers begin at 1.
class ReplayWindow {
 public:
  static constexpr uint64_t kWidth = 1024;

  // Would accept() take it? For before the frame is known to be genuine.
  bool is_new(uint64_t number) const;
  // Remembers a number; false when it was seen before, or is too far behind to know.
  bool accept(uint64_t number);
  uint64_t highest() const { return highest_; }

 private:
  // One word more than the width: the one that the highest number is entering is not full yet.
  static constexpr uint64_t kWords = kWidth / 64 + 1;
  std::array<uint64_t, kWords> seen_{};
  uint64_t highest_ = 0;
};

}  // namespace understudy::seal
