// Bytes that come in any order, in pieces that overlap: the stream is the same.
#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/conformance/script.h"

namespace understudy::conformance {
namespace {

void expect_whole(Script& s, const std::vector<std::string>& pieces, const std::vector<size_t>& order,
                  uint32_t bytes, std::string_view options) {
  std::string told;
  for (const size_t piece : order) told += pieces[piece] + "; ";
  s.establish(options);
  for (const size_t piece : order) s.arrives(pieces[piece] + " ack 1");
  const std::string sent = s.left();
  std::string last = sent.substr(sent.rfind('\n') == std::string::npos ? 0 : sent.rfind('\n') + 1);
  if (const size_t block = last.find(" sack "); block != std::string::npos) {
    // RFC 2883: what is behind the acknowledgement came twice.
    ASSERT_LE(std::stoul(last.substr(last.rfind(':') + 1)), bytes + 1) << told;
    last.resize(block);
  }
  ASSERT_EQ(last, ". 1:1 ack " + std::to_string(bytes + 2)) << told;
  ASSERT_EQ(s.where(), "CLOSE-WAIT") << told;
  ASSERT_EQ(s.read_right(bytes + 100), bytes) << told;
  s.close();
  s.arrives("R 402:402");
  s.left();
}

class Orders : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(Orders, EachLeadsToTheSameStream) {
  const std::vector<std::string>& pieces = GetParam();
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), 0U);
  Script s(plain_settings());
  do {
    expect_whole(s, pieces, order, 400, "mss 1000 sackok");
    expect_whole(s, pieces, order, 400, "mss 1000");
  } while (!HasFatalFailure() && std::next_permutation(order.begin(), order.end()));
}

INSTANTIATE_TEST_SUITE_P(
    Receiver, Orders,
    testing::Values(std::vector<std::string>{". 1:101", ". 101:201", ". 201:301", ". 301:401", "F. 401:401"},
                    std::vector<std::string>{". 1:151", ". 51:201", ". 151:351", ". 201:251", "F. 301:401"},
                    std::vector<std::string>{". 1:401", ". 1:201", ". 101:301", ". 201:401", "F. 401:401"},
                    std::vector<std::string>{". 1:2", ". 2:400", ". 100:300", ". 250:401", "F. 401:401"},
                    std::vector<std::string>{". 1:101", "F. 101:401", ". 51:351", ". 201:399",
                                             "F. 351:401"}));

TEST(Receiver, NothingBehindTheFinCounts) {
  Script s(plain_settings());
  s.establish();
  s.arrives("F. 1:101 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 102");
  s.arrives(". 102:202 ack 1");
  s.arrives(". 51:151 ack 1");
  EXPECT_EQ(s.read_right(1000), 100U);
}

// RFC 9293 section 3.10.7.3, fourth: "continue processing at the sixth step".
TEST(Receiver, TextAndFinOfASynAckAreTaken) {
  Script s(plain_settings());
  s.connect();
  s.left();
  s.arrives("S. 0:300 ack 1 mss 1000");
  EXPECT_EQ(s.left(), ". 1:1 ack 301");
  EXPECT_EQ(s.read_right(1000), 300U);
  Script finished(plain_settings());
  finished.connect();
  finished.left();
  finished.arrives("SF. 0:300 ack 1 mss 1000");
  EXPECT_EQ(finished.left(), ". 1:1 ack 302");
  EXPECT_EQ(finished.where(), "CLOSE-WAIT");
  EXPECT_EQ(finished.read_right(1000), 300U);
}

// The same place, for both that open at once: "queue them for processing after the ESTABLISHED state has been
// reached". The FIN is left to come again.
TEST(Receiver, TextOfASynWaitsForTheEndOfTheHandshake) {
  for (const char* syn : {"S 0:300 mss 1000", "SF 0:300 mss 1000"}) {
    Script s(plain_settings());
    s.connect();
    s.left();
    s.arrives(syn);
    EXPECT_EQ(s.left(), "S. 0:0 ack 1 mss 1460");
    EXPECT_EQ(s.read(1000), 0U);
    s.arrives(". 301:301 ack 1");
    EXPECT_EQ(s.read_right(1000), 300U);
    s.wait(100ms);
    EXPECT_EQ(s.left(), ". 1:1 ack 301");
  }
}

TEST(Receiver, TextThatComesAgainWithTheSynAckIsNotMovedByTheSyn) {
  Script s(plain_settings());
  s.connect();
  s.arrives("S 0:0 mss 1000");
  s.left();
  s.arrives("S. 0:300 ack 1 mss 1000");
  EXPECT_EQ(s.where(), "ESTABLISHED");
  EXPECT_EQ(s.read_right(1000), 300U);
}

}  // namespace
}  // namespace understudy::conformance
