#pragma once

#include <functional>
#include <vector>

#include "dataplane/mirror/owner_log.h"
#include "dataplane/mirror/replica.h"
#include "tests/conformance/profile.h"

namespace understudy::conformance {

// One of the two systems that a connection under test may live on: an engine and, towards the other one, both
// ends of a mirror stream. What one says to the other arrives at once. One thread.
class System final : private tcp::SegmentSink, private mirror::FrameSink {
 public:
  using Transmit = std::function<void(std::span<const uint8_t> packet)>;  // from the IP header on

  System(const ProfileSettings& settings, rte_mempool* pool, Instant start, NodeId id, Transmit transmit);
  ~System() override;

  tcp::Engine& engine() { return engine_; }
  void own(Instant now);  // it speaks
  // The end of a burst, as a worker does it for legs that no standby has.
  void settle(Instant now);
  // Everything that it knows goes to `heir`, which speaks from then on: with soft state, as in a planned
  // hand-over, or without, as the log leaves it when its owner dies after its last record was confirmed.
  void hand_over(System& heir, Instant now);
  void die_for(System& heir, Instant now, Duration clock_leap);
  void forget_legs();
  uint32_t doubts() const { return doubts_; }

 private:
  void transmit(rte_mbuf* frame, const FlowKey& key) override;
  void doubt(const FlowKey&) override { ++doubts_; }
  void transmit_cluster(rte_mbuf* frame) override;
  void repeat_cluster(rte_mbuf*) override {}  // this wire loses nothing
  void open_stream(System& heir, Instant now);
  void exchange(Instant now);
  Epoch next_epoch();

  rte_mempool* pool_;
  Transmit transmit_;
  NodeId id_;
  tcp::ShardMap shards_{4};
  tcp::Engine engine_;
  DropCounters drops_;
  mirror::OwnerLog log_;
  mirror::ChannelReceiver receiver_;
  mirror::Replica replica_;
  System* peer_ = nullptr;
  Instant now_{};
  uint32_t generation_ = 0;
  uint32_t epochs_ = 0;
  uint32_t doubts_ = 0;
};

}  // namespace understudy::conformance
