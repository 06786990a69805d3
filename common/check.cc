#include "common/check.h"

#include <cstdlib>

#include "common/log.h"

namespace understudy {

void invariant_broken(const char* sentence, std::source_location where) {
  log_error("invariant", "{}:{}: {}", where.file_name(), where.line(), sentence);
  std::abort();
}

}  // namespace understudy
