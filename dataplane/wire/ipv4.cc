#include "dataplane/wire/ipv4.h"

#include "common/check.h"
#include "dataplane/wire/checksum.h"

namespace understudy::wire {
// The identification stays 0: a datagram with DF is never reassembled (RFC 6864 section 4.1).
void build_ipv4_header(Ipv4Header& header, const IpAddress& source, const IpAddress& destination,
                       uint8_t protocol, uint16_t payload_length, uint8_t type_of_service,
                       uint8_t time_to_live) {
  invariant(payload_length <= UINT16_MAX - sizeof(Ipv4Header), "ipv4: payload longer than a datagram");
  header = Ipv4Header();
  header.version_and_length = 0x45;
  header.type_of_service = type_of_service;
  header.total_length.set(static_cast<uint16_t>(sizeof(Ipv4Header) + payload_length));
  header.flags_and_offset.set(kIpv4DontFragment);
  header.time_to_live = time_to_live;
  header.protocol = protocol;
  header.source.set(source.v4_host_order());
  header.destination.set(destination.v4_host_order());
  std::array<uint8_t, sizeof(Ipv4Header)> bytes;
  std::memcpy(bytes.data(), &header, sizeof header);
  header.checksum.set(checksum_finish(checksum_add(0, bytes)));
}

}  // namespace understudy::wire
