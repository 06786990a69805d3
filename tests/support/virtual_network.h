#pragma once

#include <functional>
#include <memory>
#include <queue>
#include <string_view>
#include <vector>

#include "common/random.h"
#include "dataplane/tcp/engine.h"

namespace understudy {

// Hosts with a TCP engine each, joined by a network in virtual time that delays, drops, duplicates and
// reorders from one seed. Nothing here reads a clock.
class VirtualNetwork {
 public:
  struct Path {
    Duration delay = 100us;
    uint32_t loss_per_mille = 0;
    uint32_t duplicate_per_mille = 0;
    uint32_t reorder_per_mille = 0;  // such frames take up to three delays longer
  };

  class Host : public tcp::SegmentSink {
   public:
    Host(VirtualNetwork& network, const tcp::EngineSettings& settings, Instant start);
    void transmit(rte_mbuf* frame, const FlowKey& key) override;
    // What a worker does at the end of a burst without a standby: everything is committed at once.
    std::function<void(Host&)> end_of_burst;
    VirtualNetwork& network;
    bool alive = true;
    tcp::Engine engine;
  };

  explicit VirtualNetwork(uint64_t seed, uint32_t shards = 4);
  ~VirtualNetwork();
  VirtualNetwork(const VirtualNetwork&) = delete;
  VirtualNetwork& operator=(const VirtualNetwork&) = delete;

  Host& add_host(const tcp::EngineSettings& settings = {});
  void add_address(const IpAddress& address, Host& host);  // the newest host with an address receives for it
  Path path;
  // Sees every frame before the network does; false drops it.
  std::function<bool(const wire::TcpSegment&)> filter;

  Instant now() const { return now_; }
  // Delivers, fires timers and flushes until `until` is true or `limit` has passed. False on the limit.
  bool run_until(const std::function<bool()>& until, Duration limit);
  void run_for(Duration duration);
  Random& random() { return random_; }
  const tcp::ShardMap& shards() const { return shards_; }
  // Resets that reached a live connection. (A late duplicate for one that is gone is answered with a reset,
  // rightly.)
  uint64_t resets_seen() const { return resets_; }
  uint64_t frames() const { return frames_; }

 private:
  friend class Host;
  struct InFlight {
    Instant at;
    uint64_t order;
    rte_mbuf* frame;
    bool operator>(const InFlight& other) const {
      return std::tie(at, order) > std::tie(other.at, other.order);
    }
  };
  void send(rte_mbuf* frame);
  void enqueue(rte_mbuf* frame, Duration delay);
  void step();
  void settle(Host& host);

  Random random_;
  tcp::ShardMap shards_;
  Instant now_{1s};
  uint64_t order_ = 0;
  uint64_t resets_ = 0;
  uint64_t frames_ = 0;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::pair<IpAddress, Host*>> addresses_;
  std::priority_queue<InFlight, std::vector<InFlight>, std::greater<>> in_flight_;
};

// An application that sends `to_send` pseudo-random bytes and checks what it receives against the same
// generator: byte k of a stream is a function of (stream, k) alone.
class StreamPeer : public tcp::Application {
 public:
  StreamPeer(uint64_t send_stream, uint64_t to_send, uint64_t expect_stream)
      : send_stream_(send_stream), to_send_(to_send), expect_stream_(expect_stream) {}
  static uint8_t byte_of(uint64_t stream, uint64_t offset);

  std::string_view name() const override { return "stream peer"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override;
  void on_open(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant now) override;
  void pump(tcp::Engine& engine);  // writes on as the send queue drains

  bool reading = true;          // false: the window fills
  bool close_when_sent = true;  // half-close after the last byte
  uint64_t received = 0;
  uint64_t sent = 0;
  uint64_t wrong = 0;  // bytes that differ from what was expected
  bool peer_finished = false;
  bool opened = false;
  int closed = 0;
  tcp::CloseReason reason = tcp::CloseReason::finished;
  tcp::LegId leg;

 private:
  uint64_t send_stream_;
  uint64_t to_send_;
  uint64_t expect_stream_;
};

}  // namespace understudy
