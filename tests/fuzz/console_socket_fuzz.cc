// Bytes on the console's socket, cut into pieces anywhere: each line is answered, in order, and the server
// lives on.
#include <string>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"
#include "control/console/commands.h"
#include "control/console/console_server.h"
#include "control/console/protocol.h"
#include "tests/fuzz/input.h"
#include "tests/unit/console/fake_source.h"

using namespace understudy;

namespace {

struct Served {
  Served() : path("/tmp/understudy-fuzz-" + std::to_string(getpid()) + ".sock") {
    console::add_commands(table, source);
    auto started = console::ConsoleServer::start(table, path);
    invariant(started.ok(), "the fuzzer's console does not start");
    server = std::move(started).value();
  }
  std::string path;
  console::FakeSource source;
  console::CommandTable table;
  std::unique_ptr<console::ConsoleServer> server;
};

int connect_to(const std::string& path) {
  const int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  invariant(connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0,
            "the console does not listen any more");
  return descriptor;
}

// Lines that begin with the end mark.
size_t answers_in(const std::string& text) {
  size_t count = 0;
  for (size_t at = 0; at != std::string::npos && at < text.size();) {
    count += text[at] == console::kEndMark;
    const size_t end = text.find('\n', at);
    at = end == std::string::npos ? end : end + 1;
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Served served;
  if (size > 8192) return 0;
  FuzzInput input(data, size);
  const int client = connect_to(served.path);
  std::string said;
  while (!input.empty()) {
    const auto piece = input.bytes(1 + input.byte());
    const ssize_t sent = TEMP_FAILURE_RETRY(send(client, piece.data(), piece.size(), MSG_NOSIGNAL));
    if (sent != static_cast<ssize_t>(piece.size())) break;
    said.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  shutdown(client, SHUT_WR);
  std::string heard;
  char block[4096];
  // libFuzzer's clock interrupts whoever waits.
  for (ssize_t length = 0; (length = TEMP_FAILURE_RETRY(read(client, block, sizeof block))) > 0;)
    heard.append(block, static_cast<size_t>(length));
  close(client);
  size_t lines = static_cast<size_t>(std::count(said.begin(), said.end(), '\n'));
  if (!said.empty() && said.back() != '\n') ++lines;
  invariant(answers_in(heard) == lines, "not as many answers as lines");
  return 0;
}
