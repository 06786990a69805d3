#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "dataplane/seal/keys.h"

struct gcm_key_data;

namespace understudy::seal {

constexpr size_t kTagBytes = 16;
constexpr size_t kNonceBytes = 12;
using Nonce = std::array<uint8_t, kNonceBytes>;

// AES-128-GCM (NIST SP 800-38D) under one key at a time, by whatever the processor has for it: libIPSec_MB
// looks once, when the first one is made. The constructor allocates, nothing afterwards does, set_key
// included. One thread. ARCHITECTURE.md says what it costs.
class Aead {
 public:
  Aead();
  Aead(const FrameKey& key) : Aead() { set_key(key); }
  void set_key(const FrameKey& key);

  // `out` gets plain.size() bytes of ciphertext and then the tag; it may be `plain` itself, not overlap it
  // otherwise. A nonce is never used twice under a key.
  void seal(const Nonce& nonce, std::span<const uint8_t> authenticated, std::span<const uint8_t> plain,
            uint8_t* out) const;
  // Replaces `bytes` by its plaintext. False when the tag does not fit; what `bytes` holds then is of no use.
  bool open(const Nonce& nonce, std::span<const uint8_t> authenticated, std::span<uint8_t> bytes,
            std::span<const uint8_t, kTagBytes> tag) const;

 private:
  struct Forget {
    void operator()(gcm_key_data* key) const;
  };
  std::unique_ptr<gcm_key_data, Forget> key_;  // expanded, with the powers of its hash key
};

}  // namespace understudy::seal
