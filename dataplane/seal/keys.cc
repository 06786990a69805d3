#include "dataplane/seal/keys.h"

#include <algorithm>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "common/check.h"

namespace understudy::seal {
namespace {

// OpenSSL takes what it only reads through pointers to non-const.
OSSL_PARAM octets(const char* name, std::string_view bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(bytes.data()), bytes.size());
}

}  // namespace

ClusterKey cluster_key(std::string_view secret, std::string_view cluster_name) {
  std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr),
                                                        EVP_KDF_free);
  invariant(kdf != nullptr, "libcrypto does not offer HKDF");
  std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf.get()),
                                                                    EVP_KDF_CTX_free);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      octets(OSSL_KDF_PARAM_KEY, secret),
      octets(OSSL_KDF_PARAM_SALT, cluster_name),
      octets(OSSL_KDF_PARAM_INFO, "understudy cluster frames"),
      OSSL_PARAM_construct_end(),
  };
  std::array<uint8_t, 36> derived{};
  invariant(EVP_KDF_derive(context.get(), derived.data(), derived.size(), parameters) == 1,
            "libcrypto cannot derive the cluster key");
  ClusterKey key;
  std::copy_n(derived.begin(), key.bytes.size(), key.bytes.begin());
  for (size_t i = key.bytes.size(); i < derived.size(); ++i) key.id = key.id << 8 | derived[i];
  return key;
}

void FrameKeys::Free::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

FrameKeys::FrameKeys(const ClusterKey& key) : block_cipher_(EVP_CIPHER_CTX_new()) {
  invariant(block_cipher_ != nullptr && EVP_EncryptInit_ex(block_cipher_.get(), EVP_aes_256_ecb(), nullptr,
                                                           key.bytes.data(), nullptr) == 1,
            "libcrypto does not offer AES-256");
  EVP_CIPHER_CTX_set_padding(block_cipher_.get(), 0);
}

FrameKey FrameKeys::of(NodeId node, BootId boot) const {
  constexpr size_t kBlock = 16;
  std::array<uint8_t, 2 * kBlock> blocks{};
  for (size_t half = 0; half < 2; ++half) {
    uint8_t* block = blocks.data() + half * kBlock;
    block[0] = static_cast<uint8_t>(half);
    block[4] = static_cast<uint8_t>(node.value() >> 8);
    block[5] = static_cast<uint8_t>(node.value());
    for (int i = 0; i < 8; ++i) block[6 + i] = static_cast<uint8_t>(boot.value() >> (56 - 8 * i));
  }
  int written = 0;
  std::array<uint8_t, 2 * kBlock> out{};
  invariant(EVP_EncryptUpdate(block_cipher_.get(), out.data(), &written, blocks.data(),
                              static_cast<int>(blocks.size())) == 1 &&
                written == static_cast<int>(out.size()),
            "AES-256 failed");
  FrameKey key;
  for (size_t half = 0; half < 2; ++half)
    std::copy_n(out.begin() + static_cast<std::ptrdiff_t>(half * kBlock), key.size() / 2,
                key.begin() + static_cast<std::ptrdiff_t>(half * key.size() / 2));
  return key;
}

}  // namespace understudy::seal
