#pragma once

#include <memory>
#include <queue>
#include <vector>

#include "dataplane/tcp/engine.h"

namespace understudy {

// What the table varies.
struct LinkPlan {
  double loss = 0;             // of the segments that carry data: every (1/loss)th is lost
  Duration round_trip = 10ms;  // without queueing
  uint32_t receive_buffer = 512 * 1024;
  double bits_per_second = 100e6;
  tcp::CongestionAlgorithm algorithm = tcp::CongestionAlgorithm::cubic;
};

// Two engines in virtual time: one sends without end, the other reads everything at once. Between them a link
// with a queue of one bandwidth-delay product (at least 64 KiB) that drops what does not fit, and losses as
// regular as the published models assume them. One thread.
class Link {
 public:
  explicit Link(const LinkPlan& plan);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void run_for(Duration duration);
  uint64_t received() const { return received_; }  // bytes in order, at the receiver

 private:
  struct Host;
  struct Frame {
    Instant at;
    uint64_t order;
    rte_mbuf* mbuf;
    Host* to;
    bool operator>(const Frame& other) const { return std::tie(at, order) > std::tie(other.at, other.order); }
  };
  void carry(Host& from, rte_mbuf* mbuf);
  void settle(Host& host);
  void fill();

  LinkPlan plan_;
  Instant now_{1s};
  uint64_t order_ = 0;
  uint64_t data_segments_ = 0;
  uint64_t next_loss_ = UINT64_MAX;
  uint64_t losses_ = 0;
  uint64_t received_ = 0;
  Instant busy_until_{};
  tcp::ShardMap shards_{4};
  std::unique_ptr<tcp::Application> sink_application_;
  std::unique_ptr<tcp::Application> source_application_;
  std::unique_ptr<Host> sender_, receiver_;
  uint32_t leg_ = tcp::kNone;
  std::priority_queue<Frame, std::vector<Frame>, std::greater<>> in_flight_;
};

}  // namespace understudy
