// Command lines, executed and completed at every length.
#include "common/check.h"
#include "control/console/commands.h"
#include "tests/fuzz/input.h"
#include "tests/unit/console/fake_source.h"

using namespace understudy;

namespace {

console::CommandTable& table() {
  static console::FakeSource source;
  static console::CommandTable commands;
  static const bool added = (console::add_commands(commands, source), true);
  static_cast<void>(added);
  return commands;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string line(reinterpret_cast<const char*>(data), size);
  const console::Reply reply = table().execute(line);
  invariant(reply.text.empty() || reply.text.back() == '\n', "an answer without its end");
  invariant(reply.ok || !reply.text.empty(), "a refusal without a word");
  // rdline completes what it has let in: printable, and no longer than its buffer.
  if (size > console::CommandTable::kLineMax || console::unreadable(line)) return 0;
  int state = 0;
  char into[128];
  for (int turns = 0; turns < 64; ++turns) {
    const int result = table().complete(line.c_str(), &state, into, sizeof into);
    if (result <= 0) break;
    invariant(strnlen(into, sizeof into) < sizeof into, "a completion without its end");
    if (result == 2) break;
  }
  return 0;
}
