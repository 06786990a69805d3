#include "dataplane/seal/aead.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "common/random.h"

namespace understudy::seal {
namespace {

// What libcrypto asks of the allocator, counted from the program's start.
std::atomic<uint64_t> allocations{0};

void* count_malloc(size_t bytes, const char*, int) {
  ++allocations;
  return std::malloc(bytes);
}
void* count_realloc(void* old, size_t bytes, const char*, int) {
  ++allocations;
  return std::realloc(old, bytes);
}
void count_free(void* old, const char*, int) {
  std::free(old);
}

template <size_t N>
std::array<uint8_t, N> from_hex(std::string_view hex) {
  std::array<uint8_t, N> bytes{};
  for (size_t i = 0; i < N; ++i)
    bytes[i] = static_cast<uint8_t>(std::stoi(std::string(hex.substr(2 * i, 2)), nullptr, 16));
  return bytes;
}

// Test case 4 of the GCM specification (McGrew and Viega 2005), appendix B.
TEST(Aead, IsTheCipherOfTheSpecification) {
  Aead aead(from_hex<16>("feffe9928665731c6d6a8f9467308308"));
  const auto plain = from_hex<60>(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aed"
      "f5"
      "aa0de657ba637b39");
  const auto authenticated = from_hex<20>("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const auto expected = from_hex<76>(
      "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b"
      "39"
      "6a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47");
  std::array<uint8_t, 76> sealed{};
  aead.seal(from_hex<12>("cafebabefacedbaddecaf888"), authenticated, plain, sealed.data());
  EXPECT_EQ(sealed, expected);
}

TEST(Aead, OpensWhatItSealedAndNothingElse) {
  Random random(1);
  Aead aead(FrameKey{1, 2, 3});
  for (const size_t length : {0U, 1U, 15U, 16U, 17U, 1400U, 8000U}) {
    std::vector<uint8_t> plain(length);
    for (uint8_t& byte : plain) byte = static_cast<uint8_t>(random.next());
    std::array<uint8_t, 22> header{};
    header[0] = 7;
    const Nonce nonce{9};
    std::vector<uint8_t> sealed(length + kTagBytes);
    aead.seal(nonce, header, plain, sealed.data());
    const auto opens = [&](std::vector<uint8_t> bytes, const Nonce& with,
                           std::span<const uint8_t> authenticated) {
      const std::span<uint8_t> all(bytes);
      const bool fits = aead.open(with, authenticated, all.first(length),
                                  std::span<const uint8_t, kTagBytes>(all.last(kTagBytes)));
      return fits && std::equal(plain.begin(), plain.end(), bytes.begin());
    };
    EXPECT_TRUE(opens(sealed, nonce, header)) << length;
    EXPECT_FALSE(opens(sealed, Nonce{8}, header));
    auto other_header = header;
    other_header[21] ^= 1;
    EXPECT_FALSE(opens(sealed, nonce, other_header));
    for (int i = 0; i < 50; ++i) {
      auto bytes = sealed;
      bytes[random.below(static_cast<uint32_t>(bytes.size()))] ^= static_cast<uint8_t>(1U << random.below(8));
      EXPECT_FALSE(opens(bytes, nonce, header));
    }
    EXPECT_TRUE(opens(sealed, nonce, header)) << "a forgery must not spoil the next frame";
  }
}

// Another implementation of the same standard, with which nodes of former versions seal.
std::vector<uint8_t> seal_with_libcrypto(const FrameKey& key, const Nonce& nonce,
                                         std::span<const uint8_t> authenticated,
                                         std::span<const uint8_t> plain) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                                EVP_CIPHER_CTX_free);
  std::vector<uint8_t> out(plain.size() + kTagBytes);
  int written = 0;
  EXPECT_EQ(EVP_EncryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, key.data(), nonce.data()), 1);
  EXPECT_EQ(EVP_EncryptUpdate(context.get(), nullptr, &written, authenticated.data(),
                              static_cast<int>(authenticated.size())),
            1);
  if (!plain.empty()) {
    EXPECT_EQ(
        EVP_EncryptUpdate(context.get(), out.data(), &written, plain.data(), static_cast<int>(plain.size())),
        1);
  }
  EXPECT_EQ(EVP_EncryptFinal_ex(context.get(), out.data() + plain.size(), &written), 1);
  EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, out.data() + plain.size()),
            1);
  return out;
}

// Every length up to several strides of the widest instructions, and what frames have; bytes on the heap, so
// that a sanitizer or valgrind sees a step too far.
TEST(Aead, SealsToTheSameBytesAsLibcrypto) {
  Random random(2);
  std::vector<size_t> lengths{1400, 1447, 1448, 8000, 8900, 9000};
  for (size_t length = 0; length <= 1100; ++length) lengths.push_back(length);
  for (const size_t length : lengths) {
    FrameKey key;
    Nonce nonce;
    std::vector<uint8_t> plain(length), authenticated(random.below(64));
    for (uint8_t& byte : key) byte = static_cast<uint8_t>(random.next());
    for (uint8_t& byte : nonce) byte = static_cast<uint8_t>(random.next());
    for (uint8_t& byte : plain) byte = static_cast<uint8_t>(random.next());
    for (uint8_t& byte : authenticated) byte = static_cast<uint8_t>(random.next());
    const std::vector<uint8_t> expected = seal_with_libcrypto(key, nonce, authenticated, plain);
    const Aead aead(key);
    std::vector<uint8_t> sealed(length + kTagBytes);
    aead.seal(nonce, authenticated, plain, sealed.data());
    ASSERT_EQ(sealed, expected) << length;
    std::vector<uint8_t> in_place = plain;
    in_place.resize(length + kTagBytes);
    aead.seal(nonce, authenticated, std::span(in_place).first(length), in_place.data());
    ASSERT_EQ(in_place, expected) << length;
    const std::span<uint8_t> all(sealed);
    ASSERT_TRUE(aead.open(nonce, authenticated, all.first(length),
                          std::span<const uint8_t, kTagBytes>(all.last(kTagBytes))))
        << length;
    ASSERT_TRUE(std::equal(plain.begin(), plain.end(), sealed.begin())) << length;
  }
}

TEST(Aead, AllocatesNothingAfterItsConstructor) {
  const FrameKeys keys(cluster_key("0123456789abcdef", "test"));
  Aead aead;
  std::vector<uint8_t> bytes(1400), sealed(1400 + kTagBytes);
  const std::array<uint8_t, 22> header{};
  const auto work = [&](uint64_t round) {
    aead.set_key(keys.of(NodeId(1), BootId(round)));
    aead.seal(Nonce{static_cast<uint8_t>(round)}, header, bytes, sealed.data());
    const std::span<uint8_t> all(sealed);
    EXPECT_TRUE(aead.open(Nonce{static_cast<uint8_t>(round)}, header, all.first(1400),
                          std::span<const uint8_t, kTagBytes>(all.last(kTagBytes))));
  };
  work(0);
  const uint64_t before = allocations;
  EXPECT_GT(before, 0U) << "the counting does not work";
  for (uint64_t round = 1; round < 100; ++round) work(round);
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace understudy::seal

int main(int argc, char** argv) {
  using namespace understudy::seal;
  CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
