#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "common/address.h"
#include "common/sequence.h"
#include "dataplane/wire/drop_reason.h"

namespace understudy::wire {

// RFC 792.
constexpr uint8_t kIcmpUnreachable = 3;
constexpr uint8_t kIcmpSourceQuench = 4;
constexpr uint8_t kIcmpTimeExceeded = 11;
constexpr uint8_t kIcmpParameterProblem = 12;
constexpr uint8_t kIcmpFragmentationNeeded = 4;  // code of unreachable (RFC 1191 section 4)
// RFC 4443 section 3.
constexpr uint8_t kIcmpv6Unreachable = 1;
constexpr uint8_t kIcmpv6PacketTooBig = 2;
constexpr uint8_t kIcmpv6TimeExceeded = 3;
constexpr uint8_t kIcmpv6ParameterProblem = 4;

// What an ICMP or ICMPv6 error says about a TCP segment that its receiver is said to have sent. Anybody can
// write such a message: only the numbers that it quotes speak for it (RFC 5927 section 4).
struct IcmpError {
  enum class Kind : uint8_t {
    packet_too_big,
    soft,  // network or host cannot be reached at the moment, time exceeded, header parameter
    hard,  // the host or a filter refuses: protocol or port unreachable, administratively prohibited
  };
  Kind kind = Kind::soft;
  FlowKey flow;      // of the quoted segment; local is its source, which is where the message was sent to
  Seq seq;           // SEG.SEQ of the quoted segment
  uint32_t mtu = 0;  // packet_too_big: of the next hop; 0: it does not say (before RFC 1191)
  uint32_t quoted_length = 0;  // of the quoted packet with its IP header, as that header has it
};

// `message` is a whole ICMP message with a good checksum, of a type above, that was sent to `destination`.
// Types and codes that are not acted upon, source quench among them, are reasons to drop it.
std::variant<DropReason, IcmpError> parse_icmp_error(std::span<const uint8_t> message,
                                                     const IpAddress& destination);
std::variant<DropReason, IcmpError> parse_icmpv6_error(std::span<const uint8_t> message,
                                                       const IpAddress& destination);

}  // namespace understudy::wire
