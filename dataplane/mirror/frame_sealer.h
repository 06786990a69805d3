#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/byte_order.h"
#include "common/strong.h"
#include "dataplane/mirror/cluster_frame.h"
#include "dataplane/seal/aead.h"
#include "dataplane/seal/keys.h"

namespace understudy::mirror {

// A cluster frame on the wire: its header, authenticated; its payload, encrypted; and this behind it. In the
// header, `cluster` names the key. A frame's number grows with each one that its worker sends on that link.
//
//   header 22 | ciphertext, header.length | tag 16 | link 1 | number 8 | padding
//
// The nonce is (worker, link, number) under the key of (node, boot): no two frames ever share both.
struct SealTrailer {
  uint8_t tag[seal::kTagBytes];
  uint8_t link;  // the sender's port
  be64_t number;
};
static_assert(sizeof(SealTrailer) == 25);

seal::Nonce nonce_of(uint8_t worker, uint8_t link, uint64_t number);

// Seals what one worker of this incarnation sends. One thread. Allocates in the constructor and in set_keys.
class FrameSealer {
 public:
  FrameSealer(const seal::KeyRing& keys, NodeId node, BootId boot, size_t links);
  // From now on with another key. Numbers go on, so going back to a former key is safe too.
  void set_keys(const seal::KeyRing& keys);
  // `plain` is a header and its payload, without padding; `out` gets plain.size() + sizeof(SealTrailer)
  // bytes. It may be `plain` itself, not overlap it otherwise.
  void seal(std::span<const uint8_t> plain, unsigned link, uint8_t* out);
  // What seal() wrote, under a number of its own: a frame that goes out twice is no replay. `out` gets
  // sealed.size() bytes and does not overlap it. False, and nothing to send: the key has changed twice since.
  bool seal_again(std::span<const uint8_t> sealed, unsigned link, uint8_t* out);

 private:
  NodeId node_;
  BootId boot_;
  uint32_t key_id_ = 0;
  uint32_t former_id_ = 0;
  seal::Aead aead_;
  seal::Aead former_;              // opens what was sealed before the key changed
  std::vector<uint64_t> numbers_;  // the last one used, by link
};

}  // namespace understudy::mirror
