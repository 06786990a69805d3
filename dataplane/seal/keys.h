#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "common/strong.h"

struct evp_cipher_ctx_st;

namespace understudy::seal {

// What the nodes of a cluster share and nobody else knows: 256 bits, and a public name for them on the wire.
struct ClusterKey {
  std::array<uint8_t, 32> bytes{};
  uint32_t id = 0;  // tells a receiver which of its keys to try; gives nothing away
  friend bool operator==(const ClusterKey&, const ClusterKey&) = default;
};

// The key that seals, and one more that still opens: while a key is being replaced some nodes seal with the
// other one.
struct KeyRing {
  ClusterKey sealing;
  std::optional<ClusterKey> accepted;
};

// HKDF-SHA256 (RFC 5869) of the secret's bytes, salted with the cluster's name: two clusters that share a
// file by mistake do not understand each other. Allocates; for set-up.
ClusterKey cluster_key(std::string_view secret, std::string_view cluster_name);

// The AES-128-GCM key under which one incarnation of one node seals.
using FrameKey = std::array<uint8_t, 16>;

// Derives frame keys from a cluster key: two AES-256 blocks of (node, boot), of each its first half (RFC 8452
// section 4). No allocation per key, so that a flood of frames from invented incarnations costs time only.
// Both directions between two nodes, and each life of a node, have keys of their own; counters may begin
// anew.
class FrameKeys {
 public:
  explicit FrameKeys(const ClusterKey& key);
  FrameKey of(NodeId node, BootId boot) const;

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  std::unique_ptr<evp_cipher_ctx_st, Free> block_cipher_;
};

}  // namespace understudy::seal
