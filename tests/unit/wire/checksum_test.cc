#include "dataplane/wire/checksum.h"

#include <vector>

#include <gtest/gtest.h>

#include "common/random.h"
#include "tests/support/sample_frames.h"

namespace understudy::wire {
namespace {

TEST(Checksum, EqualsTheNaiveSumAtEveryLengthAndAlignment) {
  Random random(1);
  std::vector<uint8_t> bytes(2048 + 16);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.next());
  for (size_t alignment = 0; alignment < 9; ++alignment)
    for (size_t length = 0; length <= 1600; length += length < 140 ? 1 : 7) {
      const auto part = std::span<const uint8_t>(bytes).subspan(alignment, length);
      ASSERT_EQ(checksum_finish(checksum_add(0, part)), naive_checksum(part))
          << "length " << length << " at " << alignment;
    }
}

TEST(Checksum, CarriesDoNotOverflowOnTheLongestDatagram) {
  const std::vector<uint8_t> ones(65535, 0xff);
  EXPECT_EQ(checksum_finish(checksum_add(0, ones)), naive_checksum(ones));
  const std::vector<uint8_t> zeros(65535, 0);
  EXPECT_EQ(checksum_finish(checksum_add(0, zeros)), 0xffff);
}

TEST(Checksum, MayBeTakenInPartsThatBeginAtEvenOffsets) {
  Random random(2);
  std::vector<uint8_t> bytes(501);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.next());
  const std::span<const uint8_t> all(bytes);
  for (size_t cut = 0; cut <= bytes.size(); cut += 2) {
    const uint64_t sum = checksum_add(checksum_add(0, all.first(cut)), all.subspan(cut));
    ASSERT_EQ(checksum_finish(sum), naive_checksum(all)) << "cut at " << cut;
  }
}

// The worked example of RFC 1071 section 3: the sum is ddf2.
TEST(Checksum, MatchesTheExampleOfTheRfc) {
  const std::vector<uint8_t> bytes = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(checksum_finish(checksum_add(0, bytes)), static_cast<uint16_t>(~0xddf2));
}

TEST(Checksum, PseudoHeaderOfBothFamilies) {
  const auto v4 = [](uint32_t address) { return IpAddress::v4(address); };
  const std::vector<uint8_t> words = {10, 0, 0, 1, 192, 168, 3, 4, 0, 6, 0x05, 0xdc};
  EXPECT_EQ(checksum_finish(checksum_pseudo_header(v4(0x0a000001), v4(0xc0a80304), 6, 1500)),
            naive_checksum(words));

  const auto source = *IpAddress::parse("2001:db8::1");
  const auto destination = *IpAddress::parse("2001:db8:0:7::2");
  std::vector<uint8_t> words6(source.bytes().begin(), source.bytes().end());
  words6.insert(words6.end(), destination.bytes().begin(), destination.bytes().end());
  for (const int byte : {0x00, 0x01, 0x11, 0x70, 0, 0, 0, 6}) words6.push_back(static_cast<uint8_t>(byte));
  EXPECT_EQ(checksum_finish(checksum_pseudo_header(source, destination, 6, 0x11170)), naive_checksum(words6));
}

}  // namespace
}  // namespace understudy::wire
