#include "control/cluster/ownership.h"

#include <algorithm>

#include "dataplane/mirror/cluster_bytes.h"

namespace understudy::cluster {
namespace {

using mirror::ByteReader;
using mirror::ByteWriter;

// These go on the wire as the numbers they have; a change of their order is a change of the protocol.
static_assert(static_cast<int>(config::FailoverPolicy::successor_order) == 0);
static_assert(static_cast<int>(config::FailoverPolicy::none) == 1);
static_assert(static_cast<int>(config::ArpPolicy::virtual_mac) == 0);
static_assert(static_cast<int>(config::ArpPolicy::gratuitous) == 1);
static_assert(static_cast<int>(config::ApplicationKind::proxy) == 0);
static_assert(static_cast<int>(config::ApplicationKind::echo) == 1);
static_assert(static_cast<int>(config::ApplicationKind::discard) == 2);
static_assert(static_cast<int>(config::ApplicationKind::tally) == 3);

// Entries of lists carry their length once, before the list: a newer node may write longer ones.
constexpr uint8_t kAddressLength = 16 + 1 + 6 + 1;
constexpr uint8_t kPortsLength = 2 + 2 + 1;
constexpr size_t kPartHeader = 2 + 8 + 8 + 1 + 1;
constexpr size_t kBuriedMax = 8;

void write_group(ByteWriter& out, const GroupOwnership& group) {
  out.u16(group.group.value());
  out.u8(static_cast<uint8_t>(group.role));
  out.epoch(group.epoch);
  out.u8(static_cast<uint8_t>(group.readiness));
  out.u8(static_cast<uint8_t>(group.failover));
  out.u8(static_cast<uint8_t>(group.arp));
  out.u8(group.protocol);
  out.u8(static_cast<uint8_t>(group.addresses.size()));
  out.u8(kAddressLength);
  for (const OwnedAddress& address : group.addresses) {
    out.raw(address.address.address.bytes());
    out.u8(address.address.length);
    out.raw(address.mac.bytes());
    out.boolean(address.source);
  }
  out.u16(static_cast<uint16_t>(group.ports.size()));
  out.u8(kPortsLength);
  for (const OwnedPorts& ports : group.ports) {
    out.u16(ports.first.value());
    out.u16(ports.last.value());
    out.u8(static_cast<uint8_t>(ports.application));
  }
  out.u8(static_cast<uint8_t>(group.successors.size()));
  for (const NodeId node : group.successors) out.u16(node.value());
}

void read_lists(ByteReader& in, GroupOwnership& group) {
  const uint8_t addresses = in.u8();
  const uint8_t address_length = in.u8();
  for (unsigned i = 0; i < addresses && in.ok(); ++i) {
    ByteReader entry(in.block(address_length));
    OwnedAddress address;
    address.address.address = IpAddress(entry.array<16>());
    address.address.length = entry.u8();
    address.mac = MacAddress(entry.array<6>());
    address.source = entry.boolean();
    if (!entry.ok()) in.block(SIZE_MAX);  // a short entry spoils the whole
    group.addresses.push_back(address);
  }
  const uint16_t ports = in.u16();
  const uint8_t ports_length = in.u8();
  for (unsigned i = 0; i < ports && in.ok(); ++i) {
    ByteReader entry(in.block(ports_length));
    OwnedPorts range;
    range.first = PortNumber(entry.u16());
    range.last = PortNumber(entry.u16());
    range.application = static_cast<config::ApplicationKind>(entry.u8());
    if (!entry.ok()) in.block(SIZE_MAX);
    group.ports.push_back(range);
  }
  const uint8_t successors = in.u8();
  for (unsigned i = 0; i < successors && in.ok(); ++i) group.successors.push_back(NodeId(in.u16()));
}

// Nothing when malformed. A role or readiness that this version does not know reads as the one that claims
// least; other values that it does not know are kept as they are.
std::optional<GroupOwnership> read_group(ByteReader in) {
  GroupOwnership group;
  group.group = GroupId(in.u16());
  const uint8_t role = in.u8();
  if (role <= static_cast<uint8_t>(mirror::GroupRole::releasing))
    group.role = static_cast<mirror::GroupRole>(role);
  group.epoch = in.epoch();
  const uint8_t readiness = in.u8();
  if (readiness <= static_cast<uint8_t>(Readiness::stale))
    group.readiness = static_cast<Readiness>(readiness);
  group.failover = static_cast<config::FailoverPolicy>(in.u8());
  group.arp = static_cast<config::ArpPolicy>(in.u8());
  group.protocol = in.u8();
  read_lists(in, group);
  if (!in.ok()) return std::nullopt;
  return group;
}

std::optional<std::vector<GroupOwnership>> read_body(std::span<const uint8_t> body) {
  ByteReader in(body);
  std::vector<GroupOwnership> groups;
  const uint8_t count = in.u8();
  for (unsigned i = 0; i < count; ++i) {
    const uint16_t length = in.u16();
    auto group = read_group(ByteReader(in.block(length)));
    if (!group || !in.ok()) return std::nullopt;
    groups.push_back(std::move(*group));
  }
  if (!in.ok()) return std::nullopt;
  return groups;
}

}  // namespace

std::string_view name_of(Readiness readiness) {
  switch (readiness) {
    case Readiness::none:
      return "none";
    case Readiness::syncing:
      return "syncing";
    case Readiness::synced:
      return "synced";
    case Readiness::stale:
      return "stale";
  }
  return "unknown";
}

std::string_view name_of(mirror::GroupRole role) {
  switch (role) {
    case mirror::GroupRole::idle:
      return "idle";
    case mirror::GroupRole::standby:
      return "standby";
    case mirror::GroupRole::owner:
      return "owner";
    case mirror::GroupRole::fenced:
      return "fenced";
    case mirror::GroupRole::releasing:
      return "releasing";
  }
  return "unknown";
}

std::string_view name_of(config::ApplicationKind application) {
  switch (application) {
    case config::ApplicationKind::proxy:
      return "proxy";
    case config::ApplicationKind::echo:
      return "echo";
    case config::ApplicationKind::discard:
      return "discard";
    case config::ApplicationKind::tally:
      return "tally";
  }
  return "unknown";
}

std::vector<std::vector<uint8_t>> encode(const Ownership& ownership) {
  ByteWriter body;
  body.u8(static_cast<uint8_t>(ownership.groups.size()));
  for (const GroupOwnership& group : ownership.groups) {
    ByteWriter entry;
    write_group(entry, group);
    body.u16(static_cast<uint16_t>(entry.size()));
    body.raw(entry.bytes());
  }
  constexpr size_t kBodyMax = kOwnershipPacketMax - kPartHeader;
  const size_t count = (body.size() + kBodyMax - 1) / kBodyMax;
  std::vector<std::vector<uint8_t>> packets;
  if (count > kOwnershipPartsMax || ownership.groups.size() > UINT8_MAX) return packets;
  for (size_t i = 0; i < count; ++i) {
    ByteWriter packet;
    packet.u16(ownership.node.value());
    packet.u64(ownership.boot.value());
    packet.u64(ownership.freshness);
    packet.u8(static_cast<uint8_t>(i));
    packet.u8(static_cast<uint8_t>(count));
    const size_t start = i * kBodyMax;
    packet.raw(std::span(body.bytes()).subspan(start, std::min(kBodyMax, body.size() - start)));
    packets.push_back(packet.take());
  }
  return packets;
}

std::optional<OwnershipPart> decode_ownership_part(std::span<const uint8_t> bytes) {
  ByteReader in(bytes);
  OwnershipPart part;
  part.node = NodeId(in.u16());
  part.boot = BootId(in.u64());
  part.freshness = in.u64();
  part.index = in.u8();
  part.count = in.u8();
  if (!in.ok() || part.node == NodeId() || part.count == 0 || part.count > kOwnershipPartsMax ||
      part.index >= part.count || bytes.size() > kOwnershipPacketMax)
    return std::nullopt;
  const auto body = in.block(in.remaining());
  part.body.assign(body.begin(), body.end());
  return part;
}

bool OwnershipBook::is_old(const Node& node, const OwnershipPart& part) const {
  if (std::find(node.buried.begin(), node.buried.end(), part.boot) != node.buried.end()) return true;
  return node.newest && node.newest->ownership.boot == part.boot &&
         part.freshness <= node.newest->ownership.freshness;
}

OwnershipBook::Verdict OwnershipBook::learn(std::span<const uint8_t> bytes, Instant now) {
  auto part = decode_ownership_part(bytes);
  if (!part) return Verdict::malformed;
  Node& node = nodes_[part->node];
  if (is_old(node, *part)) return Verdict::old;
  const bool same_packet =
      node.boot == part->boot && node.freshness == part->freshness && node.parts.size() == part->count;
  if (!same_packet) {
    if (node.boot == part->boot && part->freshness < node.freshness) return Verdict::old;
    node.boot = part->boot;
    node.freshness = part->freshness;
    node.parts.assign(part->count, std::nullopt);
  }
  node.parts[part->index] = std::move(part->body);
  std::vector<uint8_t> body;
  for (const auto& piece : node.parts) {
    if (!piece) return Verdict::part;
    body.insert(body.end(), piece->begin(), piece->end());
  }
  node.parts.clear();
  auto groups = read_body(body);
  if (!groups) return Verdict::malformed;
  if (node.newest && node.newest->ownership.boot != part->boot) {
    node.buried.push_back(node.newest->ownership.boot);
    if (node.buried.size() > kBuriedMax) node.buried.erase(node.buried.begin());
  }
  node.newest = Entry{Ownership{part->node, part->boot, part->freshness, std::move(*groups)}, now};
  return Verdict::news;
}

const OwnershipBook::Entry* OwnershipBook::of(NodeId node) const {
  const auto found = nodes_.find(node);
  return found != nodes_.end() && found->second.newest ? &*found->second.newest : nullptr;
}

template <class Match>
std::optional<OwnershipBook::Owner> OwnershipBook::best_owner(Match match) const {
  std::optional<Owner> best;
  for (const auto& [id, node] : nodes_) {
    if (!node.newest) continue;
    for (const GroupOwnership& group : node.newest->ownership.groups) {
      if (group.role != mirror::GroupRole::owner || !match(group)) continue;
      if (!best || group.epoch > best->says->epoch) best = Owner{id, node.newest->ownership.boot, &group};
    }
  }
  return best;
}

std::optional<OwnershipBook::Owner> OwnershipBook::owner_of(GroupId group) const {
  return best_owner([group](const GroupOwnership& says) { return says.group == group; });
}

std::optional<OwnershipBook::Owner> OwnershipBook::owner_of(const IpAddress& address) const {
  return best_owner([&address](const GroupOwnership& says) {
    return std::any_of(says.addresses.begin(), says.addresses.end(),
                       [&address](const OwnedAddress& owned) { return owned.address.address == address; });
  });
}

void OwnershipBook::forget(NodeId node) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end() || !found->second.newest) return;
  for (GroupOwnership& group : found->second.newest->ownership.groups) group.role = mirror::GroupRole::idle;
}

}  // namespace understudy::cluster
