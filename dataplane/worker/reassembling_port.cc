#include "dataplane/worker/reassembling_port.h"

namespace understudy::worker {

uint16_t ReassemblingPort::receive(std::span<rte_mbuf*> frames) {
  const uint16_t received = beneath_.receive(frames);
  uint16_t kept = 0;
  for (uint16_t i = 0; i < received; ++i) {
    rte_mbuf* frame = frames[i];
    if (wire::FragmentTable::is_fragment(frame)) frame = fragments_.add(frame, clock_());
    if (frame != nullptr) frames[kept++] = frame;
  }
  return kept;
}

PortStatistics ReassemblingPort::statistics() const {
  PortStatistics statistics = beneath_.statistics();
  statistics.receive_dropped += fragments_.counters().dropped();
  return statistics;
}

}  // namespace understudy::worker
