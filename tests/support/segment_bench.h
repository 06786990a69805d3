#pragma once

#include <string>
#include <vector>

#include "dataplane/tcp/engine.h"

namespace understudy {

// One engine, and everybody else as raw segments: what a stranger sends is put in by hand, what the engine
// answers is kept to be looked at. Virtual time; every change is committed at the end of its burst.
class SegmentBench final : private tcp::SegmentSink {
 public:
  struct Sent {
    wire::TcpSegment segment;
    std::vector<uint8_t> payload;
  };
  static constexpr IpAddress kServer = IpAddress::v4(0x0a0a000a);
  static constexpr IpAddress kStranger = IpAddress::v4(0x0a0a0064);
  static constexpr IpAddress kServerV6 = IpAddress({0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a});
  static constexpr IpAddress kStrangerV6 =
      IpAddress({0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x64});

  explicit SegmentBench(tcp::EngineSettings settings = {});

  // Listens on kServer and kServerV6.
  void serve(uint16_t port, tcp::Application& application, ServiceId id = ServiceId(1));
  // From the stranger's side: `key.local` is the stranger. One burst of one segment.
  void arrive(const wire::TcpSegmentToSend& segment, std::span<const uint8_t> payload = {});
  // The same without the end of the burst: for floods.
  void take_in(const wire::TcpSegmentToSend& segment, std::span<const uint8_t> payload = {});
  void settle();
  void run_for(Duration length);  // timers as they come due

  // A flow as the stranger sees it.
  static FlowKey flow(uint16_t from_port, const IpAddress& from = kStranger, uint16_t to_port = 80) {
    return {from, from.is_v4() ? kServer : kServerV6, PortNumber(from_port), PortNumber(to_port)};
  }
  // SYN, SYN-ACK, ACK: the stranger's next number is irs + 1. Returns the engine's initial number.
  Seq connect(const FlowKey& flow, Seq irs, const wire::TcpOptions& options = {}, uint16_t window = 65535);
  // The engine's leg of this flow; null if there is none.
  tcp::Connection* leg(const FlowKey& flow);
  uint64_t drops(DropReason reason) { return engine.drops().of(reason); }

  Instant now{1s};
  tcp::Engine engine;
  std::vector<Sent> sent;  // since the test cleared it
  bool keep = true;        // false: count only
  uint64_t segments_sent = 0;

 private:
  void transmit(rte_mbuf* frame, const FlowKey& key) override;
};

}  // namespace understudy
