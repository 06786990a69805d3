#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "dataplane/mirror/heartbeat.h"
#include "dataplane/wire/drop_reason.h"
#include "dataplane/worker/port.h"

namespace understudy::worker {

// Until when this node may speak for each of its groups, by their position in the settings. Written by
// control, read by whoever is about to transmit.
class Leases {
 public:
  explicit Leases(size_t groups) : groups_(groups) {
    for (auto& until : until_) until.store(kNever.time_since_epoch().count(), std::memory_order_relaxed);
  }
  // kNever: it has not spoken in this life, and has nothing to say.
  Instant until(size_t group) const {
    return Instant(Duration(until_[group].load(std::memory_order_acquire)));
  }
  void set(size_t group, Instant until) {
    until_[group].store(until.time_since_epoch().count(), std::memory_order_release);
  }
  size_t groups() const { return groups_; }

 private:
  size_t groups_;
  std::array<std::atomic<int64_t>, mirror::kHeartbeatGroupsMax> until_;
};

// The last gate before the device: a port that drops what would leave in the name of a group whose lease is
// over. It looks at a clock of its own, once per burst, because between a worker's reading and this moment
// the process may have been stopped. What is lost between its look and the wire is at most the burst in hand.
class LeasedPort final : public Port {
 public:
  struct Address {
    IpAddress address;
    size_t group;
  };
  using Clock = std::function<Instant()>;
  LeasedPort(Port& real, std::shared_ptr<const Leases> leases, std::vector<Address> addresses, Clock clock)
      : real_(real), leases_(std::move(leases)), addresses_(std::move(addresses)), clock_(std::move(clock)) {}
  uint16_t receive(std::span<rte_mbuf*> frames) override { return real_.receive(frames); }
  void transmit(std::span<rte_mbuf*> frames) override;
  void forget_unsent(uint32_t silence) override { real_.forget_unsent(silence); }
  MacAddress mac() const override { return real_.mac(); }
  uint16_t mtu() const override { return real_.mtu(); }
  PortStatistics statistics() const override { return real_.statistics(); }
  DropCounters& drops() { return drops_; }

 private:
  bool may_leave(const rte_mbuf* frame, Instant now) const;

  Port& real_;
  std::shared_ptr<const Leases> leases_;
  std::vector<Address> addresses_;
  Clock clock_;
  DropCounters drops_;
};

// The address in whose name a frame speaks: source of IPv4 or IPv6, sender of ARP. Nothing for other frames.
std::optional<IpAddress> speaker_of(const rte_mbuf* frame);

}  // namespace understudy::worker
