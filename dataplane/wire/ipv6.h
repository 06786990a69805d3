#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <variant>

#include "common/address.h"
#include "common/byte_order.h"
#include "dataplane/wire/drop_reason.h"

namespace understudy::wire {

// Numbers of the registry that IPv4 protocols share.
constexpr uint8_t kHopByHopOptions = 0;
constexpr uint8_t kRoutingHeader = 43;
constexpr uint8_t kFragmentHeader = 44;
constexpr uint8_t kDestinationOptions = 60;
constexpr uint8_t kProtocolIcmpv6 = 58;

// RFC 8200 section 3.
struct Ipv6Header {
  be32_t version_class_flow;  // 4 bits 6, 8 bits traffic class, 20 bits flow label
  be16_t payload_length;      // of all that follows this header
  uint8_t next_header;
  uint8_t hop_limit;
  std::array<uint8_t, 16> source;
  std::array<uint8_t, 16> destination;

  uint8_t version() const { return static_cast<uint8_t>(version_class_flow.get() >> 28); }
  uint8_t traffic_class() const { return static_cast<uint8_t>(version_class_flow.get() >> 20); }
};
static_assert(sizeof(Ipv6Header) == 40);

// RFC 8200 section 4.5.
struct Ipv6FragmentHeader {
  uint8_t next_header;
  uint8_t reserved;
  be16_t offset_and_more;  // 13 bits offset in units of 8 bytes, 2 reserved, 1 more fragments
  be32_t identification;

  size_t offset() const { return offset_and_more.get() & 0xfff8U; }  // bytes
  bool more() const { return (offset_and_more.get() & 1) != 0; }
};
static_assert(sizeof(Ipv6FragmentHeader) == 8);

// What lies behind the extension headers.
struct UpperLayer {
  uint8_t protocol = 0;  // whatever the last header names; may be one that nobody here handles
  size_t offset = 0;     // of its first byte in the bytes that were walked
};

// Walks the extension headers in `bytes`, which follow the IPv6 header, from the kind `next_header` on (RFC
// 8200 section 4). Hop-by-hop and destination options are skipped unless one asks to be refused when unknown;
// so are routing headers with no segments left, and fragment headers of packets that are whole (RFC 6946).
std::variant<DropReason, UpperLayer> skip_extension_headers(std::span<const uint8_t> bytes,
                                                            uint8_t next_header);

// `payload_length` excludes the header. Flow label 0, hop limit 64 unless given.
void build_ipv6_header(Ipv6Header& header, const IpAddress& source, const IpAddress& destination,
                       uint8_t protocol, uint16_t payload_length, uint8_t traffic_class = 0,
                       uint8_t hop_limit = 64);

// ff02::1, and ff02::1:ffXX:XXXX with the last 24 bits of the address (RFC 4291 section 2.7.1).
constexpr IpAddress kAllNodes({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
IpAddress solicited_node_multicast(const IpAddress& address);
// 33:33 and the last 32 bits of a multicast address (RFC 2464 section 7).
MacAddress multicast_mac(const IpAddress& group);

}  // namespace understudy::wire
