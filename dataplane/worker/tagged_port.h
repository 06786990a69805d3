#pragma once

#include "dataplane/worker/port.h"

namespace understudy::worker {

// A port whose frames carry an IEEE 802.1Q tag on the wire. Receiving takes the tag off frames of its VLAN,
// whether it stands in the frame or the device has taken it off and says so; every other frame, untagged ones
// and those with a second tag included, is dropped and counted as receive_dropped. Sending puts it on; a
// frame without room for it is dropped and counted. The tag takes its 4 bytes from the MTU of the port
// beneath. Same thread as that.
class TaggedPort final : public Port {
 public:
  // `vlan`: 1 to 4094.
  TaggedPort(Port& beneath, uint16_t vlan) : beneath_(beneath), vlan_(vlan) {}

  uint16_t receive(std::span<rte_mbuf*> frames) override;
  void transmit(std::span<rte_mbuf*> frames) override;
  void forget_unsent(uint32_t silence) override { beneath_.forget_unsent(silence); }
  MacAddress mac() const override { return beneath_.mac(); }
  uint16_t mtu() const override { return static_cast<uint16_t>(beneath_.mtu() - kTagBytes); }
  PortStatistics statistics() const override;

 private:
  static constexpr uint16_t kTagBytes = 4;
  Port& beneath_;
  const uint16_t vlan_;
  uint64_t receive_dropped_ = 0;
  uint64_t transmit_dropped_ = 0;
};

}  // namespace understudy::worker
