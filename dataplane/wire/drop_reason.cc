#include "dataplane/wire/drop_reason.h"

namespace understudy {
namespace {

constexpr std::array<std::string_view, kDropReasons> kNames = {
#define X(name, text) #name,
    UNDERSTUDY_DROP_REASONS(X)
#undef X
};

constexpr std::array<std::string_view, kDropReasons> kTexts = {
#define X(name, text) text,
    UNDERSTUDY_DROP_REASONS(X)
#undef X
};

}  // namespace

std::string_view name_of(DropReason reason) {
  return kNames.at(static_cast<size_t>(reason));
}

std::string_view text_of(DropReason reason) {
  return kTexts.at(static_cast<size_t>(reason));
}

}  // namespace understudy
