#pragma once

#include <string>

#include "control/console/output.h"
#include "control/console/views.h"

namespace understudy::console {

// A takeover in the words and fields that `show cluster`, `explain group` and `show receipts` have in common.
std::string split_text(const TakeoverView& takeover);  // "detection 101.2 ms, decision ..., in all ..."
Json takeover_json(const TakeoverView& takeover);

}  // namespace understudy::console
