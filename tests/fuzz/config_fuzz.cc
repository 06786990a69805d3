// A configuration file: any bytes give a configuration or sentences that say where and what.
#include "common/check.h"
#include "control/config/config.h"
#include "tests/fuzz/input.h"

using namespace understudy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 16384) return 0;
  const auto parsed = config::parse(std::string(reinterpret_cast<const char*>(data), size), "fuzz.yaml");
  if (const auto* faults = std::get_if<config::Faults>(&parsed)) {
    invariant(!faults->lines.empty(), "refused without a word");
    for (const std::string& line : faults->lines)
      invariant(line.starts_with("fuzz.yaml"), "a fault without its place");
  } else {
    const auto& good = std::get<config::Config>(parsed);
    invariant(!good.nodes.empty() && !good.groups.empty(), "a cluster of nothing was accepted");
  }
  return 0;
}
