#include "dataplane/mirror/cluster_frame.h"

#include <cstring>

#include "common/check.h"

namespace understudy::mirror {

std::variant<DropReason, ClusterFrameView> parse_cluster_header(std::span<const uint8_t> bytes,
                                                                uint32_t cluster) {
  if (bytes.size() < sizeof(ClusterFrameHeader)) return DropReason::cluster_malformed;
  ClusterFrameHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic.get() != kClusterMagic) return DropReason::cluster_malformed;
  // Before anything else is believed: another version may lay out the rest differently.
  if (header.version != kClusterVersion) return DropReason::cluster_version;
  if (header.cluster.get() != cluster) return DropReason::cluster_stranger;
  if (header.kind < static_cast<uint8_t>(ClusterFrameKind::heartbeat) ||
      header.kind > static_cast<uint8_t>(ClusterFrameKind::vote))
    return DropReason::cluster_version;
  const size_t length = header.length.get();
  if (length > bytes.size() - sizeof header || header.from_node.get() == 0)
    return DropReason::cluster_malformed;
  return ClusterFrameView{.kind = static_cast<ClusterFrameKind>(header.kind),
                          .from = NodeId(header.from_node.get()),
                          .from_worker = header.from_worker,
                          .to_worker = header.to_worker,
                          .boot = BootId(header.boot.get()),
                          .payload = bytes.subspan(sizeof header, length)};
}

ClusterFrameHeader make_cluster_header(const ClusterFrameView& view, uint32_t cluster) {
  invariant(view.payload.size() <= UINT16_MAX, "cluster frame: payload does not fit the length field");
  ClusterFrameHeader header;
  header.magic = kClusterMagic;
  header.version = kClusterVersion;
  header.kind = static_cast<uint8_t>(view.kind);
  header.cluster = cluster;
  header.from_node = view.from.value();
  header.from_worker = view.from_worker;
  header.to_worker = view.to_worker;
  header.boot = view.boot.value();
  header.length = static_cast<uint16_t>(view.payload.size());
  return header;
}

}  // namespace understudy::mirror
