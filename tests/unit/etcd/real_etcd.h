#pragma once

#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/etcd/curl_transport.h"
#include "control/etcd/record.h"

// A real etcd-server on loopback, with a data directory of its own, and somebody to ask it.
namespace understudy::etcd {

inline Instant now() {
  return Instant(std::chrono::steady_clock::now().time_since_epoch());
}

inline int free_port() {
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  socklen_t length = sizeof address;
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length);
  close(descriptor);
  return ntohs(address.sin_port);
}

inline pid_t spawn(const std::vector<std::string>& words, const std::string& log) {
  const pid_t child = fork();
  if (child != 0) return child;
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  dup2(out, 1);
  dup2(out, 2);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  setenv("ETCD_UNSUPPORTED_ARCH", "arm64", 0);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

// A server of one member.
class RealEtcd {
 public:
  explicit RealEtcd(bool tls = false) : scheme_(tls ? "https" : "http"), port_(free_port()) {
    char pattern[] = "/tmp/understudy-etcd-XXXXXX";
    folder_ = mkdtemp(pattern);
    peer_ = "http://127.0.0.1:" + std::to_string(free_port());
    for (const char* name : {"server", "other"})
      if (tls) make_certificate(name);
    start();
  }
  ~RealEtcd() {
    stop();
    std::filesystem::remove_all(folder_);
  }
  void start() {
    std::vector<std::string> words = {"etcd",
                                      "--data-dir",
                                      folder_ + "/data",
                                      "--listen-client-urls",
                                      url(),
                                      "--advertise-client-urls",
                                      url(),
                                      "--listen-peer-urls",
                                      peer_,
                                      "--initial-advertise-peer-urls",
                                      peer_,
                                      "--initial-cluster",
                                      "default=" + peer_,
                                      "--heartbeat-interval",
                                      "10",
                                      "--election-timeout",
                                      "100"};
    if (scheme_ == "https")
      words.insert(words.end(), {"--cert-file", certificate(), "--key-file", key(), "--client-cert-auth",
                                 "--trusted-ca-file", certificate()});
    child_ = spawn(words, folder_ + "/log");
  }
  void stop() {
    if (child_ <= 0) return;
    kill(child_, SIGCONT);
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  void pause() {
    kill(child_, SIGSTOP);
    waitpid(child_, nullptr, WUNTRACED);  // all its threads stand still
  }
  void resume() { kill(child_, SIGCONT); }
  std::string url() const { return scheme_ + "://127.0.0.1:" + std::to_string(port_); }
  std::string certificate() const { return folder_ + "/server.pem"; }
  std::string key() const { return folder_ + "/server.key"; }
  std::string other_certificate() const { return folder_ + "/other.pem"; }

 private:
  void make_certificate(const std::string& name) {
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=etcd "
        "-addext subjectAltName=IP:127.0.0.1 -addext extendedKeyUsage=serverAuth,clientAuth -keyout " +
        folder_ + "/" + name + ".key -out " + folder_ + "/" + name + ".pem 2>/dev/null";
    EXPECT_EQ(std::system(command.c_str()), 0);
  }
  std::string scheme_, folder_, peer_;
  int port_;
  pid_t child_ = 0;
};

// One call at a time.
class Client {
 public:
  explicit Client(CurlSettings settings) {
    auto started = CurlTransport::start(std::move(settings), {});
    EXPECT_TRUE(started.ok());
    transport_ = std::move(started).value();
  }
  Reply ask(const char* path, const std::string& body, Duration timeout = 10s, size_t endpoint = 0) {
    transport_->post(++calls_, endpoint, path, body, timeout);
    for (const Instant end = now() + timeout + 60s;  // this machine may do other things
         now() < end;) {
      transport_->gather();
      for (Reply& reply : transport_->take_replies())
        if (reply.call == calls_) return reply;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ADD_FAILURE() << "no reply within its time";
    return {.body = {}, .error = "no reply"};
  }
  Result<Answer> read(const std::string& key, Duration timeout = 10s) {
    const Reply reply = ask(kRangePath, range_request(key), timeout);
    if (reply.status == 0) return Error{reply.error};
    return parse_range_answer(reply.status, reply.body, key);
  }
  Result<Answer> swap(const std::string& key, int64_t revision, const std::string& value) {
    const Reply reply = ask(kTxnPath, swap_request(key, revision, value));
    if (reply.status == 0) return Error{reply.error};
    return parse_swap_answer(reply.status, reply.body, key);
  }
  bool wait_for_leader() {
    for (const Instant end = now() + 60s; now() < end;) {
      if (read("is anybody there").ok()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

 private:
  std::unique_ptr<CurlTransport> transport_;
  uint64_t calls_ = 0;
};

class Etcd : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v etcd >/dev/null") != 0)
      GTEST_SKIP() << "etcd-server is not installed (tools/setup)";
  }
};

}  // namespace understudy::etcd
