#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <rte_ring.h>

#include "dataplane/tcp/shard.h"
#include "dataplane/wire/drop_reason.h"
#include "dataplane/worker/port.h"

namespace understudy::worker {

// A port with one queue belongs to worker 0, which hands received frames to the workers that own their flows
// and sends what they give it: one ring each way per port and worker.
class HandoverPort final : public Port {
 public:
  // `real` is only asked for its constants. `wake_io` rouses worker 0; called after frames were enqueued.
  HandoverPort(const std::string& name, const Port& real, std::function<void()> wake_io);
  uint16_t receive(std::span<rte_mbuf*> frames) override;
  void transmit(std::span<rte_mbuf*> frames) override;
  void forget_unsent(uint32_t silence) override;
  MacAddress mac() const override { return mac_; }
  uint16_t mtu() const override { return mtu_; }
  PortStatistics statistics() const override { return statistics_; }
  bool has_received() const { return rte_ring_empty(received_.get()) == 0; }

 private:
  friend class Distributor;
  struct FreeRing {
    void operator()(rte_ring* ring) const { rte_ring_free(ring); }
  };
  std::unique_ptr<rte_ring, FreeRing> received_;
  std::unique_ptr<rte_ring, FreeRing> to_send_;
  MacAddress mac_;
  uint16_t mtu_;
  std::function<void()> wake_io_;
  PortStatistics statistics_;
  uint64_t given_ = 0;                   // frames put into to_send_
  std::atomic<uint64_t> valid_from_{0};  // of them, those before this one must not leave any more
  std::atomic<uint32_t> silence_{0};     // the last one that this worker knows of
  uint64_t taken_ = 0;                   // out of to_send_; the Distributor's
};

// Worker 0's side: stands in front of the real port. What it receives for itself is what is left after the
// others have got theirs.
class Distributor final : public Port {
 public:
  // `others[i]` is worker i+1's end; `wake[i]` rouses it.
  Distributor(Port& real, std::vector<HandoverPort*> others, std::vector<std::function<void()>> wake,
              const tcp::ShardMap& shards);
  uint16_t receive(std::span<rte_mbuf*> frames) override;
  void transmit(std::span<rte_mbuf*> frames) override { real_.transmit(frames); }
  // Others that have not heard of this silence yet are not listened to until they have.
  void forget_unsent(uint32_t silence) override { silence_ = silence; }
  MacAddress mac() const override { return real_.mac(); }
  uint16_t mtu() const override { return real_.mtu(); }
  PortStatistics statistics() const override { return real_.statistics(); }
  bool has_to_send() const;
  DropCounters& drops() { return drops_; }

 private:
  static constexpr unsigned kEverybody = UINT32_MAX;
  unsigned worker_for(const rte_mbuf* frame) const;
  void hand_over(unsigned worker, rte_mbuf* frame);
  void send_for(HandoverPort& other);

  Port& real_;
  std::vector<HandoverPort*> others_;
  std::vector<std::function<void()>> wake_;
  std::vector<bool> handed_;
  const tcp::ShardMap& shards_;
  DropCounters drops_;
  uint32_t silence_ = 0;
};

// Which worker runs a shard.
constexpr unsigned worker_of_shard(uint8_t shard, unsigned workers) {
  return shard % workers;
}

}  // namespace understudy::worker
