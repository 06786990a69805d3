#include "dataplane/seal/aead.h"

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

#include "common/check.h"

namespace understudy::seal {
namespace {

// Three functions of the library, as it offers them for this processor. Its manager is only needed to learn
// them: they keep no state of their own, so all threads may share them.
struct Gcm {
  aes_gcm_pre_t expand;
  aes_gcm_enc_dec_t seal;
  aes_gcm_enc_dec_t open;
};

Gcm find_gcm() {
  struct Free {
    void operator()(IMB_MGR* manager) const { free_mb_mgr(manager); }
  };
  const std::unique_ptr<IMB_MGR, Free> manager(alloc_mb_mgr(0));
  invariant(manager != nullptr, "no memory for libIPSec_MB");
  init_mb_mgr_auto(manager.get(), nullptr);
  invariant(imb_get_errno(manager.get()) == 0,
            "libIPSec_MB finds no AES instructions here; the processor must have AES-NI and PCLMULQDQ");
  return {manager->gcm128_pre, manager->gcm128_enc, manager->gcm128_dec};
}

const Gcm& gcm() {
  static const Gcm found = find_gcm();
  return found;
}

}  // namespace

void Aead::Forget::operator()(gcm_key_data* key) const {
  OPENSSL_cleanse(key, sizeof *key);
  delete key;
}

Aead::Aead() : key_(new gcm_key_data()) {
  gcm();
}

void Aead::set_key(const FrameKey& key) {
  gcm().expand(key.data(), key_.get());
}

void Aead::seal(const Nonce& nonce, std::span<const uint8_t> authenticated, std::span<const uint8_t> plain,
                uint8_t* out) const {
  gcm_context_data context;
  gcm().seal(key_.get(), &context, out, plain.data(), plain.size(), nonce.data(), authenticated.data(),
             authenticated.size(), out + plain.size(), kTagBytes);
}

bool Aead::open(const Nonce& nonce, std::span<const uint8_t> authenticated, std::span<uint8_t> bytes,
                std::span<const uint8_t, kTagBytes> tag) const {
  gcm_context_data context;
  std::array<uint8_t, kTagBytes> computed;
  gcm().open(key_.get(), &context, bytes.data(), bytes.data(), bytes.size(), nonce.data(),
             authenticated.data(), authenticated.size(), computed.data(), kTagBytes);
  return CRYPTO_memcmp(computed.data(), tag.data(), kTagBytes) == 0;
}

}  // namespace understudy::seal
