#include "tests/support/icmp_message.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/icmp_error.h"
#include "dataplane/wire/ipv4.h"
#include "dataplane/wire/ipv6.h"

namespace understudy {
namespace {

template <class Header>
std::vector<uint8_t> joined(const Header& ip, const std::vector<uint8_t>& message) {
  std::vector<uint8_t> packet(sizeof ip + message.size());
  std::memcpy(packet.data(), &ip, sizeof ip);
  std::memcpy(packet.data() + sizeof ip, message.data(), message.size());
  return packet;
}

void put_checksum(std::vector<uint8_t>& message, uint64_t sum) {
  be16_t checksum;
  checksum.set(wire::checksum_finish(wire::checksum_add(sum, message)));
  std::memcpy(message.data() + 2, &checksum, sizeof checksum);
}

}  // namespace

std::vector<uint8_t> icmp_error_about(std::span<const uint8_t> packet, const IpAddress& from, uint8_t type,
                                      uint8_t code, uint32_t mtu, size_t quoted) {
  invariant(packet.size() >= sizeof(wire::Ipv4Header), "icmp: nothing to quote");
  const bool is_v4 = packet[0] >> 4 == 4;
  std::vector<uint8_t> message(8);
  message[0] = type;
  message[1] = code;
  be32_t value;
  value.set(mtu);  // IPv4 has 16 bits of it, in the same place
  std::memcpy(message.data() + 4, &value, sizeof value);
  message.insert(message.end(), packet.begin(),
                 packet.begin() + static_cast<ptrdiff_t>(std::min(quoted, packet.size())));
  const auto length = static_cast<uint16_t>(message.size());
  if (is_v4) {
    put_checksum(message, 0);
    wire::Ipv4Header quoted_ip, ip;
    std::memcpy(&quoted_ip, packet.data(), sizeof quoted_ip);
    wire::build_ipv4_header(ip, from, IpAddress::v4(quoted_ip.source.get()), wire::kProtocolIcmp, length);
    return joined(ip, message);
  }
  wire::Ipv6Header quoted_ip, ip;
  invariant(packet.size() >= sizeof quoted_ip, "icmp: nothing to quote");
  std::memcpy(&quoted_ip, packet.data(), sizeof quoted_ip);
  const IpAddress to(quoted_ip.source);
  put_checksum(message, wire::checksum_pseudo_header(from, to, wire::kProtocolIcmpv6, length));
  wire::build_ipv6_header(ip, from, to, wire::kProtocolIcmpv6, length);
  return joined(ip, message);
}

}  // namespace understudy
