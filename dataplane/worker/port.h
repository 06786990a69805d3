#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <rte_mbuf.h>

#include "common/address.h"

namespace understudy {

struct PortStatistics {
  uint64_t received_frames = 0;
  uint64_t received_bytes = 0;
  uint64_t transmitted_frames = 0;
  uint64_t transmitted_bytes = 0;
  uint64_t receive_missed = 0;    // the device had no room or no buffer
  uint64_t receive_dropped = 0;   // malformed for this layer: not linear, shorter than an Ethernet header
  uint64_t transmit_dropped = 0;  // the device did not take the frame; freed here
};

// Where frames come from and go to. One thread calls receive and transmit. Implementations: dataplane/dpdk
// (ethdev), the hand-over rings of a worker without a queue of its own, in-memory wires of the tests and the
// simulator.
class Port {
 public:
  virtual ~Port() = default;
  // Fills `frames` from the front and returns how many. Each is one linear mbuf that the caller now owns.
  virtual uint16_t receive(std::span<rte_mbuf*> frames) = 0;
  // Takes all of `frames`; what the device does not take is freed and counted. Each is one linear mbuf, at
  // most mtu() bytes after its Ethernet header. One with further references is only read: the mirror's
  // channel keeps what it may have to send again.
  virtual void transmit(std::span<rte_mbuf*> frames) = 0;
  // The worker on this end has fallen silent (see SharedSigns::silences): what it has handed over to other
  // workers and has not left yet is not to leave any more. For ports whose frames go by way of others.
  virtual void forget_unsent([[maybe_unused]] uint32_t silence) {}
  virtual MacAddress mac() const = 0;  // primary address, the source of data frames
  virtual uint16_t mtu() const = 0;    // bytes after the Ethernet header
  virtual PortStatistics statistics() const = 0;
};

}  // namespace understudy
