#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/wire/frame.h"
#include "dataplane/wire/ipv4.h"

namespace understudy {

// Frames for tests, written byte by byte and not with the builders under test, except where one is named.

constexpr MacAddress kSampleMacA({0x02, 0, 0, 0, 0, 0x0a});
constexpr MacAddress kSampleMacB({0x02, 0, 0, 0, 0, 0x0b});
constexpr IpAddress kSampleIpA = IpAddress::v4(0x0a0a0064);  // 10.10.0.100
constexpr IpAddress kSampleIpB = IpAddress::v4(0x0a0a000a);  // 10.10.0.10

// An Ethernet frame from A to B around an IPv4 packet with the given payload; IP checksum right.
// `options` is IPv4 options, a multiple of four bytes.
std::vector<uint8_t> sample_ipv4_frame(uint8_t protocol, std::span<const uint8_t> payload,
                                       std::span<const uint8_t> options = {});

// Port 40000 to 80, SEQ 1000, ACK 2000, ACK|PSH, window 500; checksums right.
std::vector<uint8_t> sample_tcp_frame(std::span<const uint8_t> tcp_options, std::span<const uint8_t> payload,
                                      std::span<const uint8_t> ip_options = {});

std::vector<uint8_t> sample_icmp_frame(uint8_t type, uint8_t code, std::span<const uint8_t> data);

std::vector<uint8_t> sample_arp_frame();

// Writes both checksums of an IPv4 frame anew after a test has changed its headers. TCP and ICMP.
void mend_checksums(std::vector<uint8_t>& frame);

// The checksum of RFC 1071 in its plainest form: 16-bit big-endian words, one after the other.
uint16_t naive_checksum(std::span<const uint8_t> bytes);

}  // namespace understudy
