#include "control/console/console_client.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/console/commands.h"
#include "control/console/output.h"
#include "control/console/protocol.h"
#include "control/console/terminal.h"

namespace understudy::console {
namespace {

// The client knows the commands' words, for completion; their data is at the node.
class NoSource final : public Source {
 public:
  ClusterView cluster() override { return {}; }
  ConnectionsView connections(const ConnectionFilter&) override { return {}; }
  std::vector<PortView> ports() override { return {}; }
  std::vector<EventView> events() override { return {}; }
  std::optional<GroupStoryView> story(const std::string&) override { return std::nullopt; }
  std::vector<DropView> drops() override { return {}; }
  std::vector<WorkerView> workers() override { return {}; }
  std::vector<BackendView> backends() override { return {}; }
  std::vector<NeighbourView> neighbours() override { return {}; }
  Result<HandOverView> hand_over(const std::string&, const std::string&) override { return HandOverView(); }
  void quit() override {}
};

}  // namespace

Result<std::unique_ptr<ConsoleConnection>> ConsoleConnection::open(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error{fmt::format("`{}` is too long for a socket; give a path of at most {} bytes", path,
                             sizeof address.sun_path - 1)};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return std::unique_ptr<ConsoleConnection>(new ConsoleConnection(descriptor));
  const int reason = errno;
  close(descriptor);
  return Error{
      fmt::format("no node answers on {}: {}; start one with `understudy run`, or name its socket with "
                  "--socket",
                  path, std::strerror(reason))};
}

ConsoleConnection::~ConsoleConnection() {
  close(socket_);
}

Result<Reply> ConsoleConnection::ask(std::string_view line) {
  if (auto sentence = unreadable(line)) return Reply{false, *sentence + "\n"};
  const std::string request = std::string(line) + "\n";
  size_t sent = 0;
  while (sent < request.size()) {
    const ssize_t length = send(socket_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) break;  // what it still had to say may be waiting: read on
    sent += static_cast<size_t>(length);
  }
  Reply reply;
  for (;;) {
    size_t end = 0;
    while ((end = received_.find('\n')) != std::string::npos) {
      const std::string answer = received_.substr(0, end + 1);
      received_.erase(0, end + 1);
      if (answer[0] != kEndMark) {
        reply.text += answer;
        continue;
      }
      reply.ok = answer == kEndOk;
      return reply;
    }
    char block[16384];
    const ssize_t length = recv(socket_, block, sizeof block, 0);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return Error{"the node ended the connection before it had answered; see its log"};
    received_.append(block, static_cast<size_t>(length));
  }
}

int run_client(const ClientOptions& options, int input, int output, int errors) {
  auto connection = ConsoleConnection::open(options.socket);
  if (!connection) {
    write_all(errors, connection.message() + "\n");
    return 1;
  }
  bool failed = false;
  const auto execute = [&](std::string_view line) {
    if (line == "exit") return Terminal::After::end;
    if (options.echo) write_all(output, fmt::format("> {}\n", line));
    const auto reply = connection.value()->ask(line);
    if (!reply) {
      write_all(errors, reply.message() + "\n");
      failed = true;
      return Terminal::After::end;
    }
    failed |= !reply.value().ok;
    if (!write_all(output, reply.value().text)) return Terminal::After::end;
    return failed && options.stop_on_error ? Terminal::After::end : Terminal::After::go_on;
  };
  if (!options.command.empty()) {
    execute(joined(options.command, " "));
    return failed ? 1 : 0;
  }
  NoSource nothing;
  CommandTable words;
  add_commands(words, nothing);
  if (isatty(input) != 0)
    write_all(output,
              fmt::format("Console of the node at {}. `help` lists commands, `exit` or Ctrl-D leaves; `quit` "
                          "ends the node.\n",
                          options.socket));
  Terminal terminal(words, "understudy> ", input, output, execute);
  terminal.run([] { return false; });
  return failed ? 1 : 0;
}

Result<std::string> default_socket(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code fault;
  for (std::filesystem::directory_iterator entry(folder, fault), end; !fault && entry != end;
       entry.increment(fault))
    if (entry->path().extension() == ".sock") found.push_back(entry->path().string());
  if (found.size() == 1) return found.front();
  if (found.empty())
    return Error{
        fmt::format("no node has a console under {}; start one with `understudy run`, or name its socket "
                    "with --socket",
                    folder)};
  return Error{
      fmt::format("several nodes have a console here; choose one with --socket: {}", joined(found, ", "))};
}

}  // namespace understudy::console
