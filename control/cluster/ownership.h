#pragma once

#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "common/strong.h"
#include "control/config/config.h"
#include "dataplane/mirror/heartbeat.h"

namespace understudy::cluster {

// What a node's mirror of a group is worth: as standby, of the legs it holds; as owner, of its standby.
enum class Readiness : uint8_t { none, syncing, synced, stale };

std::string_view name_of(Readiness readiness);
std::string_view name_of(mirror::GroupRole role);
std::string_view name_of(config::ApplicationKind application);

// An address that belongs to a group, and the MAC that answers for it.
struct OwnedAddress {
  Prefix address;
  MacAddress mac;
  bool source = false;  // for legs to backends, not a virtual IP
  friend auto operator<=>(const OwnedAddress&, const OwnedAddress&) = default;
};

struct OwnedPorts {
  PortNumber first, last;
  config::ApplicationKind application = config::ApplicationKind::echo;
  friend auto operator<=>(const OwnedPorts&, const OwnedPorts&) = default;
};

constexpr uint8_t kProtocolTcp = 6;

// What one node says of one group. Only an owner names addresses and ports: they are what it answers for.
struct GroupOwnership {
  GroupId group;
  mirror::GroupRole role = mirror::GroupRole::idle;
  Epoch epoch;  // as in GroupBeat
  Readiness readiness = Readiness::none;
  config::FailoverPolicy failover = config::FailoverPolicy::successor_order;
  config::ArpPolicy arp = config::ArpPolicy::virtual_mac;
  uint8_t protocol = kProtocolTcp;
  std::vector<OwnedAddress> addresses;  // at most 255
  std::vector<OwnedPorts> ports;
  std::vector<NodeId> successors;  // most preferred first; at most 255
  friend bool operator==(const GroupOwnership&, const GroupOwnership&) = default;
};

// Everything that one incarnation of a node says at one moment. `freshness` grows with each that it sends.
struct Ownership {
  NodeId node;
  BootId boot;
  uint64_t freshness = 0;
  std::vector<GroupOwnership> groups;
  friend bool operator==(const Ownership&, const Ownership&) = default;
};

// The payload of one ownership frame; whatever is larger is cut into parts.
constexpr size_t kOwnershipPacketMax = 1400;
constexpr size_t kOwnershipPartsMax = 32;

// One packet, or several (part i of n), each at most kOwnershipPacketMax bytes. Empty when it would need more
// than kOwnershipPartsMax: configuration is refused long before.
std::vector<std::vector<uint8_t>> encode(const Ownership& ownership);

// One packet that was checked as such; its body is a part of what encode() cut.
struct OwnershipPart {
  NodeId node;
  BootId boot;
  uint64_t freshness = 0;
  uint8_t index = 0, count = 1;
  std::vector<uint8_t> body;
};
std::optional<OwnershipPart> decode_ownership_part(std::span<const uint8_t> bytes);

// What the other nodes own, as they said it last. Takes packets in any order, twice, or never. Of each node
// it keeps the newest: within an incarnation the larger freshness; a new boot id replaces the old one for
// good. Memory is bounded by nodes × kOwnershipPartsMax packets; callers pass packets of configured nodes
// only.
class OwnershipBook {
 public:
  enum class Verdict {
    news,       // complete, and newer than what we had
    part,       // waits for the other parts
    old,        // older than, or the same as, what we have
    malformed,  // not what encode() writes
  };
  Verdict learn(std::span<const uint8_t> bytes, Instant now);

  struct Entry {
    Ownership ownership;
    Instant heard;
  };
  const Entry* of(NodeId node) const;
  struct Owner {
    NodeId node;
    BootId boot;
    const GroupOwnership* says;
  };
  // Who claims to own the group; with several, the one with the highest epoch.
  std::optional<Owner> owner_of(GroupId group) const;
  // The owner of an address, by the same rule.
  std::optional<Owner> owner_of(const IpAddress& address) const;
  // A node that is known to be dead owns nothing any more.
  void forget(NodeId node);

 private:
  struct Node {
    std::optional<Entry> newest;
    std::vector<BootId> buried;  // incarnations that were replaced; the last few
    // Parts of one packet that is not complete yet.
    BootId boot;
    uint64_t freshness = 0;
    std::vector<std::optional<std::vector<uint8_t>>> parts;
  };
  template <class Match>
  std::optional<Owner> best_owner(Match match) const;
  bool is_old(const Node& node, const OwnershipPart& part) const;
  std::map<NodeId, Node> nodes_;
};

}  // namespace understudy::cluster
