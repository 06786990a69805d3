#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/instant.h"

namespace understudy::config {

// A whole number without sign, blanks or leading "+"; nothing else.
std::optional<uint64_t> parse_number(std::string_view text);
// A whole number and a unit: us, ms, s, min, h. "20ms", "5min".
std::optional<Duration> parse_duration(std::string_view text);
// Bytes: a whole number and B, KiB, MiB or GiB. "256KiB".
std::optional<uint64_t> parse_size(std::string_view text);
// true, false, yes, no, on, off.
std::optional<bool> parse_switch(std::string_view text);

// In the largest unit that leaves a whole number: "20ms", "256KiB".
std::string duration_text(Duration duration);
std::string size_text(uint64_t bytes);

}  // namespace understudy::config
