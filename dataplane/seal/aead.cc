#include "dataplane/seal/aead.h"

#include <openssl/evp.h>

#include "common/check.h"

namespace understudy::seal {

void Aead::Free::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

Aead::Aead() : sealing_(EVP_CIPHER_CTX_new()), opening_(EVP_CIPHER_CTX_new()) {
  invariant(sealing_ != nullptr && opening_ != nullptr &&
                EVP_EncryptInit_ex(sealing_.get(), EVP_aes_128_gcm(), nullptr, nullptr, nullptr) == 1 &&
                EVP_DecryptInit_ex(opening_.get(), EVP_aes_128_gcm(), nullptr, nullptr, nullptr) == 1,
            "libcrypto does not offer AES-128-GCM");
}

void Aead::set_key(const FrameKey& key) {
  invariant(EVP_EncryptInit_ex(sealing_.get(), nullptr, nullptr, key.data(), nullptr) == 1 &&
                EVP_DecryptInit_ex(opening_.get(), nullptr, nullptr, key.data(), nullptr) == 1,
            "libcrypto did not take a key");
}

void Aead::seal(const Nonce& nonce, std::span<const uint8_t> authenticated, std::span<const uint8_t> plain,
                uint8_t* out) {
  EVP_CIPHER_CTX* context = sealing_.get();
  int written = 0;
  bool done = EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
              EVP_EncryptUpdate(context, nullptr, &written, authenticated.data(),
                                static_cast<int>(authenticated.size())) == 1;
  if (!plain.empty())
    done =
        done && EVP_EncryptUpdate(context, out, &written, plain.data(), static_cast<int>(plain.size())) == 1;
  done = done && EVP_EncryptFinal_ex(context, out + plain.size(), &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, out + plain.size()) == 1;
  invariant(done, "libcrypto did not seal");
}

bool Aead::open(const Nonce& nonce, std::span<const uint8_t> authenticated, std::span<uint8_t> bytes,
                std::span<const uint8_t, kTagBytes> tag) {
  EVP_CIPHER_CTX* context = opening_.get();
  int written = 0;
  bool done = EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) == 1 &&
              EVP_DecryptUpdate(context, nullptr, &written, authenticated.data(),
                                static_cast<int>(authenticated.size())) == 1;
  if (!bytes.empty())
    done = done && EVP_DecryptUpdate(context, bytes.data(), &written, bytes.data(),
                                     static_cast<int>(bytes.size())) == 1;
  uint8_t nothing[1];
  return done &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, const_cast<uint8_t*>(tag.data())) ==
             1 &&
         EVP_DecryptFinal_ex(context, nothing, &written) == 1;
}

}  // namespace understudy::seal
