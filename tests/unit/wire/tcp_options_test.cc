#include <vector>

#include <gtest/gtest.h>

#include "dataplane/wire/tcp.h"

namespace understudy::wire {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes built(const TcpOptions& options) {
  std::array<uint8_t, kTcpOptionsMax> out{};
  const size_t length = build_tcp_options(options, out);
  return {out.begin(), out.begin() + static_cast<ptrdiff_t>(length)};
}

void expect_equal(const TcpOptions& a, const TcpOptions& b) {
  EXPECT_EQ(a.mss, b.mss);
  EXPECT_EQ(a.window_scale, b.window_scale);
  EXPECT_EQ(a.sack_permitted, b.sack_permitted);
  ASSERT_EQ(a.timestamps.has_value(), b.timestamps.has_value());
  if (a.timestamps) {
    EXPECT_EQ(a.timestamps->value, b.timestamps->value);
    EXPECT_EQ(a.timestamps->echo_reply, b.timestamps->echo_reply);
  }
  ASSERT_EQ(a.sack_count, b.sack_count);
  for (size_t i = 0; i < a.sack_count; ++i) {
    EXPECT_EQ(a.sack[i].left, b.sack[i].left);
    EXPECT_EQ(a.sack[i].right, b.sack[i].right);
  }
}

TcpOptions with_sack(uint8_t blocks) {
  TcpOptions options;
  options.sack_count = blocks;
  for (uint32_t i = 0; i < blocks; ++i) options.sack[i] = {Seq(0xfffffff0 + 100 * i), Seq(50 + 100 * i)};
  return options;
}

TEST(TcpOptions, SynIsWrittenInTheOrderOfLinux) {
  TcpOptions options;
  options.mss = 1460;
  options.sack_permitted = true;
  options.timestamps = TcpOptions::Timestamps{0x01020304, 0};
  options.window_scale = 7;
  EXPECT_EQ(built(options), (Bytes{2, 4, 0x05, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7}));
  options.timestamps.reset();
  EXPECT_EQ(built(options), (Bytes{2, 4, 0x05, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7}));
}

TEST(TcpOptions, EstablishedSegmentsArePaddedInFront) {
  TcpOptions options = with_sack(1);
  options.sack[0] = {Seq(1), Seq(2)};
  options.timestamps = TcpOptions::Timestamps{3, 4};
  EXPECT_EQ(built(options),
            (Bytes{1, 1, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2}));
  EXPECT_TRUE(built(TcpOptions()).empty());
}

TEST(TcpOptions, RoundTripOfEveryCombination) {
  for (unsigned mask = 0; mask < 16; ++mask)
    for (uint8_t blocks = 0; blocks <= 4; ++blocks) {
      TcpOptions options = with_sack(blocks);
      if (mask & 1) options.mss = 536;
      if (mask & 2) options.window_scale = 14;
      options.sack_permitted = (mask & 4) != 0;
      if (mask & 8) options.timestamps = TcpOptions::Timestamps{0xdeadbeef, 0x12345678};
      const Bytes bytes = built(options);
      SCOPED_TRACE(testing::Message() << "mask " << mask << ", blocks " << int{blocks});
      EXPECT_EQ(bytes.size() % 4, 0U);
      TcpOptions read;
      ASSERT_TRUE(parse_tcp_options(bytes, read));
      EXPECT_LE(read.sack_count, options.sack_count);
      options.sack_count = read.sack_count;
      expect_equal(read, options);
    }
}

TEST(TcpOptions, SackBlocksThatDoNotFitAreLeftOut) {
  TcpOptions options = with_sack(4);
  TcpOptions read;
  ASSERT_TRUE(parse_tcp_options(built(options), read));
  EXPECT_EQ(read.sack_count, 4);
  options.timestamps = TcpOptions::Timestamps{1, 2};
  ASSERT_TRUE(parse_tcp_options(built(options), read));
  EXPECT_EQ(read.sack_count, 3);
}

TEST(TcpOptions, UnknownKindsAreSkippedAndTheListMayEndEarly) {
  TcpOptions options;
  ASSERT_TRUE(parse_tcp_options(Bytes{34, 4, 1, 2, 1, 2, 4, 5, 0xb4, 0, 3, 0xff}, options));
  EXPECT_EQ(options.mss, 0x5b4);
  EXPECT_FALSE(options.window_scale);
  ASSERT_TRUE(parse_tcp_options(Bytes{3, 3, 200}, options));
  EXPECT_EQ(options.window_scale, 200);
  EXPECT_FALSE(options.mss);  // nothing is left from the call before
}

TEST(TcpOptions, FaultyLengthsAreRefusedAndKeepWhatStoodBefore) {
  const std::vector<Bytes> faults = {
      {2},                                 // kind without length
      {2, 0},                              // would never end
      {2, 1},                              // shorter than itself
      {2, 4, 5},                           // runs past the end
      {2, 3, 5},                           // does not fit MSS
      {2, 5, 5, 5, 5},                     //
      {3, 2},                              // window scale
      {3, 4, 1, 1},                        //
      {4, 3, 1},                           // SACK-permitted
      {5, 2},                              // SACK without a block
      {5, 9, 0, 0, 0, 0, 0, 0, 0},         //
      {5, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0},  //
      {8, 9, 0, 0, 0, 0, 0, 0, 0},         // timestamps
      {8, 10, 0, 0, 0, 0, 0, 0, 0},        //
      {77, 0, 1, 1},                       // an unknown kind
      {77, 200, 1, 1},                     //
  };
  for (const Bytes& fault : faults) {
    Bytes bytes = {2, 4, 0x01, 0x00};
    bytes.insert(bytes.end(), fault.begin(), fault.end());
    TcpOptions options;
    EXPECT_FALSE(parse_tcp_options(bytes, options)) << testing::PrintToString(fault);
    EXPECT_EQ(options.mss, 256);
  }
  Bytes five_blocks = {5, 42};
  five_blocks.resize(42);
  TcpOptions options;
  EXPECT_FALSE(parse_tcp_options(five_blocks, options));
}

}  // namespace
}  // namespace understudy::wire
