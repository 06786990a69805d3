#include "tests/support/exact_frame.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  understudy::check_parsers({data, size});
  return 0;
}
