#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/result.h"
#include "control/console/command_table.h"

namespace understudy::console {

// Serves the commands of a table on a unix socket (protocol.h), to several clients, from a thread of its own.
// A slow or silent client holds up nobody: its next command waits until it has read the last answer.
class ConsoleServer {
 public:
  static constexpr size_t kClientsMax = 16;

  // Makes the socket, its folder too if it is missing, for the owner's eyes only (mode 0600). A socket that a
  // dead node left behind is replaced; a live one is refused. `table` must outlive the server.
  static Result<std::unique_ptr<ConsoleServer>> start(CommandTable& table, const std::string& path);
  // Sends what is already answered, ends the thread and removes the socket.
  ~ConsoleServer();
  ConsoleServer(const ConsoleServer&) = delete;
  ConsoleServer& operator=(const ConsoleServer&) = delete;

 private:
  struct Client;
  ConsoleServer(CommandTable& table, std::string path, int listener, int stopper);
  void run();
  void accept_client();
  bool receive(Client& client);  // false: the client is gone
  bool send(Client& client);     // likewise
  void work(Client& client);
  void answer(Client& client, const Reply& reply);

  CommandTable& table_;
  std::string path_;
  int listener_;
  int stopper_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::thread thread_;
};

}  // namespace understudy::console
