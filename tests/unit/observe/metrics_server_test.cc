// The server and plain sockets, on loopback.
#include "control/observe/metrics_server.h"

#include <atomic>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace understudy::observe {
namespace {

int connect_to(PortNumber port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port.value());
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{5, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  EXPECT_EQ(connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return descriptor;
}

std::string ask(PortNumber port, const std::string& request) {
  const int descriptor = connect_to(port);
  EXPECT_EQ(send(descriptor, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t got; (got = recv(descriptor, buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(got));
  close(descriptor);
  return answer;
}

std::string request(const std::string& method, const std::string& path) {
  return method + " " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
}

class Server : public ::testing::Test {
 protected:
  Server() {
    auto started = MetricsServer::start(*IpAddress::parse("127.0.0.1"), PortNumber(0), [this] {
      ++asked_;
      return std::string("# EOF\n");
    });
    EXPECT_TRUE(started.ok()) << started.message();
    server_ = std::move(started).value();
  }
  PortNumber port() const { return server_->port(); }
  std::atomic<int> asked_{0};
  std::unique_ptr<MetricsServer> server_;
};

TEST_F(Server, AnswersMetrics) {
  const std::string answer = ask(port(), request("GET", "/metrics"));
  EXPECT_EQ(answer.substr(0, 15), "HTTP/1.1 200 OK");
  EXPECT_NE(answer.find("application/openmetrics-text; version=1.0.0; charset=utf-8"), std::string::npos);
  EXPECT_EQ(answer.substr(answer.size() - 10), "\r\n\r\n# EOF\n");
  EXPECT_EQ(asked_, 1);
}

TEST_F(Server, HasNothingElse) {
  EXPECT_EQ(ask(port(), request("GET", "/")).substr(0, 12), "HTTP/1.1 404");
  EXPECT_EQ(ask(port(), request("DELETE", "/metrics")).substr(0, 12), "HTTP/1.1 405");
  EXPECT_EQ(ask(port(), "nonsense\r\n\r\n"), "") << "what is no request is hung up on";
  EXPECT_EQ(asked_, 0);
}

TEST_F(Server, WhoSaysNothingKeepsNobodyWaiting) {
  const int silent = connect_to(port()), half = connect_to(port());
  send(half, "GET /met", 8, MSG_NOSIGNAL);
  EXPECT_EQ(ask(port(), request("GET", "/metrics")).substr(0, 15), "HTTP/1.1 200 OK");
  close(silent);
  close(half);
}

TEST_F(Server, APortThatIsTakenIsTold) {
  const auto second =
      MetricsServer::start(*IpAddress::parse("127.0.0.1"), port(), [] { return std::string(); });
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.message().find("cannot listen on 127.0.0.1 port "), std::string::npos) << second.message();
}

}  // namespace
}  // namespace understudy::observe
