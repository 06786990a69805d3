#pragma once

#include <cstdint>

#include "common/byte_order.h"
#include "common/strong.h"

namespace understudy::mirror {

// Every frame between nodes begins so, after Ethernet (type 0x88b5). The cluster id keeps neighbours on one
// network apart; authentication arrives with the cluster issue and takes its place behind this header.
enum class ClusterFrameKind : uint8_t {
  heartbeat = 1,
  ownership = 2,
  solicit = 3,
  mirror_data = 4,
  mirror_ack = 5
};

struct ClusterFrameHeader {
  be16_t magic;     // kClusterMagic
  uint8_t version;  // kClusterVersion; another version is counted and dropped
  uint8_t kind;     // ClusterFrameKind
  be32_t cluster;   // hash of the cluster's name and secret
  be16_t from_node;
  uint8_t from_worker;
  uint8_t to_worker;  // the receiving node hands the frame to this worker; control frames: 0
  be64_t boot;        // sender's incarnation
  be16_t length;      // bytes that follow; the rest is padding
};
static_assert(sizeof(ClusterFrameHeader) == 22);

constexpr uint16_t kClusterMagic = 0x5573;
constexpr uint8_t kClusterVersion = 1;

}  // namespace understudy::mirror
