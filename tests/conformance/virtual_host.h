#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "tests/conformance/profile.h"
#include "tests/conformance/successor.h"
#include "tests/conformance/system.h"

namespace understudy::conformance {

// An engine, alone with a clock of its own: raw IP packets go in and come out, and time moves when it is told
// to. With failover=every_event its connections move to another engine, and back, after every event, as in a
// planned hand-over; with failover=crash_at=K a second engine takes over what is known after event K, and is
// checked beside the first one, which goes on (successor.h). One thread at a time.
class VirtualHost final {
 public:
  struct Packet {
    Instant at;
    std::vector<uint8_t> bytes;  // from the IP header on
  };

  VirtualHost(const ProfileSettings& settings, rte_mempool* pool, Instant start);
  ~VirtualHost();
  VirtualHost(const VirtualHost&) = delete;
  VirtualHost& operator=(const VirtualHost&) = delete;

  // The one that speaks. After every event it may be another one.
  // Of all engines that the connections have been in.
  uint64_t count(uint64_t tcp::EngineCounters::*counter) const;
  uint64_t drops(DropReason reason) const;
  tcp::Engine& engine() { return active_->engine(); }
  // Called when connections have moved, with the engine that they were on.
  void on_move(std::function<void(tcp::Engine& from)> moved) { moved_ = std::move(moved); }
  Instant now() const { return now_; }
  // Time passes; timers fire on the way, each at its own instant.
  void advance_to(Instant until);
  // A packet arrives. Whatever address it is sent to is ours.
  void inject(std::span<const uint8_t> packet);
  // What an application did takes effect: the end of a burst, and of an event.
  void settle();

  // Set-up, on both systems.
  void add_address(const IpAddress& address);
  void add_service(const tcp::Service& service);
  void limit_segments(ServiceId service, uint16_t segment_max);
  void stop_listening(ServiceId service);

  // What an application does with a leg; its copy on the successor does the same.
  bool write(uint32_t leg, std::span<const uint8_t> bytes);
  void consume(uint32_t leg, uint64_t up_to_offset);
  void finish_writing(uint32_t leg);
  void abort(uint32_t leg);

  std::deque<Packet>& sent() { return sent_; }
  // How often the way to a peer was called in question.
  uint32_t doubts() const { return active_->doubts() + (other_ ? other_->doubts() : 0); }
  uint64_t events() const { return events_; }
  // What the successor did wrong, a sentence each.
  std::vector<std::string> faults();

 private:
  void after_event();

  const ProfileSettings settings_;
  rte_mempool* pool_;
  Instant now_;
  uint64_t events_ = 0;
  std::deque<Packet> sent_;
  std::vector<IpAddress> addresses_;
  std::unique_ptr<System> active_;
  std::unique_ptr<System> other_;
  std::unique_ptr<Successor> successor_;
  std::function<void(tcp::Engine&)> moved_;
};

// The packet with an Ethernet header before it. Null: it is longer than a buffer, or there is none.
rte_mbuf* frame_of(std::span<const uint8_t> packet, rte_mempool* pool);

}  // namespace understudy::conformance
