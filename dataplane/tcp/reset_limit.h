#pragma once

#include <algorithm>

#include "common/instant.h"

namespace understudy::tcp {

// How many segments of no connection are answered with a reset: so many a second in the long run, and what a
// tenth of a second holds at once. RFC 9293 section 3.10.7.1 has one for each; but who floods us with them
// has them answered at the price of those who have a connection, and has us flood whomever he names as the
// sender. A peer whose connection is really gone asks again. One thread.
class ResetLimit {
 public:
  explicit ResetLimit(uint32_t per_second) : gap_(Duration(1s) / std::max(per_second, 1U)) {}
  bool admits(Instant now) {
    next_ = std::max(next_, now - kAtOnce);
    if (next_ > now) return false;
    next_ += gap_;
    return true;
  }

 private:
  static constexpr Duration kAtOnce = 100ms;
  Duration gap_;
  Instant next_{};
};

}  // namespace understudy::tcp
