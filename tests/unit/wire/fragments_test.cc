// IP packets put together from their fragments: in any order, within bounds, and never from what overlaps.
#include "dataplane/wire/fragments.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "common/random.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/frame.h"
#include "dataplane/wire/ipv4.h"
#include "dataplane/wire/ipv6.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/sample_frames.h"

namespace understudy::wire {
namespace {

using Bytes = std::vector<uint8_t>;
constexpr size_t kEthernet = 14;

Bytes payload(size_t length) {
  Bytes bytes(length);
  for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 256);
  return bytes;
}

class Fragments : public testing::TestWithParam<bool> {  // IPv4?
 protected:
  Bytes whole(size_t length) {
    return GetParam() ? sample_tcp_frame({}, payload(length)) : sample_tcp6_frame({}, payload(length));
  }
  // Bytes [begin, end) of what follows the IP header.
  Bytes piece(const Bytes& frame, size_t begin, size_t end, uint32_t identification = 77) {
    const size_t header = GetParam() ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
    const Bytes data(frame.begin() + static_cast<ptrdiff_t>(kEthernet + header), frame.end());
    const bool more = end < data.size();
    Bytes out(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(kEthernet + header));
    if (GetParam()) {
      Ipv4Header ip;
      std::memcpy(&ip, &out[kEthernet], sizeof ip);
      ip.identification.set(static_cast<uint16_t>(identification));
      ip.flags_and_offset.set(static_cast<uint16_t>((more ? 0x2000 : 0) | begin / 8));
      ip.total_length.set(static_cast<uint16_t>(sizeof ip + end - begin));
      ip.checksum.set(0);
      std::memcpy(&out[kEthernet], &ip, sizeof ip);
      ip.checksum.set(checksum_finish(checksum_add(0, {&out[kEthernet], sizeof ip})));
      std::memcpy(&out[kEthernet], &ip, sizeof ip);
    } else {
      Ipv6Header ip;
      std::memcpy(&ip, &out[kEthernet], sizeof ip);
      Ipv6FragmentHeader fragment{};
      fragment.next_header = ip.next_header;
      fragment.offset_and_more.set(static_cast<uint16_t>(begin | (more ? 1 : 0)));
      fragment.identification.set(identification);
      ip.next_header = kFragmentHeader;
      ip.payload_length.set(static_cast<uint16_t>(sizeof fragment + end - begin));
      std::memcpy(&out[kEthernet], &ip, sizeof ip);
      const auto* from = reinterpret_cast<const uint8_t*>(&fragment);
      out.insert(out.end(), from, from + sizeof fragment);
    }
    out.insert(out.end(), data.begin() + static_cast<ptrdiff_t>(begin),
               data.begin() + static_cast<ptrdiff_t>(end));
    return out;
  }
  // What comes out, if anything does.
  Bytes add(const Bytes& frame) {
    rte_mbuf* mbuf = mbuf_from(frame);
    EXPECT_TRUE(FragmentTable::is_fragment(mbuf));
    rte_mbuf* out = table_->add(mbuf, now_);
    if (out == nullptr) return {};
    EXPECT_TRUE(std::holds_alternative<TcpSegment>(parse_frame(out)))
        << "checksums and lengths are those of the whole";
    const Bytes bytes = bytes_of(out);
    rte_pktmbuf_free(out);
    return bytes;
  }
  Bytes transport(const Bytes& frame) {
    const size_t header = GetParam() ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
    return frame.empty() ? Bytes()
                         : Bytes(frame.begin() + static_cast<ptrdiff_t>(kEthernet + header), frame.end());
  }
  void SetUp() override { in_use_ = test_mbufs_in_use(); }
  void TearDown() override {
    table_.reset();
    EXPECT_EQ(test_mbufs_in_use(), in_use_) << "a fragment leaks";
  }

  unsigned in_use_ = 0;
  Instant now_{100s};
  std::unique_ptr<FragmentTable> table_ = std::make_unique<FragmentTable>(
      FragmentTable::Settings{.packets = 4, .timeout = 15s}, test_mbuf_pool());
};

TEST_P(Fragments, MakeTheirPacketInEveryOrder) {
  const Bytes frame = whole(480);  // 500 behind IP
  const std::vector<Bytes> pieces = {piece(frame, 0, 128), piece(frame, 128, 256), piece(frame, 256, 400),
                                     piece(frame, 400, 500)};
  std::vector<size_t> order = {0, 1, 2, 3};
  uint64_t count = 0;
  do {
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(add(pieces[order[i]]).empty());
    EXPECT_EQ(transport(add(pieces[order[3]])), transport(frame));
    EXPECT_EQ(table_->counters().reassembled, ++count);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(table_->counters().dropped(), 0U);
}

TEST_P(Fragments, ThatOverlapEndTheirPacket) {
  const Bytes frame = whole(480);
  EXPECT_TRUE(add(piece(frame, 0, 128)).empty());
  EXPECT_TRUE(add(piece(frame, 120, 256)).empty());
  EXPECT_TRUE(add(piece(frame, 128, 256)).empty());
  EXPECT_TRUE(add(piece(frame, 256, 500)).empty()) << "what follows of it is dropped, too";
  EXPECT_EQ(table_->counters().overlapping, 4U);
  now_ += 15s;
  EXPECT_TRUE(add(piece(frame, 0, 256)).empty());
  EXPECT_EQ(transport(add(piece(frame, 256, 500))), transport(frame)) << "in time the number is free again";
}

TEST_P(Fragments, ThatDifferOverTheirEndEndTheirPacket) {
  const Bytes frame = whole(480);
  const Bytes shorter = whole(236);  // 256 behind IP
  EXPECT_TRUE(add(piece(frame, 256, 500)).empty());
  EXPECT_TRUE(add(piece(shorter, 128, 256)).empty()) << "another last one";
  EXPECT_TRUE(add(piece(frame, 0, 256)).empty());
  EXPECT_EQ(table_->counters().overlapping, 3U);
  EXPECT_EQ(table_->counters().reassembled, 0U);
}

TEST_P(Fragments, ThatComeTwiceAreOne) {
  const Bytes frame = whole(480);
  EXPECT_TRUE(add(piece(frame, 0, 256)).empty());
  EXPECT_TRUE(add(piece(frame, 0, 256)).empty());
  EXPECT_EQ(transport(add(piece(frame, 256, 500))), transport(frame));
  Bytes forged = piece(frame, 0, 256);
  EXPECT_TRUE(add(piece(frame, 0, 256)).empty());
  forged.back() ^= 1;
  EXPECT_TRUE(add(forged).empty());
  EXPECT_TRUE(add(piece(frame, 256, 500)).empty()) << "two that say different things overlap";
}

TEST_P(Fragments, OfDifferentPacketsAreToldApart) {
  const Bytes frame = whole(480);
  EXPECT_TRUE(add(piece(frame, 0, 256, 1)).empty());
  EXPECT_TRUE(add(piece(frame, 256, 500, 2)).empty());
  EXPECT_EQ(transport(add(piece(frame, 256, 500, 1))), transport(frame));
  EXPECT_EQ(transport(add(piece(frame, 0, 256, 2))), transport(frame));
}

TEST_P(Fragments, WaitSoLongAndNotMoreThanSoMany) {
  const Bytes frame = whole(480);
  for (uint32_t i = 0; i < 6; ++i) {
    EXPECT_TRUE(add(piece(frame, 0, 256, i)).empty());
    now_ += 1s;
  }
  EXPECT_EQ(table_->packets(), 4U);
  EXPECT_EQ(table_->counters().late, 2U) << "the oldest made way";
  EXPECT_EQ(transport(add(piece(frame, 256, 500, 5))), transport(frame));
  now_ += 15s;
  table_->expire(now_);
  EXPECT_EQ(table_->packets(), 0U);
  EXPECT_EQ(table_->counters().late, 5U);
}

TEST_P(Fragments, TooManyOrTooLargeAreDropped) {
  const Bytes frame = whole(480);
  for (size_t i = 0; i < 17; ++i) EXPECT_TRUE(add(piece(frame, i * 8, i * 8 + 8)).empty());
  EXPECT_EQ(table_->counters().large, 17U);
  const Bytes large = whole(9180);  // with its headers more than a buffer holds
  EXPECT_TRUE(add(piece(large, 0, 4096, 2)).empty());
  EXPECT_TRUE(add(piece(large, 4096, 9200, 2)).empty());
  EXPECT_EQ(table_->counters().large, 19U);
}

TEST_P(Fragments, MalformedOnesAreDropped) {
  const Bytes frame = whole(480);
  Bytes cut = piece(frame, 0, 256);
  cut.resize(cut.size() - 1);
  EXPECT_TRUE(add(cut).empty());
  EXPECT_TRUE(add(piece(frame, 8, 255)).empty())
      << "not the last one, and its end is not where another one may begin";
  EXPECT_EQ(table_->counters().malformed, 2U);
}

// Whatever arrives, nothing leaks, and what comes out is what was cut up.
TEST_P(Fragments, OfRandomSizesInRandomOrderWithDamage) {
  Random random(4711);
  for (int round = 0; round < 2000; ++round) {
    const Bytes frame = whole(100 + static_cast<size_t>(random.below(900)));
    const size_t length = transport(frame).size();
    std::vector<Bytes> pieces;
    for (size_t at = 0; at < length;) {
      const size_t end = std::min(length, at + 8 * (8 + static_cast<size_t>(random.below(32))));
      pieces.push_back(piece(frame, at, end, static_cast<uint32_t>(round % 5)));
      at = end;
    }
    for (size_t i = pieces.size(); i > 1; --i)
      std::swap(pieces[i - 1], pieces[random.below(static_cast<uint32_t>(i))]);
    const bool damages = random.chance(1, 4);
    if (damages) {
      uint8_t& byte =
          pieces[random.below(static_cast<uint32_t>(pieces.size()))][kEthernet + random.below(30)];
      byte = static_cast<uint8_t>(byte ^ (1U << random.below(8)));
    }
    for (const Bytes& bytes : pieces) {
      rte_mbuf* mbuf = mbuf_from(bytes);
      if (!FragmentTable::is_fragment(mbuf)) {
        rte_pktmbuf_free(mbuf);
        continue;
      }
      if (rte_mbuf* out = table_->add(mbuf, now_)) {
        if (!damages && std::holds_alternative<TcpSegment>(parse_frame(out))) {
          EXPECT_EQ(transport(bytes_of(out)), transport(frame));
        }
        rte_pktmbuf_free(out);
      }
    }
    now_ += 20s;
  }
  EXPECT_GT(table_->counters().reassembled, 1000U);
}

INSTANTIATE_TEST_SUITE_P(Families, Fragments, testing::Bool(),
                         [](const auto& family) { return family.param ? "IPv4" : "IPv6"; });

}  // namespace
}  // namespace understudy::wire
