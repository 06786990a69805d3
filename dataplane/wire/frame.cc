#include "dataplane/wire/frame.h"

#include <algorithm>

#include "common/check.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/icmp.h"
#include "dataplane/wire/ipv4.h"
#include "dataplane/wire/ipv6.h"

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

// RFC 4291 section 2.5: multicast, loopback and the unspecified address are never a source on a link. Nor is
// a mapped IPv4 address, which would pass for an IPv4 packet from here on.
bool is_possible_source(const IpAddress& address) {
  return !address.is_multicast() && !address.is_unspecified() && !address.is_loopback() && !address.is_v4();
}

// An IP packet whose headers were checked, cut to its length.
struct Packet {
  IpAddress source;
  IpAddress destination;
  Bytes payload;
  size_t payload_offset = 0;  // place in the frame
  uint8_t type_of_service = 0;
  uint8_t hop_limit = 0;
};

ParsedFrame parse_tcp(const Packet& ip) {
  const Bytes segment = ip.payload;
  if (segment.size() < sizeof(TcpHeader)) return DropReason::tcp_header_length;
  const auto header = read<TcpHeader>(segment);
  const size_t length = header_length(header);
  if (length < sizeof(TcpHeader) || length > segment.size()) return DropReason::tcp_header_length;

  ParsedFrame parsed(std::in_place_type<TcpSegment>);
  auto& tcp = *std::get_if<TcpSegment>(&parsed);
  tcp.source = ip.source;
  tcp.destination = ip.destination;
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
  tcp.payload_offset = static_cast<uint16_t>(ip.payload_offset + length);
  tcp.payload_length = static_cast<uint16_t>(segment.size() - length);
  return parsed;
}

IcmpEchoRequest echo_request(const Packet& ip) {
  return {ip.source, ip.destination, static_cast<uint16_t>(ip.payload_offset),
          static_cast<uint16_t>(ip.payload.size())};
}

ParsedFrame parsed_error(const std::variant<DropReason, IcmpError>& outcome) {
  if (const auto* error = std::get_if<IcmpError>(&outcome)) return *error;
  return std::get<DropReason>(outcome);
}

ParsedFrame parse_icmp(const Packet& ip) {
  const Bytes message = ip.payload;
  if (message.size() < sizeof(IcmpEcho)) return DropReason::icmp_malformed;
  if (message[0] != kIcmpEchoRequest) {
    if (checksum_finish(checksum_add(0, message)) != 0) return DropReason::icmp_malformed;
    return parsed_error(parse_icmp_error(message, ip.destination));
  }
  if (!is_icmp_echo_request(message)) return DropReason::icmp_malformed;
  return echo_request(ip);
}

// RFC 4861 section 7.1: what a router has passed on may have come from anywhere.
ParsedFrame parse_discovery(const Packet& ip, uint8_t type) {
  constexpr uint8_t kHopLimit = 255;
  if (ip.hop_limit != kHopLimit) return DropReason::nd_malformed;
  if (type != kNeighbourSolicitation && type != kNeighbourAdvertisement) return DropReason::nd_ignored;
  const auto message = parse_neighbour_message(ip.payload, ip.source, ip.destination);
  if (!message) return DropReason::nd_malformed;
  return *message;
}

ParsedFrame parse_icmpv6(const Packet& ip) {
  const Bytes message = ip.payload;
  if (message.size() < sizeof(IcmpEcho)) return DropReason::icmp_malformed;
  const uint64_t pseudo = checksum_pseudo_header(ip.source, ip.destination, kProtocolIcmpv6,
                                                 static_cast<uint32_t>(message.size()));
  if (checksum_finish(checksum_add(pseudo, message)) != 0) return DropReason::icmp_malformed;
  const uint8_t type = message[0];
  if (type >= kRouterSolicitation && type <= kRedirect) return parse_discovery(ip, type);
  if (ip.source.is_unspecified()) return DropReason::ip_source_invalid;
  if (type != kIcmpv6EchoRequest) return parsed_error(parse_icmpv6_error(message, ip.destination));
  if (message[1] != 0) return DropReason::icmp_malformed;
  return echo_request(ip);
}

// `bytes` is what follows the Ethernet header, padding included.
ParsedFrame parse_ipv4(Bytes bytes) {
  if (bytes.size() < sizeof(Ipv4Header)) return DropReason::frame_truncated;
  const auto header = read<Ipv4Header>(bytes);
  const size_t length = header_length(header);
  const size_t total_length = header.total_length.get();
  if (header.version_and_length >> 4 != 4 || length < sizeof(Ipv4Header) || total_length < length)
    return DropReason::ip_version_or_length;
  if (total_length > bytes.size()) return DropReason::frame_truncated;
  if (checksum_finish(checksum_add(0, bytes.first(length))) != 0) return DropReason::ip_checksum;
  if (is_fragment(header)) return DropReason::ip_fragment;
  if (!is_possible_source(header.source.get())) return DropReason::ip_source_invalid;
  const Packet packet{IpAddress::v4(header.source.get()),
                      IpAddress::v4(header.destination.get()),
                      bytes.first(total_length).subspan(length),
                      sizeof(EthernetHeader) + length,
                      header.type_of_service,
                      header.time_to_live};
  switch (header.protocol) {
    case kProtocolTcp:
      return parse_tcp(packet);
    case kProtocolIcmp:
      return parse_icmp(packet);
    default:
      return DropReason::ip_protocol_unknown;
  }
}

ParsedFrame parse_ipv6(Bytes bytes) {
  if (bytes.size() < sizeof(Ipv6Header)) return DropReason::frame_truncated;
  const auto header = read<Ipv6Header>(bytes);
  if (header.version() != 6) return DropReason::ip_version_or_length;
  const Bytes rest = bytes.subspan(sizeof header);
  if (header.payload_length.get() > rest.size()) return DropReason::frame_truncated;
  const Bytes payload = rest.first(header.payload_length.get());
  const auto walked = skip_extension_headers(payload, header.next_header);
  if (const auto* reason = std::get_if<DropReason>(&walked)) return *reason;
  const auto& upper = *std::get_if<UpperLayer>(&walked);
  const Packet packet{IpAddress(header.source),      IpAddress(header.destination),
                      payload.subspan(upper.offset), sizeof(EthernetHeader) + sizeof header + upper.offset,
                      header.traffic_class(),        header.hop_limit};
  if (packet.destination.is_v4()) return DropReason::ip_not_for_us;
  const bool may_lack_source = upper.protocol == kProtocolIcmpv6 && packet.source == IpAddress();
  if (!may_lack_source && !is_possible_source(packet.source)) return DropReason::ip_source_invalid;
  switch (upper.protocol) {
    case kProtocolTcp:
      return parse_tcp(packet);
    case kProtocolIcmpv6:
      return parse_icmpv6(packet);
    default:
      return DropReason::ip_protocol_unknown;
  }
}

std::optional<FlowKey> flow_of(const std::variant<DropReason, IcmpError>& outcome) {
  if (const auto* error = std::get_if<IcmpError>(&outcome)) return error->flow;
  return std::nullopt;
}

std::optional<FlowKey> peek_ipv4(Bytes bytes) {
  if (bytes.size() < sizeof(Ipv4Header)) return std::nullopt;
  const auto ip = read<Ipv4Header>(bytes);
  const size_t length = header_length(ip);
  if (ip.version_and_length >> 4 != 4 || length < sizeof(Ipv4Header) || is_fragment(ip)) return std::nullopt;
  if (ip.protocol == kProtocolIcmp && length <= ip.total_length.get() &&
      ip.total_length.get() <= bytes.size())
    return flow_of(parse_icmp_error(bytes.first(ip.total_length.get()).subspan(length),
                                    IpAddress::v4(ip.destination.get())));
  if (ip.protocol != kProtocolTcp || bytes.size() < length + sizeof(TcpHeader) ||
      ip.total_length.get() < length + sizeof(TcpHeader))
    return std::nullopt;
  const auto tcp = read<TcpHeader>(bytes.subspan(length));
  return FlowKey{IpAddress::v4(ip.destination.get()), IpAddress::v4(ip.source.get()),
                 PortNumber(tcp.destination_port.get()), PortNumber(tcp.source_port.get())};
}

std::optional<FlowKey> peek_ipv6(Bytes bytes) {
  if (bytes.size() < sizeof(Ipv6Header)) return std::nullopt;
  const auto ip = read<Ipv6Header>(bytes);
  const Bytes payload =
      bytes.subspan(sizeof ip, std::min<size_t>(bytes.size() - sizeof ip, ip.payload_length.get()));
  if (ip.version() != 6) return std::nullopt;
  const auto walked = skip_extension_headers(payload, ip.next_header);
  const auto* upper = std::get_if<UpperLayer>(&walked);
  if (upper != nullptr && upper->protocol == kProtocolIcmpv6)
    return flow_of(parse_icmpv6_error(payload.subspan(upper->offset), IpAddress(ip.destination)));
  if (upper == nullptr || upper->protocol != kProtocolTcp ||
      payload.size() < upper->offset + sizeof(TcpHeader))
    return std::nullopt;
  const auto tcp = read<TcpHeader>(payload.subspan(upper->offset));
  return FlowKey{IpAddress(ip.destination), IpAddress(ip.source), PortNumber(tcp.destination_port.get()),
                 PortNumber(tcp.source_port.get())};
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
      return parse_ipv4(rest);
    case kEtherTypeIpv6:
      return parse_ipv6(rest);
    case kEtherTypeArp:
      return parse_arp_frame(rest);
    case kEtherTypeCluster:
      return ClusterFrame();
    default:
      return DropReason::ethernet_type_unknown;
  }
}

std::optional<FlowKey> peek_flow(const rte_mbuf* frame) {
  const Bytes bytes = bytes_of(frame);
  if (bytes.size() < sizeof(EthernetHeader)) return std::nullopt;
  const Bytes rest = bytes.subspan(sizeof(EthernetHeader));
  switch (read<EthernetHeader>(bytes).type.get()) {
    case kEtherTypeIpv4:
      return peek_ipv4(rest);
    case kEtherTypeIpv6:
      return peek_ipv6(rest);
    default:
      return std::nullopt;
  }
}

IpAddress source_of_packet(const rte_mbuf* frame) {
  const Bytes packet = bytes_of(frame).subspan(sizeof(EthernetHeader));
  return ether_type_of_packet(frame) == kEtherTypeIpv4 ? IpAddress::v4(read<Ipv4Header>(packet).source.get())
                                                       : IpAddress(read<Ipv6Header>(packet).source);
}

// A message behind extension headers is not recognised: it reaches one worker only, and nobody sends it so.
bool is_resolution(const rte_mbuf* frame) {
  const Bytes bytes = bytes_of(frame);
  if (bytes.size() < sizeof(EthernetHeader)) return false;
  const uint16_t type = read<EthernetHeader>(bytes).type.get();
  if (type == kEtherTypeArp) return true;
  const Bytes rest = bytes.subspan(sizeof(EthernetHeader));
  if (type != kEtherTypeIpv6 || rest.size() <= sizeof(Ipv6Header)) return false;
  const uint8_t message = rest[sizeof(Ipv6Header)];
  return read<Ipv6Header>(rest).next_header == kProtocolIcmpv6 && message >= kRouterSolicitation &&
         message <= kRedirect;
}

}  // namespace understudy::wire
