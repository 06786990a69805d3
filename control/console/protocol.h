#pragma once

#include <string_view>

namespace understudy::console {

// The console's socket, a stream of lines in each direction.
//
//   to the node    one command per line, at most CommandTable::kLineMax bytes before its line feed
//   from the node  the answer's lines, if any, and then one line that ends it: the byte 0x04 followed by
//                  "ok" or "error". No line of an answer begins with 0x04.
//
// Answers come in the order of the commands. A command that cannot be read (too long, strange bytes, unknown)
// is answered by a sentence and "error"; the connection stays usable.
constexpr char kEndMark = '\x04';
constexpr std::string_view kEndOk = "\x04ok\n";
constexpr std::string_view kEndError =
    "\x04"
    "error\n";

}  // namespace understudy::console
