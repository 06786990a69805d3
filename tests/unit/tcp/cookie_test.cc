#include "dataplane/tcp/cookie.h"

#include <gtest/gtest.h>

#include "common/random.h"

namespace understudy::tcp {
namespace {

const Secret kSecret{{1, 2, 3}};
const FlowKey kFlow{IpAddress::v4(0x0a0a000a), IpAddress::v4(0x0a0a0064), PortNumber(80), PortNumber(40000)};
constexpr uint64_t kNow = 1'000 * kCookieSlotUs;

TEST(Cookie, OptionsComeBackRoundedDown) {
  struct Case {
    std::optional<uint16_t> mss;
    uint16_t mss_read;
    std::optional<uint8_t> shift, shift_read;
  };
  const Case cases[] = {{std::nullopt, 536, std::nullopt, std::nullopt},
                        {1, 64, 0, 0},
                        {535, 64, 1, 0},
                        {536, 536, 2, 2},
                        {1219, 536, 3, 2},
                        {1220, 1220, 5, 4},
                        {1399, 1360, 6, 6},
                        {1440, 1440, 7, 7},
                        {1459, 1452, 9, 8},
                        {1460, 1460, 14, 10},
                        {9000, 1460, 255, 10}};
  for (const Case& c : cases)
    for (const bool sack : {false, true}) {
      wire::TcpOptions offered;
      offered.mss = c.mss;
      offered.window_scale = c.shift;
      offered.sack_permitted = sack;
      const Seq cookie = make_cookie(kSecret, kFlow, Seq(77), offered, kNow);
      const auto read = read_cookie(kSecret, kFlow, Seq(77), cookie, kNow);
      ASSERT_TRUE(read.has_value());
      EXPECT_EQ(read->mss, c.mss_read);
      EXPECT_EQ(read->window_scale, c.shift_read);
      EXPECT_EQ(read->sack, sack);
    }
}

TEST(Cookie, HoldsForItsSlotAndTheNext) {
  const Seq cookie = make_cookie(kSecret, kFlow, Seq(77), {}, kNow + kCookieSlotUs - 1);
  EXPECT_TRUE(read_cookie(kSecret, kFlow, Seq(77), cookie, kNow + kCookieSlotUs - 1));
  EXPECT_TRUE(read_cookie(kSecret, kFlow, Seq(77), cookie, kNow + 2 * kCookieSlotUs - 1));
  for (uint64_t slots = 2; slots < 40; ++slots)
    EXPECT_FALSE(read_cookie(kSecret, kFlow, Seq(77), cookie, kNow + slots * kCookieSlotUs)) << slots;
  EXPECT_FALSE(read_cookie(kSecret, kFlow, Seq(77), cookie, kNow - 1)) << "made in the future";
  EXPECT_FALSE(read_cookie(kSecret, kFlow, Seq(77), Seq(0xffffff01), 0)) << "before the first slot";
}

TEST(Cookie, BelongsToOneFlowOneNumberAndOneSecret) {
  const Seq cookie = make_cookie(kSecret, kFlow, Seq(77), {}, kNow);
  FlowKey other = kFlow;
  other.remote_port = PortNumber(40001);
  EXPECT_FALSE(read_cookie(kSecret, other, Seq(77), cookie, kNow));
  EXPECT_FALSE(read_cookie(kSecret, kFlow, Seq(78), cookie, kNow));
  EXPECT_FALSE(read_cookie(Secret{{1, 2, 4}}, kFlow, Seq(77), cookie, kNow));
}

TEST(Cookie, GuessesFail) {
  // One in 2^24: of 2^18 guesses 1/64 succeed on average; more than 4 would be a broken hash.
  Random random(3);
  int hits = 0;
  for (int i = 0; i < 1 << 18; ++i)
    hits += read_cookie(kSecret, kFlow, Seq(static_cast<uint32_t>(random.next())),
                        Seq(static_cast<uint32_t>(random.next())), kNow)
                .has_value();
  EXPECT_LE(hits, 4);
}

}  // namespace
}  // namespace understudy::tcp
