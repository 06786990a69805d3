#include "dataplane/wire/arp.h"

#include "common/check.h"

namespace understudy::wire {
namespace {

constexpr uint16_t kHardwareEthernet = 1;

// RFC 826, as Ethernet and IPv4 fill it.
struct ArpBody {
  be16_t hardware;
  be16_t protocol;
  uint8_t hardware_length;
  uint8_t protocol_length;
  be16_t operation;
  std::array<uint8_t, 6> sender_mac;
  be32_t sender_ip;
  std::array<uint8_t, 6> target_mac;
  be32_t target_ip;
};
static_assert(sizeof(ArpBody) == kArpPacketBytes);

}  // namespace

std::optional<ArpPacket> parse_arp(std::span<const uint8_t> bytes) {
  if (bytes.size() < kArpPacketBytes) return std::nullopt;
  ArpBody body;
  std::memcpy(&body, bytes.data(), sizeof body);
  const uint16_t operation = body.operation.get();
  if (body.hardware.get() != kHardwareEthernet || body.protocol.get() != kEtherTypeIpv4 ||
      body.hardware_length != 6 || body.protocol_length != 4 || (operation != 1 && operation != 2))
    return std::nullopt;
  ArpPacket packet;
  packet.operation = static_cast<ArpPacket::Operation>(operation);
  packet.sender_mac = MacAddress(body.sender_mac);
  packet.sender_ip = IpAddress::v4(body.sender_ip.get());
  packet.target_mac = MacAddress(body.target_mac);
  packet.target_ip = IpAddress::v4(body.target_ip.get());
  return packet;
}

void build_arp_frame(std::span<uint8_t> frame, const MacAddress& destination, const MacAddress& source,
                     const ArpPacket& packet) {
  invariant(frame.size() >= kArpFrameBytes, "arp: the buffer for a frame is shorter than one");
  const EthernetHeader ethernet{destination.bytes(), source.bytes(), kEtherTypeArp};
  const ArpBody body{kHardwareEthernet,
                     kEtherTypeIpv4,
                     6,
                     4,
                     static_cast<uint16_t>(packet.operation),
                     packet.sender_mac.bytes(),
                     packet.sender_ip.v4_host_order(),
                     packet.target_mac.bytes(),
                     packet.target_ip.v4_host_order()};
  std::memcpy(frame.data(), &ethernet, sizeof ethernet);
  std::memcpy(frame.data() + sizeof ethernet, &body, sizeof body);
}

}  // namespace understudy::wire
