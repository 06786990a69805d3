#pragma once

#include <span>

#include "common/address.h"
#include "common/byte_order.h"

namespace understudy::wire {

constexpr uint8_t kProtocolIcmp = 1;
constexpr uint8_t kProtocolTcp = 6;

// RFC 791 without options.
struct Ipv4Header {
  uint8_t version_and_length;  // 0x45
  uint8_t type_of_service;     // DSCP and ECN (RFC 2474, RFC 3168)
  be16_t total_length;
  be16_t identification;
  be16_t flags_and_offset;
  uint8_t time_to_live;
  uint8_t protocol;
  be16_t checksum;
  be32_t source;
  be32_t destination;
};
static_assert(sizeof(Ipv4Header) == 20);
constexpr uint16_t kIpv4DontFragment = 0x4000;

// Writes a header with checksum. `payload_length` excludes the header. DF is set: this node never wants
// fragments.
void build_ipv4_header(Ipv4Header& header, const IpAddress& source, const IpAddress& destination,
                       uint8_t protocol, uint16_t payload_length, uint8_t type_of_service = 0,
                       uint8_t time_to_live = 64);

}  // namespace understudy::wire
