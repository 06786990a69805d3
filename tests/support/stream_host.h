#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/tcp/engine.h"
#include "tests/support/switched_network.h"

namespace understudy {

// One end of a conversation over one connection: says `to_say` bytes of a stream and checks what it hears.
// Byte k of a stream is a function of (stream, k) alone.
struct StreamEnd {
  uint64_t say_stream = 0;
  uint64_t hear_stream = 0;
  uint64_t to_say = 0;
  uint64_t to_hear = 0;
  uint64_t said = 0;
  uint64_t heard = 0;
  uint64_t wrong = 0;
  bool opened = false;
  bool finished = false;       // our FIN is queued
  bool peer_finished = false;  // theirs has come, after all bytes
  bool closed = false;
  tcp::CloseReason reason = tcp::CloseReason::finished;
  tcp::LegId leg;
  FlowKey key;
  bool is_complete() const { return said == to_say && heard == to_hear && peer_finished && wrong == 0; }
};

// A machine on one network: ARP as Linux does it, and TCP. Its application speaks a small protocol: the
// client's first 12 bytes are the number of the stream, how many bytes it will say and how many it wants to
// hear.
class StreamHost final : private tcp::SegmentSink, private tcp::Application {
 public:
  StreamHost(SwitchedNetwork& network, const IpAddress& address, MacAddress mac, rte_mempool* pool,
             const tcp::ShardMap& shards, Instant start);

  // Opens a connection from `port`, to say `up` and to hear `down` bytes. The reference stays good.
  StreamEnd& open(const IpAddress& to, PortNumber to_port, uint16_t from_port, uint32_t number, uint32_t up,
                  uint32_t down, Instant now);
  void listen(PortNumber first, PortNumber last);
  void round(Instant now);
  Instant next_deadline() const;
  bool has_received() const { return port_.has_received(); }

  const std::vector<std::unique_ptr<StreamEnd>>& ends() const { return ends_; }
  // Resets that met a live connection which had exchanged data, or which this host opened.
  uint64_t resets_met() const { return resets_met_; }
  const std::string& last_reset() const { return last_reset_; }
  // Segments that this host sent more than once, and its timeouts.
  uint64_t repeated() { return engine_.counters().retransmitted + engine_.counters().timeouts; }
  bool reading = true;
  bool answers = true;  // false: deaf, as a machine that is off
  SwitchPort& port() { return port_; }
  tcp::Engine& engine() { return engine_; }

 private:
  void transmit(rte_mbuf* frame, const FlowKey& key) override;
  std::string_view name() const override { return "stream host"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override;
  void on_open(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant now) override;

  struct Neighbour {
    MacAddress mac;
    bool known = false;
    Instant ask_again{};
    std::vector<rte_mbuf*> waiting;
  };
  void receive(rte_mbuf* frame, Instant now);
  void receive_arp(const wire::ArpPacket& packet);
  void note_reset(const wire::TcpSegment& segment);
  void ask(const IpAddress& ip);
  void send_to(const MacAddress& to, rte_mbuf* frame);
  void send_arp(const MacAddress& to, const wire::ArpPacket& packet);
  StreamEnd* end_of(uint32_t leg);
  void hear(StreamEnd& end, std::span<const uint8_t> bytes);
  void read(StreamEnd& end);
  void write(StreamEnd& end);
  void settle(Instant now);

  IpAddress address_;
  rte_mempool* pool_;
  SwitchPort port_;
  tcp::Engine engine_;
  Instant now_{};
  std::map<IpAddress, Neighbour> neighbours_;
  std::vector<std::unique_ptr<StreamEnd>> ends_;
  uint64_t resets_met_ = 0;
  std::string last_reset_;
};

}  // namespace understudy
