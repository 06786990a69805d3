#pragma once

#include <optional>
#include <span>

#include "common/address.h"
#include "dataplane/wire/ethernet.h"
#include "dataplane/wire/ipv6.h"

namespace understudy::wire {

constexpr uint8_t kRouterSolicitation = 133;
constexpr uint8_t kRouterAdvertisement = 134;
constexpr uint8_t kNeighbourSolicitation = 135;
constexpr uint8_t kNeighbourAdvertisement = 136;
constexpr uint8_t kRedirect = 137;

// A neighbour solicitation or advertisement (RFC 4861 sections 4.3 and 4.4) with the addresses of its packet.
struct NeighbourMessage {
  enum class Kind : uint8_t {
    solicitation = kNeighbourSolicitation,
    advertisement = kNeighbourAdvertisement
  };
  Kind kind = Kind::solicitation;
  IpAddress source;  // unspecified in the probes of duplicate address detection (RFC 4862 section 5.4)
  IpAddress destination;
  IpAddress target;
  std::optional<MacAddress> link_address;  // of the source in a solicitation, of the target otherwise
  bool solicited = false;                  // advertisements only
  bool overrides = false;
};

// Ethernet, IPv6, the message, and one option with a link-layer address.
constexpr size_t kNeighbourMessageBytes = 24;
constexpr size_t kNeighbourFrameBytes =
    sizeof(EthernetHeader) + sizeof(Ipv6Header) + kNeighbourMessageBytes + 8;

// `message` is a whole ICMPv6 message of type 135 or 136 whose checksum and hop limit are good. Nothing when
// it fails one of the other tests of RFC 4861 sections 7.1.1 and 7.1.2.
std::optional<NeighbourMessage> parse_neighbour_message(std::span<const uint8_t> message,
                                                        const IpAddress& source,
                                                        const IpAddress& destination);

// Writes a whole frame of kNeighbourFrameBytes, which `frame` holds; link_address must be there.
void build_neighbour_frame(std::span<uint8_t> frame, const MacAddress& destination, const MacAddress& source,
                           const NeighbourMessage& message);

}  // namespace understudy::wire
