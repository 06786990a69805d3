#include "dataplane/wire/ipv6.h"

#include <cstring>

#include "common/check.h"

namespace understudy::wire {
namespace {

using Bytes = std::span<const uint8_t>;

// More than any sender needs (RFC 8504 section 5.3 lets a receiver set limits).
constexpr int kHeadersMax = 8;

// Options of the kinds whose two highest bits are 00 may be skipped when unknown; the others ask for the
// packet to be discarded (RFC 8200 section 4.2). Pad1 is a single byte.
std::optional<DropReason> check_options(Bytes options) {
  while (!options.empty()) {
    if (options[0] == 0) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] + 2U > options.size()) return DropReason::ipv6_extension_header;
    if ((options[0] & 0xc0) != 0) return DropReason::ipv6_option_refused;
    options = options.subspan(options[1] + 2U);
  }
  return std::nullopt;
}

// What keeps a packet with this extension header from being taken. `header` is one whole header.
std::optional<DropReason> check_header(uint8_t kind, Bytes header) {
  switch (kind) {
    case kRoutingHeader:  // the fourth byte: segments left, which we are not to visit (RFC 5095)
      return header[3] == 0 ? std::nullopt : std::optional(DropReason::ipv6_option_refused);
    case kFragmentHeader: {
      Ipv6FragmentHeader fragment;
      std::memcpy(&fragment, header.data(), sizeof fragment);
      const bool is_whole = fragment.offset() == 0 && !fragment.more();
      return is_whole ? std::nullopt : std::optional(DropReason::ip_fragment);
    }
    default:
      return check_options(header.subspan(2));
  }
}

}  // namespace

std::variant<DropReason, UpperLayer> skip_extension_headers(Bytes bytes, uint8_t next_header) {
  UpperLayer upper{next_header, 0};
  for (int headers = 0;; ++headers) {
    switch (upper.protocol) {
      case kHopByHopOptions:
        if (headers > 0) return DropReason::ipv6_extension_header;  // only ever the first
        break;
      case kRoutingHeader:
      case kFragmentHeader:
      case kDestinationOptions:
        break;
      default:
        return upper;
    }
    if (headers == kHeadersMax) return DropReason::ipv6_extension_header;
    const Bytes rest = bytes.subspan(upper.offset);
    if (rest.size() < 8) return DropReason::ipv6_extension_header;
    // The second byte counts units of 8 beyond the first; a fragment header has none.
    const size_t length = upper.protocol == kFragmentHeader ? 8 : 8 + size_t{8} * rest[1];
    if (length > rest.size()) return DropReason::ipv6_extension_header;
    if (const auto reason = check_header(upper.protocol, rest.first(length))) return *reason;
    upper.protocol = rest[0];
    upper.offset += length;
  }
}

void build_ipv6_header(Ipv6Header& header, const IpAddress& source, const IpAddress& destination,
                       uint8_t protocol, uint16_t payload_length, uint8_t traffic_class, uint8_t hop_limit) {
  invariant(!source.is_v4() && !destination.is_v4(), "ipv6: a packet with an IPv4 address");
  header.version_class_flow.set(uint32_t{6} << 28 | uint32_t{traffic_class} << 20);
  header.payload_length.set(payload_length);
  header.next_header = protocol;
  header.hop_limit = hop_limit;
  header.source = source.bytes();
  header.destination = destination.bytes();
}

IpAddress solicited_node_multicast(const IpAddress& address) {
  const auto& b = address.bytes();
  return IpAddress({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, b[13], b[14], b[15]});
}

MacAddress multicast_mac(const IpAddress& group) {
  const auto& b = group.bytes();
  return MacAddress({0x33, 0x33, b[12], b[13], b[14], b[15]});
}

}  // namespace understudy::wire
