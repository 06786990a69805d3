#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/strong.h"

namespace understudy::mirror {

// A recorded frame of a former life fits its key as well as on its first day. So nobody is believed before
// it has answered: whoever hears an incarnation that it does not know asks it with a number that it uses
// once, and the other one repeats the number. One greeting carries questions and answers for several nodes.
struct GreetingEntry {
  NodeId node;  // for whom
  BootId boot;
  bool is_answer = false;
  uint64_t number = 0;  // of the one who asks; an answer repeats it
  friend bool operator==(const GreetingEntry&, const GreetingEntry&) = default;
};

constexpr size_t kGreetingEntriesMax = 64;

// The payload of a greeting: at most kGreetingEntriesMax entries. Decoding stops at what is no whole entry.
std::vector<uint8_t> encode_greeting(std::span<const GreetingEntry> entries);
std::vector<GreetingEntry> decode_greeting(std::span<const uint8_t> bytes);

}  // namespace understudy::mirror
