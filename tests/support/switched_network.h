#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <span>
#include <tuple>
#include <vector>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "common/instant.h"
#include "common/random.h"
#include "dataplane/worker/port.h"

namespace understudy {

class SwitchedNetwork;

// What a node or a host is plugged in with: a port whose receive ring holds 512 frames, the oldest kept, as a
// socket's.
class SwitchPort final : public Port {
 public:
  // Received frames are copied into `pool`: no buffer is shared between two nodes.
  SwitchPort(SwitchedNetwork& network, MacAddress mac, rte_mempool* pool);
  ~SwitchPort() override;
  SwitchPort(const SwitchPort&) = delete;
  SwitchPort& operator=(const SwitchPort&) = delete;
  uint16_t receive(std::span<rte_mbuf*> frames) override;
  void transmit(std::span<rte_mbuf*> frames) override;
  MacAddress mac() const override { return mac_; }
  uint16_t mtu() const override { return 1500; }
  PortStatistics statistics() const override { return statistics_; }

  bool has_received() const { return !ring_.empty(); }
  // What it holds, received or not yet sent, is thrown away. (Not what hold() keeps: that has left.)
  void reopen();
  // For machines that have no buffers: the oldest frame received, nothing if there is none; and one to send.
  std::optional<std::vector<uint8_t>> take();
  void send(std::span<const uint8_t> frame);
  // Keeps what is transmitted, as a device that lags behind does: 512 frames, the oldest kept. False lets go.
  void hold(bool held);
  bool holds_any() const { return !held_.empty(); }
  // While the network's observer is shown a frame of this port: when the port was given it.
  Instant given_at() const { return given_at_; }
  // Without carrier a port keeps what is sent, 512 frames, the oldest kept, and sends it when it is back.
  void unplug() { unplugged_ = true; }
  void plug();
  // A cut direction loses frames, unnoticed by the sender.
  bool cut_in = false;
  bool cut_out = false;

 private:
  friend class SwitchedNetwork;
  static constexpr size_t kRing = 512;
  SwitchedNetwork& network_;
  MacAddress mac_;
  rte_mempool* pool_;
  std::deque<std::vector<uint8_t>> ring_;
  struct Held {
    std::vector<uint8_t> frame;
    Instant given_at;
  };
  std::vector<Held> held_;
  bool holds_ = false;
  Instant given_at_{};
  std::vector<std::vector<uint8_t>> unsent_;
  bool unplugged_ = false;
  Instant free_at_{};  // when the wire to this port has carried what was sent to it
  PortStatistics statistics_;
};

// A learning switch with its wires, in virtual time: delays, serialises towards each port, loses, duplicates,
// reorders and damages at random, and shows every frame to an observer at the moment at which it enters.
class SwitchedNetwork {
 public:
  explicit SwitchedNetwork(uint64_t seed) : random_(seed) {}
  Duration delay = 100us;
  uint32_t loss_per_mille = 0;
  uint32_t duplicate_per_mille = 0;
  uint32_t reorder_per_mille = 0;  // such frames take up to three delays longer
  // One bit of such frames, behind the Ethernet header, is flipped; where no checksum of the frame's own
  // could tell (ARP), the frame is lost instead, as the frame check sequence of real networks sees to.
  uint32_t corrupt_per_mille = 0;
  bool damages_cluster_frames = false;  // they are authenticated, so that damage shows
  uint64_t bits_per_second = 0;         // towards each port; 0: no limit
  Duration queue_max = 20ms;            // what waits longer for a port is lost
  std::function<void(const SwitchPort& from, std::span<const uint8_t> frame)> observer;
  // What to lose besides, by its sender and its bytes.
  std::function<bool(const SwitchPort& from, std::span<const uint8_t> frame)> swallows;
  // Whether the way from one port to another is cut; what is sent on it gets lost.
  std::function<bool(const SwitchPort& from, const SwitchPort& to)> separates;
  // A frame, or a copy of it, gets lost or damaged on its way. Not called for what nobody is plugged in for.
  std::function<void(std::span<const uint8_t> frame)> on_loss;

  void set_now(Instant now) { now_ = now; }
  Instant next_arrival() const { return in_flight_.empty() ? kNever : in_flight_.top().at; }
  void deliver_due();
  // Which port the switch holds an address to be behind; null: it floods.
  const SwitchPort* learned(const MacAddress& mac) const;
  void inject(SwitchPort& to, std::vector<uint8_t> frame) { arrive(to, std::move(frame)); }
  // Of what `from` has sent and has not arrived, this share is lost: the last, for a port sends in order.
  // Returns when the first of them entered the switch; kNever: none.
  Instant lose_in_flight(const SwitchPort& from, uint32_t per_mille);
  uint64_t frames() const { return order_; }

 private:
  friend class SwitchPort;
  struct InFlight {
    Instant at;
    uint64_t order;
    Instant sent;
    const SwitchPort* from;
    SwitchPort* to;
    std::vector<uint8_t> bytes;
    bool operator>(const InFlight& other) const {
      return std::tie(at, order) > std::tie(other.at, other.order);
    }
  };
  void send(SwitchPort& from, std::span<const uint8_t> frame);
  void enqueue(const SwitchPort& from, SwitchPort& to, std::span<const uint8_t> frame);
  bool may_be_damaged(std::span<const uint8_t> frame) const;
  void lose(std::span<const uint8_t> frame) const {
    if (on_loss) on_loss(frame);
  }
  void arrive(SwitchPort& to, std::vector<uint8_t> frame);
  void unplug(SwitchPort& port);

  Random random_;
  Instant now_{};
  uint64_t order_ = 0;
  std::vector<SwitchPort*> ports_;
  std::map<MacAddress, SwitchPort*> table_;
  std::priority_queue<InFlight, std::vector<InFlight>, std::greater<>> in_flight_;
};

}  // namespace understudy
