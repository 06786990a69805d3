// What a receiver says: selective acknowledgements (RFC 2018), duplicates (RFC 2883), and where its window
// ends.
#include <gtest/gtest.h>

#include "tests/conformance/script.h"

namespace understudy::conformance {
namespace {

TEST(SelectiveAcknowledgement, BlocksStandInTheOrderOfTheirNews) {  // RFC 2018 section 4
  Script s(plain_settings());
  s.establish();
  s.arrives(". 201:301 ack 1");
  s.arrives(". 401:501 ack 1");
  s.arrives(". 601:701 ack 1");
  s.left();
  s.arrives(". 801:901 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 1 sack 801:901 sack 601:701 sack 401:501 sack 201:301");
  s.arrives(". 301:351 ack 1");  // its block is the news
  EXPECT_EQ(s.left(), ". 1:1 ack 1 sack 201:351 sack 801:901 sack 601:701 sack 401:501");
  s.arrives(". 1001:1101 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 1 sack 1001:1101 sack 201:351 sack 801:901 sack 601:701");
}

TEST(SelectiveAcknowledgement, OfASegmentThatCameTwice) {  // RFC 2883 section 4.1
  Script s(plain_settings());
  s.establish();
  s.arrives(". 1:101 ack 1");
  s.left();
  s.arrives(". 1:101 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 101 sack 1:101");
  s.arrives(". 101:201 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 201") << "it is said once";
}

TEST(SelectiveAcknowledgement, OfAPartThatCameTwice) {  // RFC 2883 section 4.2
  Script s(plain_settings());
  s.establish();
  s.arrives(". 1:101 ack 1");
  s.arrives(". 201:301 ack 1");
  s.left();
  s.arrives(". 51:201 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 301 sack 51:101");
}

TEST(SelectiveAcknowledgement, OfADuplicateAboveAGap) {  // RFC 2883 section 4.1, its third example
  Script s(plain_settings());
  s.establish();
  s.arrives(". 201:301 ack 1");
  s.left();
  s.arrives(". 201:301 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 1 sack 201:301 sack 201:301");
  s.arrives(". 251:351 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 1 sack 251:301 sack 201:351");
}

TEST(SelectiveAcknowledgement, WithoutThePermissionNothingIsSaid) {
  Script s(plain_settings());
  s.establish("mss 1000");
  s.arrives(". 1:101 ack 1");
  s.arrives(". 1:101 ack 1");
  s.left();
  s.arrives(". 51:201 ack 1");
  EXPECT_EQ(s.left(), ". 1:1 ack 201");
}

// RFC 9293 section 3.10.7.4: the window ends before its right edge, also for a reset.
TEST(ReceiveWindow, AResetAtItsRightEdgeIsOutside) {
  Script s(plain_settings());
  s.establish();
  s.arrives("R 65536:65536");
  EXPECT_EQ(s.left(), "");
  EXPECT_EQ(s.where(), "ESTABLISHED");
}

}  // namespace
}  // namespace understudy::conformance
