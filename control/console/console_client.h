#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "control/console/command_table.h"

namespace understudy::console {

// The other end of a ConsoleServer. One thread.
class ConsoleConnection {
 public:
  static Result<std::unique_ptr<ConsoleConnection>> open(const std::string& path);
  ~ConsoleConnection();
  ConsoleConnection(const ConsoleConnection&) = delete;
  ConsoleConnection& operator=(const ConsoleConnection&) = delete;

  // One command and its whole answer. An Error: the node is gone, or answered what no node answers.
  Result<Reply> ask(std::string_view line);

 private:
  explicit ConsoleConnection(int socket) : socket_(socket) {}
  int socket_;
  std::string received_;
};

struct ClientOptions {
  std::string socket;
  std::vector<std::string> command;  // empty: lines from the input, with a prompt if it is a terminal
  bool stop_on_error = false;        // end at the first command that fails
  bool echo = false;                 // show each command before its answer
};

// Answers to `output`, sentences about the connection to `errors`. 0, or 1 if a command failed or there is no
// node to talk to.
int run_client(const ClientOptions& options, int input, int output, int errors);

// The only console socket under /run/understudy, for those who name none.
Result<std::string> default_socket(const std::string& folder = "/run/understudy");

}  // namespace understudy::console
