#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/conformance/sockets.h"

namespace understudy::conformance {

// A conversation with one connection, written as segments and times. A segment is
//
//   FLAGS FIRST:LAST [ack N] [win N] [OPTION...]     for example `P. 1:1001 ack 1 win 257 sack 2001:3001`
//
// with FLAGS out of S F R P U E (ECE) W (CWR) and `.` for ACK (`-`: none), sequence numbers that count from
// the initial ones (the SYN is 0), `urg N` for the urgent pointer, and options mss N, wscale N, sackok, ts
// VALUE ECHO, sack L:R; ect0 and ce stand for the ECN bits of the IP header. We are the peer that arrives()
// speaks for; left() is what the engine has sent since it was last asked, one segment a line.
class Script {
 public:
  explicit Script(const ProfileSettings& settings);
  ~Script();  // ends the program if a successor has broken a promise (UNDERSTUDY_FAILOVER=crash_at=K)

  // Time passes; what timers and the slow rounds send meanwhile is kept for left().
  void wait(Duration duration);
  // The payload is byte_at() of its numbers, or all `fill`.
  void arrives(std::string_view segment, char fill = 0);
  static uint8_t byte_at(int64_t number) { return static_cast<uint8_t>('a' + number % 23); }
  std::string left();
  // A router says something about a segment of the engine's with the sequence numbers `range`: ICMP type and
  // code, and the MTU of its next hop where that belongs.
  void error_arrives(uint8_t type, uint8_t code, std::string_view range, uint16_t mtu = 0);

  void listen();  // on port 80
  void close_listener();
  // A listener on port 80, a SYN with `options`, and the handshake to its end with a round trip time of 10
  // ms. What was exchanged is checked and gone; the window is 65535 unless the options scale it.
  void establish(std::string_view options = "mss 1000 sackok");
  // Opens from the engine's side instead: a SYN is on its way when it returns.
  void connect();
  void accept();  // what the peer has opened
  void write(uint32_t bytes);
  void write_urgent(uint32_t bytes);
  size_t read(size_t bytes);  // how many there were
  size_t read_into(std::vector<uint8_t>& bytes);
  size_t read_right(size_t bytes);  // how many before the first that is wrong
  int error();                      // SO_ERROR
  bool try_write(uint32_t bytes);   // false: the socket takes nothing
  void close();
  void shutdown();  // nothing more will be written
  void abort();     // what is left of the connection ends with a reset
  // The state of the connection; without one, LISTEN or CLOSED.
  std::string_view where();
  tcp::SendReport report();
  Sockets& sockets() { return sockets_; }
  int socket() const { return socket_; }
  tcp::Engine& engine() { return host_.engine(); }
  // The only connection; null when there is none.
  tcp::Connection* connection();
  VirtualHost& host() { return host_; }

 private:
  std::string text_of(const VirtualHost::Packet& packet);

  VirtualHost host_;
  Sockets sockets_;
  int listener_ = -1;
  int socket_ = -1;
  int64_t read_ = 0;  // bytes
  Seq our_start_{10'000};
  Seq engine_start_;
};

// The linux profile without what the machine's sysctls say. UNDERSTUDY_FAILOVER says what becomes of the
// owner, in every script: never, every_event, crash_at=K.
ProfileSettings plain_settings();

}  // namespace understudy::conformance
