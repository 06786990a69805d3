#include "tests/sim/faults.h"

namespace understudy::sim {
namespace {

constexpr std::array<std::string_view, kFaultKinds> kNames = {
#define X(name, text) #name,
    UNDERSTUDY_SIM_FAULTS(X)
#undef X
};
constexpr std::array<std::string_view, kFaultKinds> kTexts = {
#define X(name, text) text,
    UNDERSTUDY_SIM_FAULTS(X)
#undef X
};

}  // namespace

std::string_view name_of(FaultKind kind) {
  return kNames[static_cast<size_t>(kind)];
}
std::optional<FaultKind> fault_named(std::string_view name) {
  for (size_t i = 0; i < kFaultKinds; ++i)
    if (kNames[i] == name) return static_cast<FaultKind>(i);
  return std::nullopt;
}
std::string_view text_of(FaultKind kind) {
  return kTexts[static_cast<size_t>(kind)];
}

}  // namespace understudy::sim
