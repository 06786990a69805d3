#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/instant.h"
#include "control/cluster/action.h"

namespace understudy::etcd {

// The file in which a node keeps to which etcd cluster it belongs: one line of text.
std::vector<uint8_t> encode_cluster_id(uint64_t id);
// Nothing when the bytes are not what encode_cluster_id() writes.
std::optional<uint64_t> decode_cluster_id(std::span<const uint8_t> bytes);

// Which etcd cluster is a node's own. Two nodes that asked different ones would both be told that they own a
// group, so what any other says does not count, whatever the endpoints lead to. The id comes from the
// configuration, or from what a former life has kept; or else it is that of the cluster that answers first,
// which is put on disk before anything is claimed there.
class OwnCluster {
 public:
  struct Settings {
    std::optional<uint64_t> id;  // configured or kept
    bool is_configured = false;
    std::string kept_in;       // name of the file, for sentences
    Duration keep_again = 1s;  // after the disk has failed
  };
  explicit OwnCluster(Settings settings);

  // Why what an etcd of that cluster answers must not count, and the cure; nothing: it is our own.
  std::optional<std::string> objection(uint64_t answering) const;
  // An answer of that cluster counts: from now on no other one's does.
  void accept(uint64_t answering, cluster::Actions& actions);
  // What action Keep asked for is on disk, or could not be put there.
  void on_kept(uint64_t sequence, bool is_kept, Instant now, cluster::Actions& actions);
  void tick(Instant now, cluster::Actions& actions);
  Instant next_deadline() const { return keep_again_; }
  // Why nothing may be claimed yet, as a sentence; nothing: a restart would find the same cluster.
  std::optional<std::string> obstacle() const;

 private:
  void keep(cluster::Actions& actions);

  Settings settings_;
  bool is_kept_;
  bool has_failed_ = false;
  uint64_t sequence_ = 0;  // of the newest Keep
  Instant keep_again_ = kNever;
};

}  // namespace understudy::etcd
