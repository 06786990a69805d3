#pragma once

#include <span>

#include "common/address.h"
#include "common/byte_order.h"

namespace understudy::wire {

// RFC 792 and RFC 4443 echo.
struct IcmpEcho {
  uint8_t type;
  uint8_t code;
  be16_t checksum;
  be16_t identifier;
  be16_t sequence;
};
static_assert(sizeof(IcmpEcho) == 8);
constexpr uint8_t kIcmpEchoReply = 0;
constexpr uint8_t kIcmpEchoRequest = 8;
constexpr uint8_t kIcmpv6EchoRequest = 128;
constexpr uint8_t kIcmpv6EchoReply = 129;

// `message` is a whole ICMP message. True if it is a well-formed echo request with a good checksum.
bool is_icmp_echo_request(std::span<const uint8_t> message);
// Turns such a request into its reply in place, checksum included.
void turn_into_echo_reply(std::span<uint8_t> message);
// The same for ICMPv6, whose checksum covers the addresses of the reply.
void turn_into_echo_reply(std::span<uint8_t> message, const IpAddress& source, const IpAddress& destination);

}  // namespace understudy::wire
