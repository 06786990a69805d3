#pragma once

namespace understudy {

// Ends the process with file, line and sentence. A broken invariant in a data plane that acknowledges
// strangers' bytes must not go on; the standby takes over from a state that is known to be whole.
[[noreturn]] void invariant_broken(const char* sentence, const char* file, int line);

// Kept in release builds: a predictable branch costs nothing that a measurement has shown.
// File and line are the caller's; clang 14 does not have std::source_location yet.
inline void invariant(bool holds, const char* sentence, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
  if (!holds) [[unlikely]]
    invariant_broken(sentence, file, line);
}

}  // namespace understudy
