#pragma once

#include <memory>

#include "tests/support/mbuf_pool.h"
#include "tests/support/mirrored_pair.h"

// The inside of MirroredPair, for its own files.
namespace understudy {

inline constexpr uint16_t kPorts[] = {80, 7, 9, 1117};  // by SessionPlan::Service
inline constexpr uint16_t kFirstClientPort = 40000;
inline constexpr uint32_t kCluster = 77;

// What only the two mirroring nodes have.
struct MirroredPair::Cluster {
  Cluster(MirroredPair& pair, tcp::Engine& engine, mirror::FrameSink& sink, BootId own_boot)
      : boot(own_boot),
        backends({{.address = pair.addresses_.backend,
                   .port = PortNumber(pair.settings_.first_backend_refuses ? 81 : 80),
                   .up = true},
                  {.address = pair.addresses_.backend, .port = PortNumber(80), .up = true},
                  {.address = pair.addresses_.backend, .port = PortNumber(80), .up = true},
                  {.address = pair.addresses_.backend, .port = PortNumber(80), .up = true},
                  {.address = pair.addresses_.backend, .port = PortNumber(80), .up = true}}),
        sources({pair.addresses_.source}, own_boot.value() * 1000),
        proxy(backends, sources),
        receiver(pair.settings_.channel_window, test_mbuf_pool(), sink, drops),
        replica(engine, 0) {}
  BootId boot;
  uint32_t generation = 0;
  service::BackendPool backends;
  service::SourcePool sources;
  service::Proxy proxy;
  service::Echo echo;
  service::Discard discard;
  service::Tally tally;
  DropCounters drops;
  mirror::ChannelReceiver receiver;
  mirror::Replica replica;
};

struct MirroredPair::Node : tcp::SegmentSink, mirror::FrameSink {
  Node(MirroredPair& p, const tcp::EngineSettings& settings);
  void transmit(rte_mbuf* frame, const FlowKey& key) override { pair.transmit(*this, frame, key); }
  void transmit_cluster(rte_mbuf* frame) override { pair.transmit_cluster(*this, frame); }
  void repeat_cluster(rte_mbuf* sent) override {
    rte_mbuf_refcnt_update(sent, 1);
    transmit_cluster(sent);
  }

  MirroredPair& pair;
  bool alive = true;
  tcp::Engine engine;
  std::unique_ptr<Conversation> conversation;  // hosts
  std::unique_ptr<Cluster> cluster;            // nodes
  std::unique_ptr<mirror::OwnerLog> log;
};

}  // namespace understudy
