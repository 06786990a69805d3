#include "dataplane/worker/handover.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "common/check.h"
#include "dataplane/mirror/cluster_frame.h"
#include "dataplane/wire/frame.h"

namespace understudy::worker {
namespace {

constexpr unsigned kRingSize = 4096;

rte_ring* make_ring(const std::string& name) {
  rte_ring* ring = rte_ring_create(name.c_str(), kRingSize, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
  invariant(ring != nullptr, "hand-over: no memory for the rings");
  return ring;
}

}  // namespace

HandoverPort::HandoverPort(const std::string& name, const Port& real, std::function<void()> wake_io)
    : received_(make_ring(name + "r")),
      to_send_(make_ring(name + "s")),
      mac_(real.mac()),
      mtu_(real.mtu()),
      wake_io_(std::move(wake_io)) {}

uint16_t HandoverPort::receive(std::span<rte_mbuf*> frames) {
  const unsigned got = rte_ring_sc_dequeue_burst(received_.get(), reinterpret_cast<void**>(frames.data()),
                                                 static_cast<unsigned>(frames.size()), nullptr);
  statistics_.received_frames += got;
  for (unsigned i = 0; i < got; ++i) statistics_.received_bytes += frames[i]->pkt_len;
  return static_cast<uint16_t>(got);
}

void HandoverPort::transmit(std::span<rte_mbuf*> frames) {
  for (const rte_mbuf* frame : frames) statistics_.transmitted_bytes += frame->pkt_len;
  const unsigned sent =
      rte_ring_sp_enqueue_burst(to_send_.get(), reinterpret_cast<void* const*>(frames.data()),
                                static_cast<unsigned>(frames.size()), nullptr);
  statistics_.transmitted_frames += sent;
  given_ += sent;
  if (sent < frames.size()) {
    statistics_.transmit_dropped += frames.size() - sent;
    rte_pktmbuf_free_bulk(frames.data() + sent, static_cast<unsigned>(frames.size() - sent));
  }
  wake_io_();
}

void HandoverPort::forget_unsent(uint32_t silence) {
  valid_from_.store(given_, std::memory_order_relaxed);
  silence_.store(silence, std::memory_order_release);
}

Distributor::Distributor(Port& real, std::vector<HandoverPort*> others,
                         std::vector<std::function<void()>> wake, const tcp::ShardMap& shards)
    : real_(real),
      others_(std::move(others)),
      wake_(std::move(wake)),
      handed_(others_.size()),
      shards_(shards) {}

bool Distributor::has_to_send() const {
  for (const HandoverPort* other : others_)
    if (rte_ring_empty(other->to_send_.get()) == 0) return true;
  return false;
}

unsigned Distributor::worker_for(const rte_mbuf* frame) const {
  const auto* bytes = rte_pktmbuf_mtod(frame, const uint8_t*);
  wire::EthernetHeader ethernet;
  std::memcpy(&ethernet, bytes, sizeof ethernet);  // ports drop what is shorter
  const uint16_t type = ethernet.type.get();
  if (type == wire::kEtherTypeCluster) {
    mirror::ClusterFrameHeader header;
    if (frame->data_len < sizeof ethernet + sizeof header) return 0;
    std::memcpy(&header, bytes + sizeof ethernet, sizeof header);
    return header.to_worker <= others_.size() ? header.to_worker : 0;
  }
  if (const auto flow = wire::peek_flow(frame))
    return worker_of_shard(shards_.shard_of(*flow), static_cast<unsigned>(others_.size()) + 1);
  return wire::is_resolution(frame) ? kEverybody : 0;
}

void Distributor::hand_over(unsigned worker, rte_mbuf* frame) {
  if (rte_ring_sp_enqueue(others_[worker - 1]->received_.get(), frame) != 0) {
    drops_.count(DropReason::ring_full);
    rte_pktmbuf_free(frame);
    return;
  }
  handed_[worker - 1] = true;
}

// What another worker has put into its ring, but for what it had put there before it fell silent, and before
// it heard that this one has.
void Distributor::send_for(HandoverPort& other) {
  // Looked at first: what is in the ring after that was put there by somebody who knew.
  const bool knows = static_cast<int32_t>(other.silence_.load(std::memory_order_acquire) - silence_) >= 0;
  const uint64_t valid_from = other.valid_from_.load(std::memory_order_relaxed);
  std::array<rte_mbuf*, 64> burst;
  const unsigned count = rte_ring_sc_dequeue_burst(
      other.to_send_.get(), reinterpret_cast<void**>(burst.data()), burst.size(), nullptr);
  if (count == 0) return;
  const uint64_t old = valid_from > other.taken_ ? std::min<uint64_t>(valid_from - other.taken_, count) : 0;
  const auto withheld = static_cast<unsigned>(knows ? old : count);
  other.taken_ += count;
  drops_.count(DropReason::group_muted, withheld);
  rte_pktmbuf_free_bulk(burst.data(), withheld);
  if (withheld < count) real_.transmit({burst.data() + withheld, count - withheld});
}

uint16_t Distributor::receive(std::span<rte_mbuf*> frames) {
  for (HandoverPort* other : others_) send_for(*other);
  const uint16_t got = real_.receive(frames);
  uint16_t kept = 0;
  for (uint16_t i = 0; i < got; ++i) {
    rte_mbuf* frame = frames[i];
    const unsigned worker = worker_for(frame);
    if (worker == kEverybody) {
      for (unsigned other = 1; other <= others_.size(); ++other) {
        rte_mbuf* copy = rte_pktmbuf_copy(frame, frame->pool, 0, UINT32_MAX);
        if (copy == nullptr)
          drops_.count(DropReason::mbuf_pool_empty);
        else
          hand_over(other, copy);
      }
      frames[kept++] = frame;
    } else if (worker == 0) {
      frames[kept++] = frame;
    } else {
      hand_over(worker, frame);
    }
  }
  for (size_t i = 0; i < others_.size(); ++i) {
    if (!handed_[i]) continue;
    handed_[i] = false;
    wake_[i]();
  }
  return kept;
}

}  // namespace understudy::worker
