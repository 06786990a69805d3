#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "common/random.h"
#include "tests/conformance/profile.h"

namespace understudy::conformance {

// An engine, alone with a clock of its own: raw IP packets go in and come out, and time moves when it is told
// to. One thread at a time.
class VirtualHost final : private tcp::SegmentSink {
 public:
  struct Packet {
    Instant at;
    std::vector<uint8_t> bytes;  // from the IP header on
  };

  VirtualHost(const ProfileSettings& settings, rte_mempool* pool, Instant start);
  ~VirtualHost() override;
  VirtualHost(const VirtualHost&) = delete;
  VirtualHost& operator=(const VirtualHost&) = delete;

  tcp::Engine& engine() { return *engine_; }
  Instant now() const { return now_; }
  // Time passes; timers fire on the way, each at its own instant.
  void advance_to(Instant until);
  // A packet arrives. Whatever address it is sent to is ours.
  void inject(std::span<const uint8_t> packet);
  // What an application did takes effect: the end of a burst.
  void settle();
  void add_address(const IpAddress& address);

  std::deque<Packet>& sent() { return sent_; }
  uint32_t doubts() const { return doubts_; }  // how often the way to a peer was called in question

 private:
  void transmit(rte_mbuf* frame, const FlowKey& key) override;
  void doubt(const FlowKey&) override { ++doubts_; }

  rte_mempool* pool_;
  tcp::ShardMap shards_{4};
  Random random_{1};
  Instant now_;
  std::unique_ptr<tcp::Engine> engine_;
  std::vector<IpAddress> addresses_;
  std::deque<Packet> sent_;
  uint32_t doubts_ = 0;
};

}  // namespace understudy::conformance
