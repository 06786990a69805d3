// The link and the device: carrier, restart, what a socket keeps, bursts, and waking a sleeper.

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <sys/socket.h>

#include "dataplane/dpdk/network_interface.h"
#include "dataplane/dpdk/port_waiter.h"
#include "tests/ports/fixture.h"

namespace understudy::ports {
namespace {

using Clock = std::chrono::steady_clock;

bool is_xdp_socket(int descriptor) {
  int family = 0;
  socklen_t length = sizeof family;
  return getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0 && family == AF_XDP;
}

double microseconds(Clock::duration span) {
  return std::chrono::duration<double, std::micro>(span).count();
}

class LinkTest : public PortTest {
 protected:
  void SetUp() override {
    if (!on_interface()) GTEST_SKIP() << "no interface under this kind of port";
    PortTest::SetUp();
  }
  void TearDown() override {
    if (!on_interface()) return;
    set_interface_up(bench().options.interface_name, true);
    set_interface_up(bench().options.peer, true);
    await_carrier(true);
    PortTest::TearDown();
  }
  bool await_carrier(bool up) {
    for (int i = 0; i < 1000 && port().carrier() != up; ++i) std::this_thread::sleep_for(1ms);
    return port().carrier() == up;
  }
  void cut() {
    set_interface_up(bench().options.peer, false);
    ASSERT_TRUE(await_carrier(false));
  }
  void mend() {
    set_interface_up(bench().options.peer, true);
    ASSERT_TRUE(await_carrier(true));
  }
  void transmit_many(uint32_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) transmit(make_frame(first + i, 100));
  }
  std::vector<uint32_t> arrivals(std::chrono::milliseconds patience) {
    std::vector<uint32_t> numbers;
    while (auto frame = peer().receive(patience)) numbers.push_back(frame_number(*frame));
    return numbers;
  }
};

TEST_F(LinkTest, CarrierIsWatched) {
  EXPECT_TRUE(port().carrier());
  cut();
  EXPECT_FALSE(port().carrier());
  mend();
  EXPECT_TRUE(port().carrier());
}

TEST_F(LinkTest, TransmittingWithoutCarrierNeitherBlocksNorLeaks) {
  cut();
  const auto start = Clock::now();
  transmit_many(1000, 6000);  // more than any ring of ours holds
  const double took_ms = microseconds(Clock::now() - start) / 1000;
  EXPECT_LT(took_ms, 2000);
  mend();
  const size_t late = arrivals(kShort).size();
  transmit_many(9000, 1);
  const std::vector<uint32_t> after = arrivals(kShort);
  report(fmt::format(
      "6000 frames without carrier took {:.1f} ms; kept and sent later: {} by itself, {} with the next frame",
      took_ms, late, after.empty() ? 0 : after.size() - (after.back() == 9000)));
  ASSERT_TRUE(port().reopen().ok());
  drain();
  transmit_many(9001, 1);
  EXPECT_EQ(arrivals(kShort), std::vector<uint32_t>{9001});
}

TEST_F(LinkTest, ReopenForgetsWhatTheSocketKept) {
  cut();
  transmit_many(2000, 100);
  mend();
  ASSERT_TRUE(port().reopen().ok());
  transmit_many(2999, 1);
  EXPECT_EQ(arrivals(kShort), std::vector<uint32_t>{2999});
}

TEST_F(LinkTest, ReopenWithoutCarrierForgetsToo) {
  cut();
  transmit_many(3000, 100);
  const Status reopened = port().reopen();
  ASSERT_TRUE(reopened.ok()) << reopened.message();
  mend();
  transmit_many(3999, 1);
  EXPECT_EQ(arrivals(kShort), std::vector<uint32_t>{3999});
}

TEST_F(LinkTest, ReopenForgetsWhatWasReceived) {
  for (uint32_t i = 0; i < 100; ++i) ASSERT_TRUE(peer().send(make_frame(4000 + i, 100)));
  ASSERT_TRUE(port().reopen().ok());
  EXPECT_FALSE(receive_frame(port(), kShort));
  const Frame fresh = make_frame(4999, 100);
  ASSERT_TRUE(peer().send(fresh));
  EXPECT_EQ(receive_frame(port(), kPatience), fresh);
}

// The driver of af_xdp calls send() until everything is taken. Were there less room in the socket than in its
// ring, a burst that softirqs are slow to carry on would hold the worker.
TEST_F(LinkTest, ASocketHasRoomForAWholeRingOfFrames) {
  if (port().poll_descriptor() < 0 || !is_xdp_socket(port().poll_descriptor()))
    GTEST_SKIP() << "only af_xdp's driver waits for room";
  for (const char* when : {"at first", "reopened"}) {
    int bytes = 0;
    socklen_t length = sizeof bytes;
    ASSERT_EQ(getsockopt(port().poll_descriptor(), SOL_SOCKET, SO_SNDBUF, &bytes, &length), 0);
    EXPECT_GE(bytes, 2048 * 4096) << when;
    ASSERT_TRUE(port().reopen().ok());
  }
}

TEST_F(LinkTest, TheInterfaceMayGoDownAndComeBack) {
  set_interface_up(bench().options.interface_name, false);
  EXPECT_FALSE(port().carrier());
  transmit_many(5000, 10);
  auto wakeup = Wakeup::create();
  ASSERT_TRUE(wakeup.ok());
  PortWaiter waiter(*wakeup.value());
  waiter.watch(std::vector<int>{port().poll_descriptor()});
  unsigned wakings = 0;
  for (const auto end = Clock::now() + 50ms; Clock::now() < end; ++wakings) {
    waiter.wait(10ms, [] { return false; });
    (void)receive_frame(port(), 0ms);
  }
  EXPECT_LT(wakings, 20u) << "a dead interface must not keep the sleeper awake";
  set_interface_up(bench().options.interface_name, true);
  ASSERT_TRUE(await_carrier(true));
  ASSERT_TRUE(port().reopen().ok());
  drain();
  const Frame out = make_frame(5999, 100), in = make_frame(5998, 100);
  transmit(out);
  EXPECT_EQ(peer().receive(kPatience), out);
  ASSERT_TRUE(peer().send(in));
  EXPECT_EQ(receive_frame(port(), kPatience), in);
}

TEST_F(PortTest, ReopenLeaksNothing) {
  if (bench().options.peer == "self" || !on_interface())
    GTEST_SKIP() << "nothing of this kind is kept by a kernel";
  ASSERT_TRUE(port().reopen().ok());
  drain();
  const size_t descriptors = open_descriptors().size();
  const uint32_t buffers = pool_statistics(pool()).in_use;
  std::vector<double> took_ms;
  for (uint32_t i = 0; i < 20; ++i) {
    const auto start = Clock::now();
    const Status reopened = port().reopen();
    took_ms.push_back(microseconds(Clock::now() - start) / 1000);
    ASSERT_TRUE(reopened.ok()) << reopened.message();
    const Frame out = make_frame(i, 100), in = make_frame(i + 100, 100);
    transmit(out);
    ASSERT_EQ(peer().receive(kPatience), out) << "after " << i + 1;
    ASSERT_TRUE(peer().send(in));
    ASSERT_EQ(receive_frame(port(), kPatience), in) << "after " << i + 1;
  }
  std::ranges::sort(took_ms);
  const uint32_t kept = pool_statistics(pool()).in_use;
  report(fmt::format("reopen: median {:.1f} ms, longest {:.1f} ms; buffers in use {} before, {} after 20",
                     took_ms[10], took_ms.back(), buffers, kept));
  EXPECT_EQ(open_descriptors().size(), descriptors);
  EXPECT_LE(kept, buffers + 64);
}

TEST_F(PortTest, ABurstIsTakenWithoutLossWhileTheReaderPolls) {
  if (!on_interface()) GTEST_SKIP() << "no other thread at the other end";
  constexpr uint32_t kBurst = 2000;
  const uint64_t missed = port().statistics().receive_missed;
  std::jthread sender([&] {
    for (uint32_t i = 0; i < kBurst; ++i) peer().send(make_frame(i, 1000));
  });
  uint32_t received = 0;
  while (received < kBurst && receive_frame(port(), 200ms)) ++received;
  EXPECT_EQ(received, kBurst);
  EXPECT_EQ(port().statistics().receive_missed, missed);
}

TEST_F(PortTest, ABurstWaitsForAReaderThatIsLate) {
  if (!on_interface()) GTEST_SKIP() << "the ring is the device's own";
  constexpr uint32_t kBurst = 2000;
  const uint64_t missed = port().statistics().receive_missed;
  for (uint32_t i = 0; i < kBurst; ++i) ASSERT_TRUE(peer().send(make_frame(i, 1000)));
  uint32_t received = 0;
  while (receive_frame(port(), 50ms)) ++received;
  const uint64_t lost = port().statistics().receive_missed - missed;
  report(fmt::format("a burst of {} before the first receive: {} received, {} counted as missed", kBurst,
                     received, lost));
  // The kernel's own ring on the way to an XDP socket is what it is; what is lost must be lost whole.
  const bool whole_burst_fits = port().device().kind == DeviceKind::af_packet && port().mtu() < 2000;
  EXPECT_GE(received, whole_burst_fits ? kBurst : 256u);
}

TEST_F(PortTest, TransmittedBurstsArriveInOrder) {
  constexpr uint32_t kBursts = 64, kEach = 32;
  for (uint32_t burst = 0; burst < kBursts; ++burst) {
    rte_mbuf* frames[kEach];
    for (uint32_t i = 0; i < kEach; ++i) frames[i] = mbuf_of(pool(), make_frame(burst * kEach + i, 1000));
    port().transmit(frames);
    for (uint32_t i = 0; i < kEach; ++i) {
      const auto frame = peer().receive(kPatience);
      ASSERT_TRUE(frame) << "burst " << burst << " frame " << i;
      ASSERT_EQ(frame_number(*frame), burst * kEach + i);
    }
  }
}

TEST_F(PortTest, AFullTransmitRingIsBoundedAndCounted) {
  constexpr uint32_t kFrames = 2000;
  if (!on_interface()) GTEST_SKIP() << "the ring is the device's own";
  const uint64_t dropped = transmit_dropped();
  std::vector<rte_mbuf*> frames;
  for (uint32_t i = 0; i < kFrames; ++i) frames.push_back(mbuf_of(pool(), make_frame(i, 1000)));
  const auto start = Clock::now();
  port().transmit(frames);
  const double took = microseconds(Clock::now() - start);
  uint32_t arrived = 0;
  while (peer().receive(50ms)) ++arrived;
  const uint64_t refused = transmit_dropped() - dropped;
  report(fmt::format("{} frames in one call: {} arrived, {} refused and counted, {:.0f} us", kFrames, arrived,
                     refused, took));
  EXPECT_EQ(arrived + refused, kFrames);
}

TEST_F(PortTest, TheDescriptorWakesASleeper) {
  if (!on_interface()) GTEST_SKIP() << "no descriptor: this kind is polled";
  ASSERT_GE(port().poll_descriptor(), 0);
  auto wakeup = Wakeup::create();
  ASSERT_TRUE(wakeup.ok());
  PortWaiter waiter(*wakeup.value());
  waiter.watch(std::vector<int>{port().poll_descriptor()});
  EXPECT_EQ(waiter.wait(20ms, [] { return false; }), Woken::timeout);
  std::vector<double> latencies;
  for (uint32_t i = 0; i < 200; ++i) {
    std::atomic<Clock::rep> sent{0};
    std::jthread sender([&] {
      std::this_thread::sleep_for(1ms);
      sent.store(Clock::now().time_since_epoch().count());
      peer().send(make_frame(i, 100));
    });
    const Woken woken = waiter.wait(1s, [] { return false; });
    const Clock::time_point now = Clock::now();
    ASSERT_EQ(woken, Woken::frames) << i;
    latencies.push_back(microseconds(now.time_since_epoch() - Clock::duration(sent.load())));
    ASSERT_TRUE(receive_frame(port(), kPatience)) << i;
  }
  std::ranges::sort(latencies);
  report(fmt::format("waking by descriptor: median {:.0f} us, 95th {:.0f} us, longest {:.0f} us",
                     latencies[100], latencies[190], latencies.back()));
  EXPECT_LT(latencies[100], 2000);
}

}  // namespace
}  // namespace understudy::ports
