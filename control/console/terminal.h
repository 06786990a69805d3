#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "control/console/command_table.h"

namespace understudy::console {

// A prompt on a terminal, with history, completion (Tab) and help (?), from librte_cmdline's line editor.
// Where the input is no terminal, it reads plain lines and shows no prompt. One thread.
class Terminal {
 public:
  enum class After { go_on, end };
  using Execute = std::function<After(std::string_view line)>;

  // `table` completes; `execute` gets each line that was entered.
  Terminal(CommandTable& table, std::string prompt, int input, int output, Execute execute)
      : table_(table),
        prompt_(std::move(prompt)),
        input_(input),
        output_(output),
        execute_(std::move(execute)) {}
  // Returns at the end of the input, when `execute` says so, or within 200 ms of `must_stop` being true.
  void run(const std::function<bool()>& must_stop);

 private:
  friend struct TerminalCalls;
  After run_edited(const std::function<bool()>& must_stop);
  After run_plain(const std::function<bool()>& must_stop);
  bool wait(const std::function<bool()>& must_stop) const;  // false: stop

  CommandTable& table_;
  std::string prompt_;
  int input_;
  int output_;
  Execute execute_;
  After after_ = After::go_on;
};

// The node's own console: `table` on stdin and stdout until its end, the command `quit`, or must_stop().
void run_interactive(CommandTable& table, const std::function<bool()>& must_stop);

// Writes all of `text`; false when nobody reads any more.
bool write_all(int descriptor, std::string_view text);

}  // namespace understudy::console
