#include "dataplane/wire/opening.h"

#include <cstring>
#include <span>

#include "dataplane/wire/ethernet.h"
#include "dataplane/wire/ipv4.h"
#include "dataplane/wire/ipv6.h"
#include "dataplane/wire/tcp.h"

namespace understudy::wire {
namespace {

using Bytes = std::span<const uint8_t>;

// False: shorter than that.
template <class Header>
bool read(Bytes bytes, size_t offset, Header& header) {
  if (bytes.size() < offset + sizeof header) return false;
  std::memcpy(&header, bytes.data() + offset, sizeof header);
  return true;
}

std::optional<Opening> opening_of(Bytes bytes, size_t tcp_offset, const IpAddress& from,
                                  const IpAddress& to) {
  TcpHeader tcp;
  if (!read(bytes, tcp_offset, tcp) || (tcp.flags & (kSyn | kAck | kRst)) != kSyn) return std::nullopt;
  return Opening{{to, from, PortNumber(tcp.destination_port.get()), PortNumber(tcp.source_port.get())},
                 Seq(tcp.sequence.get())};
}

std::optional<Opening> peek_ipv4(Bytes bytes) {
  constexpr uint16_t kMoreFragmentsOrOffset = 0x3fff;
  Ipv4Header ip;
  if (!read(bytes, sizeof(EthernetHeader), ip) || ip.protocol != kProtocolTcp ||
      (ip.flags_and_offset.get() & kMoreFragmentsOrOffset) != 0)
    return std::nullopt;
  const size_t length = size_t{4} * (ip.version_and_length & 0x0f);
  return opening_of(bytes, sizeof(EthernetHeader) + length, IpAddress::v4(ip.source.get()),
                    IpAddress::v4(ip.destination.get()));
}

std::optional<Opening> peek_ipv6(Bytes bytes) {
  Ipv6Header ip;
  if (!read(bytes, sizeof(EthernetHeader), ip) || ip.next_header != kProtocolTcp) return std::nullopt;
  return opening_of(bytes, sizeof(EthernetHeader) + sizeof ip, IpAddress(ip.source),
                    IpAddress(ip.destination));
}

}  // namespace

std::optional<Opening> peek_opening(const rte_mbuf* frame) {
  const Bytes bytes(rte_pktmbuf_mtod(frame, const uint8_t*), rte_pktmbuf_data_len(frame));
  EthernetHeader ethernet;
  if (!read(bytes, 0, ethernet)) return std::nullopt;
  switch (ethernet.type.get()) {
    case kEtherTypeIpv4:
      return peek_ipv4(bytes);
    case kEtherTypeIpv6:
      return peek_ipv6(bytes);
    default:
      return std::nullopt;
  }
}

}  // namespace understudy::wire
