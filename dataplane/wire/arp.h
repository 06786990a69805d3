#pragma once

#include <optional>
#include <span>

#include "common/address.h"
#include "common/byte_order.h"
#include "dataplane/wire/ethernet.h"

namespace understudy::wire {

// RFC 826 for Ethernet and IPv4.
struct ArpPacket {
  enum class Operation : uint16_t { request = 1, reply = 2 };
  Operation operation = Operation::request;
  MacAddress sender_mac;
  IpAddress sender_ip;
  MacAddress target_mac;
  IpAddress target_ip;
};

constexpr size_t kArpPacketBytes = 28;
constexpr size_t kArpFrameBytes = sizeof(EthernetHeader) + kArpPacketBytes;

// `bytes` begins after the Ethernet header. Nothing unless hardware, protocol, lengths and operation are
// Ethernet/IPv4's.
std::optional<ArpPacket> parse_arp(std::span<const uint8_t> bytes);

// Writes a whole frame of kArpFrameBytes to `frame`, which must be at least that long.
void build_arp_frame(std::span<uint8_t> frame, const MacAddress& destination, const MacAddress& source,
                     const ArpPacket& packet);

}  // namespace understudy::wire
