#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "tests/conformance/virtual_host.h"

namespace understudy::conformance {

// What a socket call gives: a value, or an errno. EAGAIN and EINPROGRESS are what a call on a blocking socket
// waits for to end.
struct Outcome {
  int64_t value = 0;
  int error = 0;
  static Outcome failed(int error) { return {-1, error}; }
  bool would_block() const { return error == EAGAIN || error == EINPROGRESS; }
};

// One socket. Sequence and state live in the engine; here is what an application holds of it.
struct Socket {
  enum class Kind : uint8_t { fresh, listening, connection };
  Kind kind = Kind::fresh;
  int family = AF_INET;
  int flags = 0;  // O_NONBLOCK
  std::optional<sockaddr_in6> bound;

  // Connection.
  FlowKey key;
  tcp::LegId leg;
  uint32_t rx = tcp::kNone;  // a reference of our own: what has come can be read when the leg is gone
  uint32_t tx = tcp::kNone;
  uint64_t read_at = 0;
  bool established = false;
  bool was_established = false;
  bool read_shut = false;
  bool write_shut = false;
  bool orphaned = false;  // closed by its application
  bool held = false;      // a call waits in it
  bool closes_later = false;
  int parent = -1;                 // listener, until accepted
  int error = 0;                   // for SO_ERROR and the next call
  std::vector<uint8_t> held_back;  // by cork or MSG_MORE: less than a segment
  Instant held_until = kNever;     // nothing in flight will bring an acknowledgement that releases it
  uint64_t acked = 0;              // of what was sent, when last looked at
  bool more = false;               // the last write said MSG_MORE

  // Listening.
  ServiceId service;
  std::deque<int> accept_queue;
  int backlog = 0;

  // Options.
  bool nodelay = false;
  bool cork = false;
  bool linger = false;
  int linger_seconds = 0;
  bool reuse = false;
  bool keepalive = false;
  uint32_t receive_buffer = 0;  // 0: not set
  bool buffer_rounded = false;
  uint32_t send_buffer = 0;
  uint16_t max_segment = 0;
  uint32_t not_sent_low = 0;
  std::map<std::pair<int, int>, int> remembered;  // options that are only kept: (level, name)

  // What edge-triggered watchers count.
  uint32_t in_edges = 0;
  uint32_t out_edges = 0;
  bool wants_space = false;  // a send found the buffer full
};

// FreeBSD's option for the seconds that an opening may take; Linux has none like it.
constexpr int kTcpKeepInit = 128;

// BSD sockets over the engine of a VirtualHost, as an application of that engine. No call blocks: one that
// would have to wait says EAGAIN or EINPROGRESS and may be tried again when something has happened. One
// thread.
class Sockets final : private tcp::Application {
 public:
  Sockets(VirtualHost& host, const ProfileSettings& profile);
  ~Sockets() override;

  bool is_empty() const { return sockets_.empty(); }
  std::string states();
  Outcome open(int family, int type, int protocol);
  Outcome bind(int fd, const sockaddr* address, socklen_t length);
  Outcome listen(int fd, int backlog);
  Outcome accept(int fd, sockaddr* address, socklen_t* length);
  Outcome connect(int fd, const sockaddr* address, socklen_t length);
  Outcome receive(int fd, std::span<const iovec> into, int flags);
  // May take a part; the rest is for another try.
  Outcome send(int fd, std::span<const uint8_t> bytes, int flags);
  Outcome shutdown(int fd, int how);
  Outcome close(int fd);
  // While a call waits in a socket, that lives: to close it meanwhile takes effect when the call returns, as
  // in a kernel, whose calls hold the file.
  void hold(int fd, bool waits);
  Outcome get_option(int fd, int level, int name, void* value, socklen_t* length);
  Outcome set_option(int fd, int level, int name, const void* value, socklen_t length);
  Outcome file_control(int fd, int command, long argument);
  Outcome io_control(int fd, unsigned long request, int* value);
  // To be called when something has happened: tells writers who found no room that there is some again, and
  // releases what was held back until an acknowledgement.
  void notice_progress();
  // When bytes that are held back go out by themselves, and that they do.
  Instant next_deadline() const;
  void run_timers();
  // POLLIN and its like that hold now; POLLNVAL for a descriptor that is none.
  int readiness(int fd);

  Outcome epoll_create();
  Outcome epoll_control(int epoll, int operation, int fd, const epoll_event* event);
  Outcome epoll_collect(int epoll, std::span<epoll_event> out);  // EAGAIN: nothing is ready

  bool is_known(int fd) const { return sockets_.contains(fd) || epolls_.contains(fd); }
  bool is_blocking(int fd) const;
  VirtualHost& host() { return host_; }

 private:
  struct Watch {
    epoll_event wanted{};
    uint32_t in_seen = 0;
    uint32_t out_seen = 0;
    bool spent = false;  // EPOLLONESHOT has fired
  };
  using Epoll = std::map<int, Watch>;

  std::string_view name() const override { return "sockets"; }
  bool owns_opened_legs() const override { return true; }
  bool attach(tcp::Engine& engine, uint32_t leg) override;
  void on_open(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant now) override;

  Socket* find(int fd);
  ServiceId add_service(std::vector<IpAddress> addresses, PortNumber port, uint16_t segment_max,
                        Duration connect_timeout);
  Duration connect_timeout_of(const Socket& s) const;
  int add(std::unique_ptr<Socket> socket);
  Socket* of_leg(uint32_t leg);
  bool is_live(const Socket& s);
  tcp::Connection& connection(Socket& s);
  bool give_pipes(Socket& s, uint32_t leg);
  bool attach_copy(tcp::Engine& engine, uint32_t leg);
  void move_from(tcp::Engine& from);
  uint64_t readable(const Socket& s);
  bool at_end(const Socket& s);
  uint64_t writable(const Socket& s);
  uint64_t unsent(Socket& s);
  void push(Socket& s, bool all);
  void release(Socket& s);
  int take_error(Socket& s);
  void apply_options(Socket& s);
  void round_buffer(Socket& s);
  void forget(int fd);
  void close_listener(Socket& s);
  bool get_tcp_option(Socket& s, int name, std::vector<uint8_t>& value, int& error);
  bool get_socket_option(Socket& s, int name, std::vector<uint8_t>& value);
  int set_tcp_option(Socket& s, int name, int value);
  int set_socket_option(Socket& s, int name, int value, const void* raw, socklen_t length);
  std::vector<uint8_t> tcp_information(Socket& s);
  std::vector<uint8_t> memory_information(const Socket& s);

  VirtualHost& host_;
  ProfileSettings profile_;
  std::map<int, std::unique_ptr<Socket>> sockets_;
  std::map<FlowKey, int> by_flow_;
  std::map<int, Epoll> epolls_;
  std::map<uint16_t, int> listener_of_service_;
  int next_fd_ = 1000;  // the tool's own descriptors lie below
  uint16_t next_service_ = 1;
  uint16_t next_port_ = 32768;
};

// An address of either family; IPv4 as ::ffff:a.b.c.d.
std::optional<sockaddr_in6> to_socket_address(const sockaddr* address, socklen_t length);
IpAddress address_of(const sockaddr_in6& address);
void from_flow(const IpAddress& address, PortNumber port, int family, sockaddr* out, socklen_t* length);

}  // namespace understudy::conformance
