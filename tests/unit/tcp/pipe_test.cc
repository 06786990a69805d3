#include "dataplane/tcp/pipe.h"

#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/service/stream_applications.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/segment_bench.h"

namespace understudy::tcp {
namespace {

class PipeTest : public ::testing::Test {
 protected:
  PipeTest() : store_({.pipes = 4, .chunks = 64, .pinned_max = 1 << 20}, test_mbuf_pool()) {}
  uint32_t chunk_at(uint64_t begin, std::vector<uint8_t> bytes) {
    rte_mbuf* mbuf = mbuf_from(bytes);
    return store_.make_chunk(mbuf, mbuf->data_off, static_cast<uint16_t>(bytes.size()), begin);
  }
  std::vector<uint8_t> read(const Pipe& pipe, uint64_t offset, uint32_t length) {
    std::vector<uint8_t> bytes(length);
    ReadCursor cursor;
    store_.copy_out(pipe, offset, length, bytes.data(), cursor);
    return bytes;
  }
  PipeStore store_;
};

TEST_F(PipeTest, AppendsTrimsWhatIsOldAndFreesWhatIsAcknowledged) {
  const unsigned before = test_mbufs_in_use();
  const uint32_t index = store_.create();
  Pipe& pipe = store_[index];
  store_.append(pipe, chunk_at(0, {1, 2, 3, 4}));
  store_.append(pipe, chunk_at(2, {3, 4, 5, 6}));  // its first half is known
  EXPECT_EQ(pipe.tail, 6U);
  EXPECT_EQ(read(pipe, 0, 6), (std::vector<uint8_t>{1, 2, 3, 4, 5, 6}));
  store_.append(pipe, chunk_at(1, {2, 3}));  // wholly known
  EXPECT_EQ(pipe.tail, 6U);
  store_.acknowledge(pipe, 5);
  EXPECT_EQ(pipe.held(), 1U);
  EXPECT_EQ(read(pipe, 5, 1), (std::vector<uint8_t>{6}));
  store_.release(index);
  EXPECT_EQ(test_mbufs_in_use(), before);
  EXPECT_EQ(store_.pinned(), 0U);
}

TEST_F(PipeTest, BytesAcknowledgedBeforeTheyArriveAreNotKept) {
  const uint32_t index = store_.create();
  Pipe& pipe = store_[index];
  store_.append(pipe, chunk_at(0, {1, 2}));
  store_.acknowledge(pipe, 5);  // the former owner had sent up to 5
  EXPECT_EQ(pipe.held(), 0U);
  store_.append(pipe, chunk_at(2, {3, 4}));
  EXPECT_EQ(pipe.tail, 4U);
  EXPECT_EQ(pipe.first, kNone) << "nothing is held";
  store_.append(pipe, chunk_at(4, {5, 6, 7}));
  EXPECT_EQ(pipe.held(), 2U);
  EXPECT_EQ(read(pipe, 5, 2), (std::vector<uint8_t>{6, 7}));
  store_.release(index);
}

TEST_F(PipeTest, SmallRunsShareOneBufferAndLongOnesStayWhereTheyAre) {
  const unsigned before = test_mbufs_in_use();
  const uint32_t index = store_.create();
  Pipe& pipe = store_[index];
  for (uint64_t i = 0; i < 20; ++i)
    store_.append(pipe, chunk_at(i * 10, std::vector<uint8_t>(10, static_cast<uint8_t>(i))));
  EXPECT_EQ(test_mbufs_in_use(), before + 1);
  store_.append(pipe, chunk_at(200, std::vector<uint8_t>(1400, 9)));
  EXPECT_EQ(test_mbufs_in_use(), before + 2);
  EXPECT_EQ(read(pipe, 195, 10), (std::vector<uint8_t>{19, 19, 19, 19, 19, 9, 9, 9, 9, 9}));
  store_.release(index);
  EXPECT_EQ(test_mbufs_in_use(), before);
}

TEST_F(PipeTest, SequentialReadsThroughTheCursorSeeEveryByte) {
  const uint32_t index = store_.create();
  Pipe& pipe = store_[index];
  std::vector<uint8_t> bytes(30000);
  std::iota(bytes.begin(), bytes.end(), 0);
  ASSERT_TRUE(store_.append_bytes(pipe, bytes));
  ReadCursor cursor;
  std::vector<uint8_t> got(bytes.size());
  for (uint32_t at = 0; at < bytes.size();) {
    const uint32_t take = std::min<uint32_t>(701, static_cast<uint32_t>(bytes.size()) - at);
    store_.copy_out(pipe, at, take, got.data() + at, cursor);
    at += take;
    if (at % 3 == 0) store_.acknowledge(pipe, at);  // the cursor's chunk may go
  }
  EXPECT_EQ(got, bytes);
  store_.release(index);
}

// A connection for which there is one pipe left, and not two, is refused, and the one is there for the next.
TEST(GivePipes, TheFirstGoesWithItsLegWhenThereIsNoSecond) {
  EngineSettings settings;
  settings.legs = settings.active_legs = 16;
  SegmentBench bench(settings);
  service::Discard discard;
  bench.serve(9, discard);
  std::vector<uint32_t> taken;
  for (uint32_t pipe = bench.engine.create_pipe(); pipe != kNone; pipe = bench.engine.create_pipe())
    taken.push_back(pipe);
  const auto flow = SegmentBench::flow(40000, SegmentBench::kStranger, 9);
  bench.engine.pipes().release(taken.back());
  bench.connect(flow, Seq(1));
  EXPECT_EQ(bench.leg(flow), nullptr);
  EXPECT_EQ(bench.engine.legs().size(), 0U);
  taken.back() = bench.engine.create_pipe();
  EXPECT_NE(taken.back(), kNone);
  EXPECT_EQ(bench.engine.create_pipe(), kNone);
  bench.engine.pipes().release(taken[0]);
  bench.engine.pipes().release(taken[1]);
  bench.connect(flow, Seq(1));
  EXPECT_NE(bench.leg(flow), nullptr);
}

}  // namespace
}  // namespace understudy::tcp
