// Neighbouring versions replicate to each other: what an owner of November 2026 wrote is understood, byte by
// byte, and what a newer one adds is stepped over.
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "dataplane/mirror/replica.h"
#include "dataplane/service/stream_applications.h"
#include "tests/support/segment_bench.h"

namespace understudy::mirror {
namespace {

using Bytes = std::vector<uint8_t>;

// The stream of a tally connection that joined in the middle: mark; open, with all that was agreed; the
// answer to its first line; its state; then a second line, the last one.
constexpr std::string_view kStreamOf2026 =
    "000c06000000000000000000008c01000000000000001b5e00081b5e2713a4cb2713a4cd0000fa000000000002040000"
    "ffffffff00000000000000000000ffff0a0a000a00000000000000000000ffff0a0a006400509c40000100002713a4ca"
    "00001b582315f53b007fff80000000000000000000000005000000000000000500000000000000000000000000000000"
    "0578070401000000000a040000000000340a002403000000000000001b5e00081b5e2713a4cb2713a4cd0000fa000000"
    "0000020c0000000c06000100000000000001002703000000000000001b6200081b622713a4cb2713a4d00000fa000000"
    "0000070f0003776f0a";
constexpr uint32_t kIss = 655598794;

Bytes bytes_of(std::string_view hex) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

std::vector<Bytes> records_of(std::span<const uint8_t> stream) {
  std::vector<Bytes> records;
  RecordReader reader(stream);
  while (const auto record = reader.next()) records.emplace_back(record->begin(), record->end());
  EXPECT_FALSE(reader.malformed());
  return records;
}

void set_length(Bytes& record) {
  const be16_t length = static_cast<uint16_t>(record.size());
  std::memcpy(record.data(), &length, sizeof length);
}

// A standby that hears an owner's records.
struct Standby {
  Standby() : replica(bench.engine, 0) {
    bench.serve(80, tally);
    bench.engine.group(0).always_local = bench.engine.group(0).voice = false;
    replica.on_open(1, bench.now);
  }
  bool understands(std::span<const uint8_t> stream) { return replica.on_frame(stream, nullptr, bench.now); }
  const tcp::Connection* connection() { return bench.leg(SegmentBench::flow(40000)); }
  void take_over() {
    replica.release(0);
    bench.engine.take_over(0, Epoch{2, NodeId(1)}, bench.now, 100ms);
  }

  SegmentBench bench;
  service::Tally tally;
  Replica replica;
};

// Applies the stream at a standby, which takes over, and looks at what the connection does then.
void expect_understood(std::span<const uint8_t> stream) {
  Standby standby;
  ASSERT_TRUE(standby.understands(stream));
  EXPECT_EQ(standby.replica.state(), Replica::State::synced);
  ASSERT_EQ(standby.replica.legs(), 1U);
  const tcp::Connection* c = standby.connection();
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(c->state, tcp::State::last_ack);
  EXPECT_EQ(c->snd.iss, Seq(kIss));
  EXPECT_EQ(c->snd.una, Seq(kIss + 1));
  EXPECT_EQ(c->rcv.nxt, Seq(7001 + 8 + 1));
  EXPECT_EQ(c->snd.wnd, 500U << 7);
  EXPECT_EQ(c->mss_agreed, 1400);
  EXPECT_TRUE(c->window_scaling);
  EXPECT_FALSE(c->timestamps);
  standby.take_over();
  standby.bench.run_for(5s);
  Bytes said;
  bool finished = false;
  for (const SegmentBench::Sent& sent : standby.bench.sent) {
    if (sent.segment.seq == Seq(kIss + 1) && !sent.payload.empty()) said = sent.payload;
    finished |= sent.segment.has(wire::kFin);
    EXPECT_EQ(sent.segment.ack, Seq(7010));
  }
  EXPECT_EQ(said, (Bytes{'4', '\n', '8', '\n'}));
  EXPECT_TRUE(finished);
}

TEST(OlderRecords, AreUnderstood) {
  expect_understood(bytes_of(kStreamOf2026));
}

// After the stream above: its peer has been silent for two minutes, and has left two probes unanswered.
constexpr std::string_view kHeard = "00100e00000000000001d4c000780200";

TEST(Heard, IsUnderstood) {
  Standby standby;
  ASSERT_TRUE(standby.understands(bytes_of(std::string(kStreamOf2026) + std::string(kHeard))));
  const tcp::Connection* c = standby.connection();
  ASSERT_NE(c, nullptr);
  const tcp::Silence silence = standby.bench.engine.silence_of(*c, standby.bench.now);
  EXPECT_EQ(silence.unused_ms, 120'000U);
  EXPECT_EQ(silence.unanswered_s, 120U);
  EXPECT_EQ(silence.probes, 2U);
  standby.replica.mark_stale();
}

// A guess about the path (RFC 4821) that the owner has taken back, or whose time has run out, limits nothing
// at a successor, either: not even what is opened later.
TEST(PathMtu, ASuccessorForgetsWhatTheOwnerHasGivenUp) {
  Standby standby;
  ASSERT_TRUE(standby.understands(bytes_of(kStreamOf2026)));
  const tcp::Connection* c = standby.connection();
  ASSERT_NE(c, nullptr);
  AgreedRecord agreed{};
  agreed.header = {.length = sizeof agreed, .kind = static_cast<uint8_t>(RecordKind::agreed), .reserved = 0};
  agreed.leg = c->mirror_leg;
  agreed.irs = c->rcv.irs.raw();
  agreed.mss = uint16_t{1400};
  Bytes record(sizeof agreed);
  for (const uint16_t mtu : {uint16_t{1064}, uint16_t{0}}) {
    agreed.path_mtu = mtu;
    std::memcpy(record.data(), &agreed, sizeof agreed);
    ASSERT_TRUE(standby.understands(record));
    EXPECT_EQ(c->mss, mtu == 0 ? 1400 : 1024);
  }
  standby.take_over();
  const FlowKey later = SegmentBench::flow(40001);
  standby.bench.connect(later, Seq(1), {.mss = 1460}, 65535);
  ASSERT_NE(standby.bench.leg(later), nullptr);
  EXPECT_EQ(standby.bench.leg(later)->mss, 1460);
}

// Records of a fixed length may grow at their end, and there may be kinds that this version does not know.
TEST(NewerRecords, AreSteppedOver) {
  Bytes newer;
  for (Bytes record : records_of(bytes_of(kStreamOf2026))) {
    const auto kind = static_cast<RecordKind>(record[offsetof(RecordHeader, kind)]);
    if (kind == RecordKind::open || kind == RecordKind::mark) {
      record.insert(record.end(), {1, 2, 3, 4});
      set_length(record);
    }
    Bytes unknown{0, 0, 200, 0, 9, 9, 9};
    set_length(unknown);
    newer.insert(newer.end(), unknown.begin(), unknown.end());
    newer.insert(newer.end(), record.begin(), record.end());
  }
  expect_understood(newer);
}

}  // namespace
}  // namespace understudy::mirror
