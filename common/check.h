#pragma once

#include <source_location>

namespace understudy {

// Ends the process with file, line and sentence. A broken invariant in a data plane that acknowledges
// strangers' bytes must not go on; the standby takes over from a state that is known to be whole.
[[noreturn]] void invariant_broken(const char* sentence, std::source_location where);

// Kept in release builds: a predictable branch costs nothing that a measurement has shown.
inline void invariant(bool holds, const char* sentence,
                      std::source_location where = std::source_location::current()) {
  if (!holds) [[unlikely]]
    invariant_broken(sentence, where);
}

}  // namespace understudy
