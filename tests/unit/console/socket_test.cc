#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/console/commands.h"
#include "control/console/console_client.h"
#include "control/console/console_server.h"
#include "tests/unit/console/fake_source.h"

namespace understudy::console {
namespace {

class ConsoleSocket : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/understudy-console-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/made/n1.sock";
    add_commands(table_, source_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::unique_ptr<ConsoleServer> serve() {
    auto server = ConsoleServer::start(table_, path_);
    EXPECT_TRUE(server.ok()) << server.message();
    return server.ok() ? std::move(server).value() : nullptr;
  }
  // A client without manners.
  int raw_client() const {
    const int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    EXPECT_EQ(connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return descriptor;
  }
  static std::string read_all(int descriptor) {
    std::string text;
    char block[4096];
    ssize_t length = 0;
    while ((length = read(descriptor, block, sizeof block)) > 0)
      text.append(block, static_cast<size_t>(length));
    return text;
  }
  // run_client with `input` on a pipe; its exit code, and what it wrote.
  int client(ClientOptions options, const std::string& input, std::string& output,
             std::string& errors) const {
    int in[2], out[2], err[2];
    EXPECT_TRUE(pipe(in) == 0 && pipe(out) == 0 && pipe(err) == 0);
    EXPECT_EQ(write(in[1], input.data(), input.size()), static_cast<ssize_t>(input.size()));
    close(in[1]);
    options.socket = path_;
    const int code = run_client(options, in[0], out[1], err[1]);
    close(out[1]);
    close(err[1]);
    output = read_all(out[0]);
    errors = read_all(err[0]);
    for (const int descriptor : {in[0], out[0], err[0]}) close(descriptor);
    return code;
  }
  std::string folder_, path_;
  FakeSource source_;
  CommandTable table_;
};

TEST_F(ConsoleSocket, AnswersSeveralClients) {
  const auto server = serve();
  auto a = ConsoleConnection::open(path_);
  auto b = ConsoleConnection::open(path_);
  ASSERT_TRUE(a.ok() && b.ok());
  for (int round = 0; round < 20; ++round) {
    const auto one = a.value()->ask("show drops");
    const auto two = b.value()->ask("show nonsense");
    ASSERT_TRUE(one.ok() && two.ok());
    EXPECT_TRUE(one.value().ok);
    EXPECT_EQ(one.value().text, table_.execute("show drops").text);
    EXPECT_FALSE(two.value().ok);
  }
}

TEST_F(ConsoleSocket, IsForItsOwnerOnlyAndGoesWithTheServer) {
  {
    const auto server = serve();
    struct stat status {};
    ASSERT_EQ(lstat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ConsoleSocket, LongAnswersArriveWhole) {
  source_.copies = 20000;
  const auto server = serve();
  auto connection = ConsoleConnection::open(path_);
  ASSERT_TRUE(connection.ok());
  const auto reply = connection.value()->ask("show conn limit 20000 json");
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(Json::parse(reply.value().text)["connections"].size(), 20000U);
}

TEST_F(ConsoleSocket, GarbageIsAnsweredAndTheConnectionStaysUsable) {
  const auto server = serve();
  const int descriptor = raw_client();
  const std::string garbage = std::string("\x00\xff\x04ok\n", 6) + std::string(100'000, 'x') +
                              "\n\n# none\nquit now\n" + "help nothing\nshow drops";
  ASSERT_EQ(send(descriptor, garbage.data(), garbage.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(garbage.size()));
  shutdown(descriptor, SHUT_WR);
  EXPECT_EQ(read_all(descriptor),
            "the line holds the byte 0x00, which no command has; `help` lists the commands\n\x04"
            "error\n"
            "the line is longer than 480 characters and was not looked at\n\x04"
            "error\n"
            "\x04ok\n\x04ok\n"
            "`quit now` is not complete or has a word too many; what begins like it:\n  quit [json]\n\x04"
            "error\n"
            "`help nothing` is not complete or has a word too many; what begins like it:\n  help [json]\n\x04"
            "error\n"
            "FRAMES  REASON        MEANING\n     5  tcp_checksum  TCP checksum wrong\n\x04ok\n");
  close(descriptor);
  EXPECT_EQ(source_.quits, 0);
}

TEST_F(ConsoleSocket, ClientsThatVanishOrNeverReadHoldUpNobody) {
  source_.copies = 20000;
  const auto server = serve();
  const std::string greedy = "show conn limit 20000\nshow conn limit 20000\n";
  for (int round = 0; round < 5; ++round) {
    const int vanishing = raw_client();
    ASSERT_GT(send(vanishing, greedy.data(), greedy.size(), MSG_NOSIGNAL), 0);
    char byte = 0;
    ASSERT_EQ(read(vanishing, &byte, 1), 1);
    close(vanishing);
  }
  const int silent = raw_client();
  ASSERT_GT(send(silent, greedy.data(), greedy.size(), MSG_NOSIGNAL), 0);
  auto connection = ConsoleConnection::open(path_);
  ASSERT_TRUE(connection.ok());
  const auto reply = connection.value()->ask("show drops");
  ASSERT_TRUE(reply.ok()) << reply.message();
  EXPECT_TRUE(reply.value().ok);
  close(silent);
}

TEST_F(ConsoleSocket, OneClientTooManyIsTold) {
  const auto server = serve();
  std::vector<std::unique_ptr<ConsoleConnection>> open;
  for (size_t i = 0; i < ConsoleServer::kClientsMax; ++i) {
    auto connection = ConsoleConnection::open(path_);
    ASSERT_TRUE(connection.ok());
    ASSERT_TRUE(connection.value()->ask("help").ok());
    open.push_back(std::move(connection).value());
  }
  const int one_more = raw_client();
  EXPECT_EQ(read_all(one_more),
            "16 consoles are open, which is the most; close one\n\x04"
            "error\n");
  close(one_more);
}

TEST_F(ConsoleSocket, LiveSocketIsRefusedAndStaleOneReplaced) {
  {
    const auto server = serve();
    const auto second = ConsoleServer::start(table_, path_);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.message(), "another node serves its console on " + path_ +
                                    "; end it, or give this node another `console_socket`");
  }
  const int killed = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path_.c_str());
  ASSERT_EQ(bind(killed, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(killed, 1), 0);
  close(killed);  // as SIGKILL leaves it
  ASSERT_TRUE(std::filesystem::exists(path_));
  const auto server = serve();
  auto connection = ConsoleConnection::open(path_);
  ASSERT_TRUE(connection.ok());
  EXPECT_TRUE(connection.value()->ask("help").ok());
}

TEST_F(ConsoleSocket, UnusablePathsAreSentences) {
  path_ = folder_ + "/file";
  std::ofstream(path_) << "precious";
  const auto file = ConsoleServer::start(table_, path_);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.message(),
            path_ + " is no socket, and is in the console's way; remove it or set `console_socket`");
  EXPECT_TRUE(std::filesystem::exists(path_));
  EXPECT_FALSE(ConsoleServer::start(table_, folder_ + "/" + std::string(200, 'x')).ok());
  EXPECT_FALSE(ConsoleServer::start(table_, path_ + "/below.sock").ok());
}

TEST_F(ConsoleSocket, ClientRunsOneCommand) {
  const auto server = serve();
  std::string output, errors;
  EXPECT_EQ(client({"", {"show", "drops"}, false, false}, "", output, errors), 0);
  EXPECT_EQ(output, table_.execute("show drops").text);
  EXPECT_EQ(client({"", {"show", "dreams"}, false, false}, "", output, errors), 1);
  EXPECT_NE(output.find("what begins like it"), std::string::npos);
}

TEST_F(ConsoleSocket, ClientRunsAScript) {
  const auto server = serve();
  const std::string script = "show dreams\nhelp\nexit\nshow drops\n";
  std::string output, errors;
  EXPECT_EQ(client({"", {}, false, true}, script, output, errors), 1);
  EXPECT_NE(output.find("> help\n"), std::string::npos);
  EXPECT_EQ(output.find("> show drops"), std::string::npos);
  EXPECT_EQ(client({"", {}, true, true}, script, output, errors), 1);
  EXPECT_EQ(output.find("> help\n"), std::string::npos);
  EXPECT_EQ(client({"", {}, true, false}, "help\nshow drops", output, errors), 0);
  EXPECT_NE(output.find("tcp_checksum"), std::string::npos);
}

TEST_F(ConsoleSocket, ClientWithoutANode) {
  std::string output, errors;
  EXPECT_EQ(client({"", {"help"}, false, false}, "", output, errors), 1);
  EXPECT_EQ(errors,
            "no node answers on " + path_ +
                ": No such file or directory; start one with `understudy run`, or name its socket with "
                "--socket\n");
}

TEST_F(ConsoleSocket, DefaultSocketIsTheOnlyOne) {
  EXPECT_FALSE(default_socket(folder_ + "/made").ok());
  const auto server = serve();
  EXPECT_EQ(default_socket(folder_ + "/made").value(), path_);
  std::ofstream(folder_ + "/made/n2.sock") << "";
  EXPECT_FALSE(default_socket(folder_ + "/made").ok());
}

}  // namespace
}  // namespace understudy::console
