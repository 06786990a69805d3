#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include <rte_mbuf.h>

#include "common/check.h"
#include "dataplane/worker/port.h"

namespace understudy {

// One end of a MemoryWire.
class MemoryPort final : public Port {
 public:
  MemoryPort(MacAddress mac, uint16_t mtu, uint32_t capacity) : mac_(mac), mtu_(mtu), ring_(capacity) {}
  ~MemoryPort() override {
    for (; first_ != last_; ++first_) rte_pktmbuf_free(slot(first_));
  }
  MemoryPort(const MemoryPort&) = delete;
  MemoryPort& operator=(const MemoryPort&) = delete;

  uint16_t receive(std::span<rte_mbuf*> frames) override {
    uint16_t count = 0;
    copy_shared();
    for (; count < frames.size() && first_ != last_; ++count) {
      frames[count] = slot(first_++);
      statistics_.received_bytes += frames[count]->pkt_len;
    }
    statistics_.received_frames += count;
    return count;
  }
  // No two machines share memory: a frame that its sender keeps comes out as a copy. receive() sees to it;
  // who measures what a receiver costs calls this before, because a network card's copy costs no processor
  // time.
  void copy_shared() {
    for (copied_ = std::max(copied_, first_); copied_ != last_; ++copied_) {
      rte_mbuf*& frame = slot(copied_);
      if (rte_mbuf_refcnt_read(frame) == 1) continue;
      rte_mbuf* copy = rte_pktmbuf_copy(frame, frame->pool, 0, UINT32_MAX);
      invariant(copy != nullptr, "memory port: no buffer for a copy");
      rte_pktmbuf_free(frame);
      frame = copy;
    }
  }

  void transmit(std::span<rte_mbuf*> frames) override {
    for (rte_mbuf* frame : frames) {
      if (frame->nb_segs != 1 || frame->pkt_len < kHeader || frame->pkt_len > mtu_ + kHeader) {
        ++statistics_.transmit_dropped;
        rte_pktmbuf_free(frame);
        continue;
      }
      ++statistics_.transmitted_frames;
      statistics_.transmitted_bytes += frame->pkt_len;
      if (carrier_ && other_->carrier_) {
        other_->arrive(frame);
      } else {
        rte_pktmbuf_free(frame);
      }
    }
  }

  MacAddress mac() const override { return mac_; }
  uint16_t mtu() const override { return mtu_; }
  PortStatistics statistics() const override { return statistics_; }
  uint32_t waiting() const { return static_cast<uint32_t>(last_ - first_); }  // frames to be received
  void set_carrier(bool up) {
    carrier_ = up;
  }  // without it frames are lost both ways, unnoticed by the sender

 private:
  friend class MemoryWire;
  static constexpr uint32_t kHeader = 14;
  rte_mbuf*& slot(uint64_t position) { return ring_[position % ring_.size()]; }
  void arrive(rte_mbuf* frame) {
    if (last_ - first_ == ring_.size()) {
      ++statistics_.receive_missed;
      rte_pktmbuf_free(frame);
      return;
    }
    slot(last_++) = frame;
  }

  MacAddress mac_;
  uint16_t mtu_;
  std::vector<rte_mbuf*> ring_;
  uint64_t first_ = 0, copied_ = 0, last_ = 0;  // positions that never wrap
  MemoryPort* other_ = nullptr;
  bool carrier_ = true;
  PortStatistics statistics_;
};

// A cable between two ports in memory: a frame transmitted at one end is received at the other, in order, the
// same mbuf if its sender has given it away. Each end holds up to `capacity` frames that wait to be received;
// more are dropped and counted there as missed. Single thread; the pools of the frames outlive the wire.
class MemoryWire {
 public:
  explicit MemoryWire(uint32_t capacity, uint16_t mtu = 1500,
                      MacAddress first = MacAddress({0x02, 0, 0, 0, 0, 0x0a}),
                      MacAddress second = MacAddress({0x02, 0, 0, 0, 0, 0x0b}))
      : ends_{MemoryPort(first, mtu, capacity), MemoryPort(second, mtu, capacity)} {
    ends_[0].other_ = &ends_[1];
    ends_[1].other_ = &ends_[0];
  }
  MemoryPort& end(unsigned index) { return ends_[index]; }  // 0 or 1

 private:
  std::array<MemoryPort, 2> ends_;
};

}  // namespace understudy
