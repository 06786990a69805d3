#pragma once

#include "common/address.h"
#include "common/byte_order.h"

namespace understudy::wire {

constexpr uint16_t kEtherTypeIpv4 = 0x0800;
constexpr uint16_t kEtherTypeArp = 0x0806;
constexpr uint16_t kEtherTypeIpv6 = 0x86dd;
constexpr uint16_t kEtherTypeVlan = 0x8100;         // IEEE 802.1Q: a VlanTag follows
constexpr uint16_t kEtherTypeServiceVlan = 0x88a8;  // the outer of two tags
constexpr uint16_t kEtherTypeCluster = 0x88b5;      // IEEE 802 local experimental 1: everything between nodes

// Layout on the wire; copied out of and into frames with memcpy or overlaid (alignment 1).
struct EthernetHeader {
  std::array<uint8_t, 6> destination;
  std::array<uint8_t, 6> source;
  be16_t type;
};
static_assert(sizeof(EthernetHeader) == 14);

struct VlanTag {
  be16_t control;  // priority (3), drop eligible (1), identifier (12)
  be16_t type;     // of what follows
};
static_assert(sizeof(VlanTag) == 4);

// Where cluster frames of all nodes go on every network: a locally administered multicast address.
constexpr MacAddress kClusterMulticast({0x03, 0x55, 0x53, 0x00, 0x00, 0x01});

}  // namespace understudy::wire
