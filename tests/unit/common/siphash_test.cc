#include "common/siphash.h"

#include <gtest/gtest.h>

namespace understudy {
namespace {

// Vectors of the reference implementation: key 00..0f, message 00, 01, ... of each length.
TEST(SipHash, MatchesTheReferenceVectors) {
  Secret key;
  std::array<uint8_t, 16> message{};
  for (uint8_t i = 0; i < 16; ++i) key.bytes[i] = message[i] = i;
  EXPECT_EQ(siphash(key, message.data(), 0), 0x726fdb47dd0e0e31ULL);
  EXPECT_EQ(siphash(key, message.data(), 1), 0x74f839c593dc67fdULL);
  EXPECT_EQ(siphash(key, message.data(), 8), 0x93f5f5799a932462ULL);
  EXPECT_EQ(siphash(key, message.data(), 15), 0xa129ca6149be45e5ULL);
}

}  // namespace
}  // namespace understudy
