#pragma once

#include <functional>

#include "dataplane/wire/fragments.h"
#include "dataplane/worker/port.h"

namespace understudy::worker {

// A port that puts fragments of IP packets together before anybody looks at them (wire/fragments.h has the
// bounds). What is dropped counts as receive_dropped. A whole packet may be longer than mtu(). Same thread as
// the port beneath.
class ReassemblingPort final : public Port {
 public:
  ReassemblingPort(Port& beneath, const wire::FragmentTable::Settings& settings, rte_mempool* pool,
                   std::function<Instant()> clock)
      : beneath_(beneath), fragments_(settings, pool), clock_(std::move(clock)) {}

  uint16_t receive(std::span<rte_mbuf*> frames) override;
  void transmit(std::span<rte_mbuf*> frames) override { beneath_.transmit(frames); }
  void forget_unsent(uint32_t silence) override { beneath_.forget_unsent(silence); }
  MacAddress mac() const override { return beneath_.mac(); }
  uint16_t mtu() const override { return beneath_.mtu(); }
  PortStatistics statistics() const override;

 private:
  Port& beneath_;
  wire::FragmentTable fragments_;
  const std::function<Instant()> clock_;
};

}  // namespace understudy::worker
