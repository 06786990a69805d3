// Segments on their way out.
#include "common/check.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/frame.h"
#include "dataplane/wire/ipv4.h"

namespace understudy::wire {
namespace {

// Room for a header in front, to be written where it is sent from.
template <class Header>
Header& prepend(rte_mbuf* frame) {
  return *new (rte_pktmbuf_prepend(frame, sizeof(Header))) Header;
}

void prepend_ip_header(rte_mbuf* frame, const TcpSegmentToSend& segment, uint16_t payload_length) {
  const FlowKey& key = segment.key;
  if (key.local.is_v4())
    build_ipv4_header(prepend<Ipv4Header>(frame), key.local, key.remote, kProtocolTcp, payload_length,
                      segment.type_of_service, segment.hop_limit);
  else
    build_ipv6_header(prepend<Ipv6Header>(frame), key.local, key.remote, kProtocolTcp, payload_length,
                      segment.type_of_service, segment.hop_limit);
}

}  // namespace

void build_tcp_frame(rte_mbuf* frame, const TcpSegmentToSend& segment) {
  invariant(rte_pktmbuf_headroom(frame) >= kTcpHeadroom && frame->nb_segs == 1,
            "tcp: a payload without headroom, or in more than one segment");
  std::array<uint8_t, sizeof(TcpHeader) + kTcpOptionsMax> bytes;
  const size_t options_length = build_tcp_options(
      segment.options, std::span<uint8_t, kTcpOptionsMax>(bytes.data() + sizeof(TcpHeader), kTcpOptionsMax),
      segment.option_order);
  const auto header_bytes = static_cast<uint16_t>(sizeof(TcpHeader) + options_length);
  const size_t tcp_length = header_bytes + size_t{rte_pktmbuf_data_len(frame)};
  invariant(tcp_length <= UINT16_MAX - sizeof(Ipv6Header), "tcp: a payload longer than a datagram");

  TcpHeader tcp;
  tcp.source_port.set(segment.key.local_port.value());
  tcp.destination_port.set(segment.key.remote_port.value());
  tcp.sequence.set(segment.seq.raw());
  tcp.acknowledgement.set(segment.ack.raw());
  tcp.data_offset = static_cast<uint8_t>(header_bytes / 4 << 4);
  tcp.flags = segment.flags;
  tcp.window.set(segment.window);
  tcp.checksum.set(0);
  tcp.urgent_pointer.set(segment.urgent_pointer);
  std::memcpy(bytes.data(), &tcp, sizeof tcp);
  // The header is always a multiple of four bytes, so the payload begins at an even offset of the sum.
  uint64_t sum = checksum_pseudo_header(segment.key.local, segment.key.remote, kProtocolTcp,
                                        static_cast<uint32_t>(tcp_length));
  sum = checksum_add(sum, std::span<const uint8_t>(bytes).first(header_bytes));
  sum = checksum_add(sum, {rte_pktmbuf_mtod(frame, const uint8_t*), rte_pktmbuf_data_len(frame)});
  tcp.checksum.set(checksum_finish(sum));
  std::memcpy(bytes.data(), &tcp, sizeof tcp);
  std::memcpy(rte_pktmbuf_prepend(frame, header_bytes), bytes.data(), header_bytes);

  prepend_ip_header(frame, segment, static_cast<uint16_t>(tcp_length));
  rte_pktmbuf_prepend(frame, sizeof(EthernetHeader));
}

}  // namespace understudy::wire
