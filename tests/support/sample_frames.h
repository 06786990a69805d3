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

const IpAddress kSampleIp6A = *IpAddress::parse("fd00:10::100");
const IpAddress kSampleIp6B = *IpAddress::parse("fd00:10::10");

// An Ethernet frame from A to B around an IPv4 packet with the given payload; IP checksum right.
// `options` is IPv4 options, a multiple of four bytes.
std::vector<uint8_t> sample_ipv4_frame(uint8_t protocol, std::span<const uint8_t> payload,
                                       std::span<const uint8_t> options = {});

// Port 40000 to 80, SEQ 1000, ACK 2000, ACK|PSH, window 500; checksums right.
std::vector<uint8_t> sample_tcp_frame(std::span<const uint8_t> tcp_options, std::span<const uint8_t> payload,
                                      std::span<const uint8_t> ip_options = {});

std::vector<uint8_t> sample_icmp_frame(uint8_t type, uint8_t code, std::span<const uint8_t> data);

std::vector<uint8_t> sample_arp_frame();

// The same for IPv6: `extensions` are whole extension headers, the first of kind `next_header`; the last one
// names TCP. Traffic class 2, hop limit 64.
std::vector<uint8_t> sample_ipv6_frame(uint8_t next_header, std::span<const uint8_t> payload);
std::vector<uint8_t> sample_tcp6_frame(std::span<const uint8_t> tcp_options, std::span<const uint8_t> payload,
                                       std::span<const uint8_t> extensions = {}, uint8_t next_header = 6);
// An ICMPv6 message with hop limit 255; `data` follows type, code and checksum.
std::vector<uint8_t> sample_icmpv6_frame(uint8_t type, uint8_t code, std::span<const uint8_t> data,
                                         const IpAddress& source = kSampleIp6A,
                                         const IpAddress& destination = kSampleIp6B);
// Writes the checksum of what begins `offset` bytes behind the IPv6 header and is of that protocol.
void mend_ipv6_checksum(std::vector<uint8_t>& frame, uint8_t protocol, size_t offset = 0);

// Writes both checksums of an IPv4 frame anew after a test has changed its headers. TCP and ICMP.
void mend_checksums(std::vector<uint8_t>& frame);

// The checksum of RFC 1071 in its plainest form: 16-bit big-endian words, one after the other.
uint16_t naive_checksum(std::span<const uint8_t> bytes);

}  // namespace understudy
