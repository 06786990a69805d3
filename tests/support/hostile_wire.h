#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "tests/support/virtual_network.h"

namespace understudy {

// Two engines that exchange streams, and between them a wire whose every move somebody else decides: which
// frame arrives next, which is lost, said twice, damaged; and what a stranger who cannot see the traffic
// throws in. Byte k of a stream is a function of k, so each end checks what it gets.
class HostileWire {
 public:
  struct Settings {
    uint64_t bytes_from_client = 20'000;
    uint64_t bytes_from_server = 20'000;
    tcp::EngineSettings client;
    tcp::EngineSettings server;
  };
  enum class Side : uint8_t { client, server };

  explicit HostileWire(const Settings& settings);
  ~HostileWire();
  HostileWire(const HostileWire&) = delete;
  HostileWire& operator=(const HostileWire&) = delete;

  size_t waiting(Side to) const { return wire_[index(to)].size(); }
  // `at` counts from the oldest, modulo what waits; nothing happens when nothing waits.
  void deliver(Side to, size_t at = 0);
  void lose(Side to, size_t at);
  void repeat(Side to, size_t at);
  void damage(Side to, size_t at, uint32_t bit);
  void pass_time(Duration length);
  void set_reading(Side side, bool reading);
  // From a stranger in the other end's name. Such a segment must do no harm: see `is_blind`.
  void forge(Side to, wire::TcpSegmentToSend segment, std::span<const uint8_t> payload);
  // Whether somebody who does not see the connection could have sent it, and RFC 5961 protects against it:
  // not one of those whose numbers are right by chance.
  bool is_blind(Side to, const wire::TcpSegmentToSend& segment, size_t payload) const;
  const tcp::Connection* connection(Side side) const;

  // From now on the wire is good. True when all bytes have arrived within `limit`, right, and both ends knew
  // it.
  bool ends_well(Duration limit);
  bool has_failed() const;  // a wrong byte, or an end that was told that the other one is gone
  std::string describe() const;
  const tcp::Engine& engine(Side side) const { return ends_[index(side)]->engine; }

 private:
  struct End : tcp::SegmentSink {
    End(HostileWire& wire, Side side, tcp::EngineSettings settings, Instant start, uint64_t say,
        uint64_t bytes, uint64_t hear);
    void transmit(rte_mbuf* frame, const FlowKey& key) override;
    HostileWire& wire;
    Side side;
    tcp::Engine engine;
    StreamPeer peer;
  };
  static size_t index(Side side) { return static_cast<size_t>(side); }
  static Side other(Side side) { return side == Side::client ? Side::server : Side::client; }
  struct Frame {
    rte_mbuf* mbuf;
    bool damaged;  // once: a second bit could make up for the first in the checksum
  };
  rte_mbuf* take(Side to, size_t at);
  void receive(Side to, rte_mbuf* frame);
  void settle(End& end);
  bool done() const;

  Instant now_{1s};
  std::array<std::unique_ptr<End>, 2> ends_;
  std::array<std::deque<Frame>, 2> wire_;  // by whom they go to
};

}  // namespace understudy
