#include "control/console/console_server.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "control/console/protocol.h"

namespace understudy::console {

struct ConsoleServer::Client {
  explicit Client(int descriptor) : socket(descriptor) {}
  ~Client() { close(socket); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  int socket;
  std::string received;
  std::string to_send;
  bool skipping = false;  // the rest of a line that was too long
  bool finished = false;  // the client sends no more; answers may still be due
};

namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Whether somebody listens there. A process that is stopped still does.
bool is_live(const std::string& path) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  const bool live = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
                    (errno != ECONNREFUSED && errno != ENOENT);
  close(probe);
  return live;
}

Status make_room(const std::string& path) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return Error{fmt::format("the console socket `{}` has no usable path; give one of at most {} bytes", path,
                             sizeof address.sun_path - 1)};
  std::error_code fault;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder, fault))
    if (!std::filesystem::create_directories(folder, fault))
      return Error{fmt::format("the console's folder {} cannot be made: {}; make it or set `console_socket`",
                               folder.string(), fault.message())};
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode))
    return Error{
        fmt::format("{} is no socket, and is in the console's way; remove it or set `console_socket`", path)};
  if (is_live(path))
    return Error{
        fmt::format("another node serves its console on {}; end it, or give this node another "
                    "`console_socket`",
                    path)};
  unlink(path.c_str());
  return {};
}

Result<int> listen_on(const std::string& path) {
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  // The mode of the inode that bind makes follows that of the descriptor, so there is no moment in which
  // others could connect.
  if (listener >= 0 && fchmod(listener, 0600) == 0 &&
      bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      listen(listener, 16) == 0)
    return listener;
  const int reason = errno;
  if (listener >= 0) close(listener);
  return Error{
      fmt::format("the console cannot listen on {}: {}; set `console_socket` to a path that can be made",
                  path, std::strerror(reason))};
}

}  // namespace

Result<std::unique_ptr<ConsoleServer>> ConsoleServer::start(CommandTable& table, const std::string& path) {
  if (const Status room = make_room(path); !room) return room.error();
  const auto listener = listen_on(path);
  if (!listener) return listener.error();
  const int stopper = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return std::unique_ptr<ConsoleServer>(new ConsoleServer(table, path, listener.value(), stopper));
}

ConsoleServer::ConsoleServer(CommandTable& table, std::string path, int listener, int stopper)
    : table_(table), path_(std::move(path)), listener_(listener), stopper_(stopper) {
  thread_ = std::thread([this] { run(); });
}

ConsoleServer::~ConsoleServer() {
  const uint64_t one = 1;
  if (write(stopper_, &one, sizeof one) != sizeof one)
    log_warning("console", "the console's thread cannot be told");
  thread_.join();
  unlink(path_.c_str());
  close(listener_);
  close(stopper_);
}

void ConsoleServer::run() {
  std::vector<pollfd> waits;
  for (;;) {
    waits.assign({{stopper_, POLLIN, 0}, {listener_, POLLIN, 0}});
    for (const auto& client : clients_)
      waits.push_back({client->socket, static_cast<short>(client->to_send.empty() ? POLLIN : POLLOUT), 0});
    if (poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) break;
    const size_t polled = clients_.size();
    for (size_t i = 0; i < polled; ++i) {
      Client& client = *clients_[i];
      if (waits[i + 2].revents == 0) continue;
      bool stays = client.to_send.empty() ? receive(client) : send(client);
      if (stays) work(client);
      if (stays && !client.to_send.empty()) stays = send(client);
      if (!stays || (client.finished && client.to_send.empty() && client.received.empty()))
        clients_[i].reset();
    }
    std::erase(clients_, nullptr);
    if (waits[0].revents != 0) break;
    if (waits[1].revents != 0) accept_client();
  }
  for (const auto& client : clients_)
    if (!client->to_send.empty()) send(*client);
  clients_.clear();
}

void ConsoleServer::accept_client() {
  const int descriptor = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (descriptor < 0) {
    // Out of descriptors: the caller stays in the queue, so breathe instead of spinning.
    if (errno == EMFILE || errno == ENFILE) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return;
  }
  auto client = std::make_unique<Client>(descriptor);
  if (clients_.size() < kClientsMax) {
    clients_.push_back(std::move(client));
    return;
  }
  answer(*client,
         Reply{false, fmt::format("{} consoles are open, which is the most; close one\n", kClientsMax)});
  send(*client);
}

bool ConsoleServer::receive(Client& client) {
  char block[4096];
  const ssize_t length = recv(client.socket, block, sizeof block, 0);
  if (length < 0) return errno == EAGAIN || errno == EINTR;
  if (length == 0)
    client.finished = true;
  else
    client.received.append(block, static_cast<size_t>(length));
  return true;
}

bool ConsoleServer::send(Client& client) {
  const ssize_t length = ::send(client.socket, client.to_send.data(), client.to_send.size(), MSG_NOSIGNAL);
  if (length < 0) return errno == EAGAIN || errno == EINTR;
  client.to_send.erase(0, static_cast<size_t>(length));
  return true;
}

// One whole line at a time: the next waits until this answer is on its way.
void ConsoleServer::work(Client& client) {
  while (client.to_send.empty()) {
    const size_t end = client.received.find('\n');
    if (end == std::string::npos) {
      if (client.finished && !client.received.empty() && !client.skipping)
        answer(client, table_.execute(client.received));
      else if (client.received.size() > CommandTable::kLineMax && !client.skipping)
        answer(client, Reply{false, *unreadable(client.received) + "\n"}), client.skipping = true;
      if (client.finished || client.skipping) client.received.clear();
      return;
    }
    const std::string line = client.received.substr(0, end);
    client.received.erase(0, end + 1);
    if (client.skipping)
      client.skipping = false;
    else
      answer(client, table_.execute(line));
    if (send(client) && client.to_send.empty()) continue;
    return;
  }
}

void ConsoleServer::answer(Client& client, const Reply& reply) {
  client.to_send += reply.text;
  client.to_send += reply.ok ? kEndOk : kEndError;
}

}  // namespace understudy::console
