#include "dataplane/wire/ipv4.h"

#include "common/check.h"
#include "dataplane/wire/checksum.h"

namespace understudy::wire {

// The checksum is taken of the values, not of the bytes: to read a word that was written as halves a moment
// ago, a processor waits until they have reached its cache.
void build_ipv4_header(Ipv4Header& header, const IpAddress& source, const IpAddress& destination,
                       uint8_t protocol, uint16_t payload_length, uint8_t type_of_service,
                       uint8_t time_to_live) {
  invariant(payload_length <= UINT16_MAX - sizeof(Ipv4Header), "ipv4: payload longer than a datagram");
  constexpr uint8_t kVersionAndLength = 0x45;
  const auto total_length = static_cast<uint16_t>(sizeof(Ipv4Header) + payload_length);
  const uint32_t from = source.v4_host_order();
  const uint32_t to = destination.v4_host_order();
  uint64_t sum = (kVersionAndLength << 8) + type_of_service;
  sum += total_length;
  sum += kIpv4DontFragment;
  sum += (time_to_live << 8) + protocol;
  sum += uint64_t{from} + to;

  header.version_and_length = kVersionAndLength;
  header.type_of_service = type_of_service;
  header.total_length.set(total_length);
  header.identification.set(0);  // a datagram with DF is never reassembled (RFC 6864 section 4.1)
  header.flags_and_offset.set(kIpv4DontFragment);
  header.time_to_live = time_to_live;
  header.protocol = protocol;
  header.checksum.set(checksum_finish_host_order(sum));
  header.source.set(from);
  header.destination.set(to);
}

}  // namespace understudy::wire
