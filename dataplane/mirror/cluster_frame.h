#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "common/byte_order.h"
#include "common/strong.h"
#include "dataplane/wire/drop_reason.h"

namespace understudy::mirror {

// Every frame between nodes begins so, after Ethernet (type 0x88b5). On the wire what follows is sealed
// (frame_sealer.h); inside a node it is not.
enum class ClusterFrameKind : uint8_t {
  heartbeat = 1,
  ownership = 2,
  solicit = 3,
  mirror_data = 4,
  mirror_ack = 5,
  greeting = 6,
  vote = 7
};

struct ClusterFrameHeader {
  be16_t magic;     // kClusterMagic
  uint8_t version;  // kClusterVersion; another version is counted and dropped
  uint8_t kind;     // ClusterFrameKind
  be32_t cluster;   // on the wire: the key's id; inside a node: a hash of the cluster's name
  be16_t from_node;
  uint8_t from_worker;
  uint8_t to_worker;  // the receiving node hands the frame to this worker; control frames: 0
  be64_t boot;        // sender's incarnation
  be16_t length;      // bytes that follow; the rest is padding
};
static_assert(sizeof(ClusterFrameHeader) == 22);

constexpr uint16_t kClusterMagic = 0x5573;
constexpr uint8_t kClusterVersion = 3;  // 1 was not sealed; 2 had one stream for all groups

// A header that was checked, in host order, and the bytes that belong to it (without padding).
struct ClusterFrameView {
  ClusterFrameKind kind = ClusterFrameKind::heartbeat;
  NodeId from;
  uint8_t from_worker = 0;
  uint8_t to_worker = 0;
  BootId boot;
  std::span<const uint8_t> payload;
};

// Checks the bytes that follow the Ethernet header; any bytes are safe. cluster_malformed: too short, wrong
// magic, node 0, or a length beyond the frame. cluster_version: another version, or a kind that only a newer
// node knows. cluster_stranger: another cluster. Whether `from` is a configured node is for the caller to
// say.
std::variant<DropReason, ClusterFrameView> parse_cluster_header(std::span<const uint8_t> bytes,
                                                                uint32_t cluster);

// The header for a payload of `view.payload.size()` bytes, at most 65535.
ClusterFrameHeader make_cluster_header(const ClusterFrameView& view, uint32_t cluster);

}  // namespace understudy::mirror
