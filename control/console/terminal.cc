#include "control/console/terminal.h"

#include <cerrno>
#include <cstring>

#include <cmdline_rdline.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

namespace understudy::console {

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t length = write(descriptor, text.data(), text.size());
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return false;
    text.remove_prefix(static_cast<size_t>(length));
  }
  return true;
}

// What the line editor calls.
struct TerminalCalls {
  static Terminal& of(rdline* editor) { return *static_cast<Terminal*>(rdline_get_opaque(editor)); }
  static int write_char(rdline* editor, char character) {
    return write_all(of(editor).output_, {&character, 1}) ? 0 : -1;
  }
  static void validate(rdline* editor, const char* line, unsigned size) {
    Terminal& terminal = of(editor);
    terminal.after_ = terminal.execute_({line, strnlen(line, size)});
  }
  static int complete(rdline* editor, const char* line, char* into, unsigned size, int* state) {
    return of(editor).table_.complete(line, state, into, size);
  }
};

namespace {

// Characters come one by one and unechoed while this lives.
class RawMode {
 public:
  explicit RawMode(int terminal) : terminal_(terminal) {
    tcgetattr(terminal_, &before_);
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    tcsetattr(terminal_, TCSANOW, &raw);
  }
  ~RawMode() { tcsetattr(terminal_, TCSANOW, &before_); }
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;

 private:
  int terminal_;
  termios before_{};
};

}  // namespace

bool Terminal::wait(const std::function<bool()>& must_stop) const {
  for (;;) {
    if (must_stop()) return false;
    pollfd wait{input_, POLLIN, 0};
    const int ready = poll(&wait, 1, 200);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Terminal::After Terminal::run_edited(const std::function<bool()>& must_stop) {
  const RawMode raw(input_);
  rdline* editor =
      rdline_new(TerminalCalls::write_char, TerminalCalls::validate, TerminalCalls::complete, this);
  if (editor == nullptr) return After::end;
  rdline_newline(editor, prompt_.c_str());
  while (after_ == After::go_on && wait(must_stop)) {
    char character = 0;
    if (read(input_, &character, 1) != 1) break;
    const int result = rdline_char_in(editor, character);
    if (result == RDLINE_RES_EOF || result == RDLINE_RES_EXITED) break;
    if (result != RDLINE_RES_VALIDATED) continue;
    const std::string line = rdline_get_buffer(editor);
    if (line.find_first_not_of(" \t\r\n") != std::string::npos) rdline_add_history(editor, line.c_str());
    if (after_ == After::go_on) rdline_newline(editor, prompt_.c_str());
  }
  rdline_free(editor);
  write_all(output_, "\n");
  return After::end;
}

Terminal::After Terminal::run_plain(const std::function<bool()>& must_stop) {
  std::string received;
  bool more = true;
  while (more && after_ == After::go_on) {
    if (!wait(must_stop)) return After::end;
    char block[4096];
    const ssize_t length = read(input_, block, sizeof block);
    more = length > 0;
    if (more) received.append(block, static_cast<size_t>(length));
    if (!more && !received.empty()) received += '\n';
    size_t end = 0;
    while (after_ == After::go_on && (end = received.find('\n')) != std::string::npos) {
      after_ = execute_(std::string_view(received).substr(0, end));
      received.erase(0, end + 1);
    }
    if (received.size() > 65536)
      received.resize(65536);  // a line without end is refused for its length later
  }
  return After::end;
}

void Terminal::run(const std::function<bool()>& must_stop) {
  after_ = After::go_on;
  if (isatty(input_) != 0)
    run_edited(must_stop);
  else
    run_plain(must_stop);
}

void run_interactive(CommandTable& table, const std::function<bool()>& must_stop) {
  Terminal terminal(table, "understudy> ", STDIN_FILENO, STDOUT_FILENO, [&](std::string_view line) {
    const Reply reply = table.execute(line);
    if (!write_all(STDOUT_FILENO, reply.text)) return Terminal::After::end;
    return must_stop() ? Terminal::After::end : Terminal::After::go_on;
  });
  terminal.run(must_stop);
}

}  // namespace understudy::console
