#pragma once

#include <vector>

#include "dataplane/tcp/engine.h"
#include "dataplane/worker/port.h"

namespace understudy::bench {

// A client or backend machine at the far end of a wire: a TCP engine without a mirror, which answers ARP for
// its addresses and sends everything to one MAC, the group's. It runs in the same thread as what is measured;
// its time is accounted apart.
class Host final : private tcp::SegmentSink {
 public:
  struct Settings {
    std::vector<IpAddress> addresses;
    MacAddress next_hop;
    tcp::EngineSettings engine;
  };
  // `port`, `pool` and `shards` outlive the host.
  Host(Settings settings, Port& port, const tcp::ShardMap& shards, rte_mempool* pool, Instant start);

  // One round: every frame that waits, timers, output. True if there was something to do.
  bool run_once(Instant now);
  // Answers connections to `port` of every address; or, with port 0, is what connections are opened under.
  void serve(PortNumber port, tcp::Application& application);
  // A connection from the next free (address, port); kNone when the table is full.
  uint32_t connect(const IpAddress& remote, PortNumber port, Instant now);
  tcp::Engine& engine() { return engine_; }

 private:
  void transmit(rte_mbuf* frame, const FlowKey& key) override;
  void receive(rte_mbuf* frame, Instant now);
  void answer_arp(const wire::ArpPacket& request);
  void settle(Instant now);
  void send_all();

  static constexpr ServiceId kService{1};
  Settings settings_;
  Port& port_;
  rte_mempool* pool_;
  tcp::Engine engine_;
  uint64_t next_connection_ = 0;
  std::vector<rte_mbuf*> outgoing_;
};

}  // namespace understudy::bench
