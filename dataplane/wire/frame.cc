#include "dataplane/wire/frame.h"

#include "common/check.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/icmp.h"
#include "dataplane/wire/ipv4.h"

namespace understudy::wire {
namespace {

using Bytes = std::span<const uint8_t>;

// A copy, so that neither alignment nor aliasing is a question; the compiler keeps it in registers.
template <class Header>
Header read(Bytes bytes) {
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

Bytes bytes_of(const rte_mbuf* frame) {
  return {rte_pktmbuf_mtod(frame, const uint8_t*), rte_pktmbuf_data_len(frame)};
}

size_t header_length(const Ipv4Header& header) {
  return size_t{4} * (header.version_and_length & 0x0f);
}

size_t header_length(const TcpHeader& header) {
  return size_t{4} * (header.data_offset >> 4);
}

bool is_fragment(const Ipv4Header& header) {
  constexpr uint16_t kMoreFragmentsOrOffset = 0x3fff;
  return (header.flags_and_offset.get() & kMoreFragmentsOrOffset) != 0;
}

// RFC 1122 section 3.2.1.3: this network, loopback, multicast and broadcast are never a source.
bool is_possible_source(uint32_t address) {
  const uint32_t first = address >> 24;
  return first != 0 && first != 127 && (first & 0xf0) != 224 && address != UINT32_MAX;
}

// `packet` is an IPv4 packet cut to its total length, with a header that was checked. `packet_offset` is its
// place in the frame.
ParsedFrame parse_tcp(Bytes packet, const Ipv4Header& ip, size_t packet_offset) {
  const Bytes segment = packet.subspan(header_length(ip));
  if (segment.size() < sizeof(TcpHeader)) return DropReason::tcp_header_length;
  const auto header = read<TcpHeader>(segment);
  const size_t length = header_length(header);
  if (length < sizeof(TcpHeader) || length > segment.size()) return DropReason::tcp_header_length;

  ParsedFrame parsed(std::in_place_type<TcpSegment>);
  auto& tcp = *std::get_if<TcpSegment>(&parsed);
  tcp.source = IpAddress::v4(ip.source.get());
  tcp.destination = IpAddress::v4(ip.destination.get());
  const uint64_t pseudo = checksum_pseudo_header(tcp.source, tcp.destination, kProtocolTcp,
                                                 static_cast<uint32_t>(segment.size()));
  if (checksum_finish(checksum_add(pseudo, segment)) != 0) return DropReason::tcp_checksum;
  if (!parse_tcp_options(segment.subspan(sizeof header, length - sizeof header), tcp.options))
    return DropReason::tcp_options_malformed;
  tcp.source_port = PortNumber(header.source_port.get());
  tcp.destination_port = PortNumber(header.destination_port.get());
  tcp.seq = Seq(header.sequence.get());
  tcp.ack = Seq(header.acknowledgement.get());
  tcp.flags = header.flags;
  tcp.type_of_service = ip.type_of_service;
  tcp.window = header.window.get();
  tcp.urgent_pointer = header.urgent_pointer.get();
  tcp.payload_offset = static_cast<uint16_t>(packet_offset + header_length(ip) + length);
  tcp.payload_length = static_cast<uint16_t>(segment.size() - length);
  return parsed;
}

ParsedFrame parse_icmp(Bytes packet, const Ipv4Header& ip, size_t packet_offset) {
  const Bytes message = packet.subspan(header_length(ip));
  if (message.size() < sizeof(IcmpEcho)) return DropReason::icmp_malformed;
  if (message[0] != kIcmpEchoRequest) {
    return checksum_finish(checksum_add(0, message)) == 0 ? DropReason::icmp_ignored
                                                          : DropReason::icmp_malformed;
  }
  if (!is_icmp_echo_request(message)) return DropReason::icmp_malformed;
  IcmpEchoRequest echo;
  echo.source = IpAddress::v4(ip.source.get());
  echo.destination = IpAddress::v4(ip.destination.get());
  echo.message_offset = static_cast<uint16_t>(packet_offset + header_length(ip));
  echo.message_length = static_cast<uint16_t>(message.size());
  return echo;
}

// `bytes` is what follows the Ethernet header, padding included.
ParsedFrame parse_ipv4(Bytes bytes, size_t packet_offset) {
  if (bytes.size() < sizeof(Ipv4Header)) return DropReason::frame_truncated;
  const auto header = read<Ipv4Header>(bytes);
  const size_t length = header_length(header);
  const size_t total_length = header.total_length.get();
  if (header.version_and_length >> 4 != 4 || length < sizeof(Ipv4Header) || total_length < length)
    return DropReason::ip_version_or_length;
  if (total_length > bytes.size()) return DropReason::frame_truncated;
  const Bytes packet = bytes.first(total_length);
  if (checksum_finish(checksum_add(0, packet.first(length))) != 0) return DropReason::ip_checksum;
  if (is_fragment(header)) return DropReason::ip_fragment;
  if (!is_possible_source(header.source.get())) return DropReason::ip_source_invalid;
  switch (header.protocol) {
    case kProtocolTcp:
      return parse_tcp(packet, header, packet_offset);
    case kProtocolIcmp:
      return parse_icmp(packet, header, packet_offset);
    default:
      return DropReason::ip_protocol_unknown;
  }
}

ParsedFrame parse_arp_frame(Bytes bytes) {
  if (bytes.size() < kArpPacketBytes) return DropReason::frame_truncated;
  const auto packet = parse_arp(bytes);
  if (!packet) return DropReason::arp_malformed;
  return *packet;
}

}  // namespace

ParsedFrame parse_frame(const rte_mbuf* frame) {
  const Bytes bytes = bytes_of(frame);
  if (bytes.size() < sizeof(EthernetHeader)) return DropReason::frame_truncated;
  const Bytes rest = bytes.subspan(sizeof(EthernetHeader));
  switch (read<EthernetHeader>(bytes).type.get()) {
    case kEtherTypeIpv4:
      return parse_ipv4(rest, sizeof(EthernetHeader));
    case kEtherTypeArp:
      return parse_arp_frame(rest);
    case kEtherTypeCluster:
      return ClusterFrame();
    default:
      return DropReason::ethernet_type_unknown;
  }
}

std::optional<FlowKey> peek_flow(const rte_mbuf* frame) {
  Bytes bytes = bytes_of(frame);
  if (bytes.size() < sizeof(EthernetHeader) + sizeof(Ipv4Header)) return std::nullopt;
  if (read<EthernetHeader>(bytes).type.get() != kEtherTypeIpv4) return std::nullopt;
  bytes = bytes.subspan(sizeof(EthernetHeader));
  const auto ip = read<Ipv4Header>(bytes);
  const size_t length = header_length(ip);
  if (ip.version_and_length >> 4 != 4 || length < sizeof(Ipv4Header) || ip.protocol != kProtocolTcp ||
      is_fragment(ip) || bytes.size() < length + sizeof(TcpHeader) ||
      ip.total_length.get() < length + sizeof(TcpHeader))
    return std::nullopt;
  const auto tcp = read<TcpHeader>(bytes.subspan(length));
  return FlowKey{IpAddress::v4(ip.destination.get()), IpAddress::v4(ip.source.get()),
                 PortNumber(tcp.destination_port.get()), PortNumber(tcp.source_port.get())};
}

void build_tcp_frame(rte_mbuf* frame, const TcpSegmentToSend& segment) {
  invariant(rte_pktmbuf_headroom(frame) >= kTcpHeadroom && frame->nb_segs == 1,
            "tcp: a payload without headroom, or in more than one segment");
  std::array<uint8_t, sizeof(TcpHeader) + kTcpOptionsMax> bytes;
  const size_t options_length = build_tcp_options(
      segment.options, std::span<uint8_t, kTcpOptionsMax>(bytes.data() + sizeof(TcpHeader), kTcpOptionsMax));
  const auto header_bytes = static_cast<uint16_t>(sizeof(TcpHeader) + options_length);
  const size_t tcp_length = header_bytes + size_t{rte_pktmbuf_data_len(frame)};
  invariant(tcp_length <= UINT16_MAX - sizeof(Ipv4Header), "tcp: a payload longer than a datagram");

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
  sum = checksum_add(sum, Bytes(bytes).first(header_bytes));
  sum = checksum_add(sum, bytes_of(frame));
  tcp.checksum.set(checksum_finish(sum));
  std::memcpy(bytes.data(), &tcp, sizeof tcp);
  std::memcpy(rte_pktmbuf_prepend(frame, header_bytes), bytes.data(), header_bytes);

  Ipv4Header ip;
  build_ipv4_header(ip, segment.key.local, segment.key.remote, kProtocolTcp,
                    static_cast<uint16_t>(tcp_length), segment.type_of_service);
  std::memcpy(rte_pktmbuf_prepend(frame, sizeof ip), &ip, sizeof ip);
  rte_pktmbuf_prepend(frame, sizeof(EthernetHeader));
}

}  // namespace understudy::wire
