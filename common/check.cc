#include "common/check.h"

#include <cstdlib>

#include "common/log.h"

namespace understudy {

void invariant_broken(const char* sentence, const char* file, int line) {
  log_error("invariant", "{}:{}: {}", file, line, sentence);
  std::abort();
}

}  // namespace understudy
