#include "dataplane/wire/neighbour_discovery.h"

#include <cstring>

#include "common/check.h"
#include "dataplane/wire/checksum.h"

namespace understudy::wire {
namespace {

using Bytes = std::span<const uint8_t>;
using Kind = NeighbourMessage::Kind;

struct Body {
  uint8_t type;
  uint8_t code;
  be16_t checksum;
  be32_t flags;  // advertisements: router, solicited, override in the highest bits
  std::array<uint8_t, 16> target;
};
static_assert(sizeof(Body) == kNeighbourMessageBytes);

struct LinkAddressOption {
  uint8_t type;
  uint8_t length;  // in units of 8 bytes
  std::array<uint8_t, 6> address;
};
static_assert(sizeof(LinkAddressOption) == 8);

constexpr uint32_t kSolicited = 1U << 30;
constexpr uint32_t kOverride = 1U << 29;

// Source link-layer address in solicitations, target link-layer address in advertisements.
uint8_t option_type(Kind kind) {
  return kind == Kind::solicitation ? 1 : 2;
}

// False for an option of length zero or past the end; unknown ones are skipped.
bool read_options(Bytes options, NeighbourMessage& message) {
  while (!options.empty()) {
    if (options.size() < 2) return false;
    const size_t length = size_t{8} * options[1];
    if (length == 0 || length > options.size()) return false;
    if (options[0] == option_type(message.kind) && length == sizeof(LinkAddressOption)) {
      LinkAddressOption option;
      std::memcpy(&option, options.data(), sizeof option);
      message.link_address = MacAddress(option.address);
    }
    options = options.subspan(length);
  }
  return true;
}

}  // namespace

std::optional<NeighbourMessage> parse_neighbour_message(Bytes bytes, const IpAddress& source,
                                                        const IpAddress& destination) {
  if (bytes.size() < sizeof(Body)) return std::nullopt;
  Body body;
  std::memcpy(&body, bytes.data(), sizeof body);
  NeighbourMessage message;
  message.kind = static_cast<Kind>(body.type);
  message.source = source;
  message.destination = destination;
  message.target = IpAddress(body.target);
  if (body.code != 0 || message.target.is_multicast() || message.target.is_v4()) return std::nullopt;
  if (!read_options(bytes.subspan(sizeof body), message)) return std::nullopt;
  if (message.kind == Kind::advertisement) {
    message.solicited = (body.flags.get() & kSolicited) != 0;
    message.overrides = (body.flags.get() & kOverride) != 0;
    if (source.is_unspecified() || (destination.is_multicast() && message.solicited)) return std::nullopt;
  } else if (source.is_unspecified() &&
             (message.link_address || destination != solicited_node_multicast(message.target))) {
    return std::nullopt;
  }
  return message;
}

void build_neighbour_frame(std::span<uint8_t> frame, const MacAddress& destination, const MacAddress& source,
                           const NeighbourMessage& message) {
  invariant(frame.size() >= kNeighbourFrameBytes && message.link_address,
            "neighbour discovery: no room for a frame, or no address to tell");
  const EthernetHeader ethernet{destination.bytes(), source.bytes(), kEtherTypeIpv6};
  Ipv6Header ip;
  constexpr uint16_t kLength = sizeof(Body) + sizeof(LinkAddressOption);
  constexpr uint8_t kHopLimit = 255;  // proof that no router has forwarded it
  build_ipv6_header(ip, message.source, message.destination, kProtocolIcmpv6, kLength, 0, kHopLimit);
  Body body{};
  body.type = static_cast<uint8_t>(message.kind);
  body.flags.set((message.solicited ? kSolicited : 0) | (message.overrides ? kOverride : 0));
  body.target = message.target.bytes();
  const LinkAddressOption option{option_type(message.kind), 1, message.link_address->bytes()};

  uint8_t* at = frame.data();
  std::memcpy(at, &ethernet, sizeof ethernet);
  std::memcpy(at += sizeof ethernet, &ip, sizeof ip);
  uint8_t* const icmp = at + sizeof ip;
  std::memcpy(icmp, &body, sizeof body);
  std::memcpy(icmp + sizeof body, &option, sizeof option);
  const uint64_t pseudo =
      checksum_pseudo_header(message.source, message.destination, kProtocolIcmpv6, kLength);
  body.checksum.set(checksum_finish(checksum_add(pseudo, {icmp, kLength})));
  std::memcpy(icmp, &body, sizeof body);
}

}  // namespace understudy::wire
