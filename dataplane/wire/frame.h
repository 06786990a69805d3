#pragma once

#include <span>
#include <variant>

#include <rte_mbuf.h>

#include "common/address.h"
#include "dataplane/wire/arp.h"
#include "dataplane/wire/drop_reason.h"
#include "dataplane/wire/ethernet.h"
#include "dataplane/wire/icmp_error.h"
#include "dataplane/wire/neighbour_discovery.h"
#include "dataplane/wire/tcp.h"

namespace understudy::wire {

// A TCP segment that was checked whole: lengths, IP checksum, TCP checksum. Values in host order; the payload
// is named by its place in the mbuf.
struct TcpSegment {
  IpAddress source;
  IpAddress destination;
  PortNumber source_port;
  PortNumber destination_port;
  Seq seq;
  Seq ack;
  uint8_t flags = 0;
  uint8_t type_of_service = 0;
  uint16_t window = 0;
  uint16_t urgent_pointer = 0;
  TcpOptions options;
  uint16_t payload_offset = 0;  // from the start of the mbuf's data
  uint16_t payload_length = 0;

  bool has(uint8_t flag) const { return (flags & flag) != 0; }
  // SEG.LEN of RFC 9293: payload plus one for SYN and one for FIN.
  uint32_t length() const { return payload_length + (has(kSyn) ? 1U : 0U) + (has(kFin) ? 1U : 0U); }
};

// ICMP or ICMPv6, as the addresses say.
struct IcmpEchoRequest {
  IpAddress source;
  IpAddress destination;
  uint16_t message_offset = 0;  // of the ICMP message, from the start of the mbuf's data
  uint16_t message_length = 0;
};

struct ClusterFrame {
  uint16_t payload_offset = sizeof(EthernetHeader);
};

// What a frame turned out to be, or why it ends here.
using ParsedFrame = std::variant<DropReason, TcpSegment, ArpPacket, NeighbourMessage, IcmpEchoRequest,
                                 IcmpError, ClusterFrame>;

// Checks a received frame from Ethernet to TCP options. The mbuf must be linear (one segment); ports see to
// that. Bytes after the IP packet's end (Ethernet padding) do not count. IPv4 options and IPv6 extension
// headers are skipped.
ParsedFrame parse_frame(const rte_mbuf* frame);

// For handing frames over to the worker that owns the flow: addresses and ports without checking checksums.
// Nothing unless the frame is an unfragmented TCP frame with whole headers, or an ICMP error that quotes one:
// then it is the flow of that segment.
std::optional<FlowKey> peek_flow(const rte_mbuf* frame);

// Whether every worker wants the frame, because each resolves for itself: ARP and neighbour discovery.
bool is_resolution(const rte_mbuf* frame);

// The Ethernet type of the IP packet that follows the room for its header.
inline uint16_t ether_type_of_packet(const rte_mbuf* frame) {
  const uint8_t* version = rte_pktmbuf_mtod_offset(frame, const uint8_t*, sizeof(EthernetHeader));
  return *version >> 4 == 4 ? kEtherTypeIpv4 : kEtherTypeIpv6;
}

// The source address of that packet.
IpAddress source_of_packet(const rte_mbuf* frame);

// What a TCP segment to be sent needs besides its payload. Values in host order.
struct TcpSegmentToSend {
  FlowKey key;  // local is the source
  Seq seq;
  Seq ack;
  uint8_t flags = 0;
  uint16_t window = 0;
  uint16_t urgent_pointer = 0;
  uint8_t type_of_service = 0;  // DSCP and ECN
  uint8_t hop_limit = 64;
  TcpOptions options;
  SynOptionOrder option_order = SynOptionOrder::linux_like;
};

// Prepends TCP, IP (of the family of the key's addresses) and room for the Ethernet header to `frame`, whose
// data is the payload (possibly empty, one segment, headroom of at least kTcpHeadroom), with all checksums
// computed. The Ethernet header is left unset: the neighbour layer fills it in.
constexpr uint16_t kTcpHeadroom = sizeof(EthernetHeader) + sizeof(Ipv6Header) + 20 + kTcpOptionsMax;
void build_tcp_frame(rte_mbuf* frame, const TcpSegmentToSend& segment);

}  // namespace understudy::wire
