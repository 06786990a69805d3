#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/address.h"

namespace understudy {

// The IP packet with which `from` tells the sender of `packet` (from its IP header on) that something is
// wrong with it: ICMP or ICMPv6, as the packet's family is. `mtu` goes where packet-too-big messages have it.
// Quotes at most `quoted` bytes.
std::vector<uint8_t> icmp_error_about(std::span<const uint8_t> packet, const IpAddress& from, uint8_t type,
                                      uint8_t code, uint32_t mtu = 0, size_t quoted = 548);

}  // namespace understudy
