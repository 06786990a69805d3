#include "dataplane/wire/icmp_error.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wire/icmp.h"
#include "dataplane/wire/ipv4.h"
#include "dataplane/wire/ipv6.h"

namespace understudy::wire {
namespace {

using Bytes = std::span<const uint8_t>;
using Outcome = std::variant<DropReason, IcmpError>;

constexpr size_t kHeaderBytes = 8;     // type, code, checksum, and four that depend on the type
constexpr size_t kQuotedTcpBytes = 8;  // ports and sequence number: all that RFC 792 promises

uint16_t word_at(Bytes bytes, size_t at) {
  return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

uint32_t long_at(Bytes bytes, size_t at) {
  return uint32_t{word_at(bytes, at)} << 16 | word_at(bytes, at + 2);
}

// `tcp` is what stands behind the quoted IP header, perhaps cut off.
Outcome read_quoted_tcp(IcmpError error, Bytes tcp, const IpAddress& source, const IpAddress& target,
                        const IpAddress& destination) {
  if (tcp.size() < kQuotedTcpBytes) return DropReason::icmp_error_malformed;
  // An error goes to who sent the packet (RFC 1122 section 3.2.2).
  if (source != destination) return DropReason::icmp_error_malformed;
  error.flow = {source, target, PortNumber(word_at(tcp, 0)), PortNumber(word_at(tcp, 2))};
  error.seq = Seq(long_at(tcp, 4));
  return error;
}

// The quoted header's checksum is not looked at: routers quote what they have made of it.
Outcome read_quoted_ipv4(IcmpError error, Bytes quoted, const IpAddress& destination) {
  Ipv4Header ip;
  if (quoted.size() < sizeof ip) return DropReason::icmp_error_malformed;
  std::memcpy(&ip, quoted.data(), sizeof ip);
  const size_t length = size_t{4} * (ip.version_and_length & 0x0f);
  if (ip.version_and_length >> 4 != 4 || length < sizeof ip || length > quoted.size())
    return DropReason::icmp_error_malformed;
  if (ip.protocol != kProtocolTcp) return DropReason::icmp_ignored;
  constexpr uint16_t kOffset = 0x1fff;
  if ((ip.flags_and_offset.get() & kOffset) != 0) return DropReason::icmp_error_malformed;
  error.quoted_length = ip.total_length.get();
  return read_quoted_tcp(error, quoted.subspan(length), IpAddress::v4(ip.source.get()),
                         IpAddress::v4(ip.destination.get()), destination);
}

Outcome read_quoted_ipv6(IcmpError error, Bytes quoted, const IpAddress& destination) {
  Ipv6Header ip;
  if (quoted.size() < sizeof ip) return DropReason::icmp_error_malformed;
  std::memcpy(&ip, quoted.data(), sizeof ip);
  if (ip.version() != 6) return DropReason::icmp_error_malformed;
  const Bytes rest = quoted.subspan(sizeof ip);
  const auto walked = skip_extension_headers(rest, ip.next_header);
  const auto* upper = std::get_if<UpperLayer>(&walked);
  if (upper == nullptr) return DropReason::icmp_error_malformed;
  if (upper->protocol != kProtocolTcp) return DropReason::icmp_ignored;
  error.quoted_length = static_cast<uint32_t>(sizeof ip) + ip.payload_length.get();
  return read_quoted_tcp(error, rest.subspan(upper->offset), IpAddress(ip.source), IpAddress(ip.destination),
                         destination);
}

// RFC 9293 section 3.9.2.2 and RFC 1122 section 3.2.2.1, with the codes that RFC 1812 added.
IcmpError::Kind kind_of_unreachable(uint8_t code) {
  constexpr uint8_t kHard[] = {2, 3, 9, 10, 13};  // protocol, port, administratively prohibited
  return std::ranges::find(kHard, code) != std::end(kHard) ? IcmpError::Kind::hard : IcmpError::Kind::soft;
}

// RFC 4443 section 3.1.
IcmpError::Kind kind_of_unreachable_v6(uint8_t code) {
  constexpr uint8_t kHard[] = {1, 4, 5, 6};  // prohibited, port, policy, reject route
  return std::ranges::find(kHard, code) != std::end(kHard) ? IcmpError::Kind::hard : IcmpError::Kind::soft;
}

}  // namespace

Outcome parse_icmp_error(Bytes message, const IpAddress& destination) {
  if (message.size() < kHeaderBytes) return DropReason::icmp_malformed;
  IcmpError error;
  switch (message[0]) {
    case kIcmpUnreachable:
      if (message[1] == kIcmpFragmentationNeeded) {
        error.kind = IcmpError::Kind::packet_too_big;
        error.mtu = word_at(message, 6);
      } else {
        error.kind = kind_of_unreachable(message[1]);
      }
      break;
    case kIcmpSourceQuench:  // RFC 6633; RFC 9293, MUST-55
      return DropReason::icmp_source_quench;
    case kIcmpTimeExceeded:
    case kIcmpParameterProblem:
      break;
    default:
      return DropReason::icmp_ignored;
  }
  return read_quoted_ipv4(error, message.subspan(kHeaderBytes), destination);
}

Outcome parse_icmpv6_error(Bytes message, const IpAddress& destination) {
  if (message.size() < kHeaderBytes) return DropReason::icmp_malformed;
  IcmpError error;
  switch (message[0]) {
    case kIcmpv6PacketTooBig:
      error.kind = IcmpError::Kind::packet_too_big;
      error.mtu = long_at(message, 4);
      break;
    case kIcmpv6Unreachable:
      error.kind = kind_of_unreachable_v6(message[1]);
      break;
    case kIcmpv6TimeExceeded:
    case kIcmpv6ParameterProblem:
      break;
    default:
      return DropReason::icmp_ignored;
  }
  return read_quoted_ipv6(error, message.subspan(kHeaderBytes), destination);
}

}  // namespace understudy::wire
