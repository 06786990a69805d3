#include "dataplane/dpdk/port_waiter.h"

#include <chrono>
#include <thread>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace understudy {
namespace {

bool nothing() {
  return false;
}

class PortWaiterTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair_), 0); }
  void TearDown() override {
    close(pair_[0]);
    close(pair_[1]);
  }
  std::unique_ptr<Wakeup> wakeup_ = Wakeup::create().value();
  PortWaiter waiter_{*wakeup_};
  int pair_[2] = {-1, -1};
};

TEST_F(PortWaiterTest, TimesOut) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(waiter_.wait(2ms, nothing), Woken::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 2ms);
  EXPECT_EQ(waiter_.wait(Duration(-1), nothing), Woken::timeout);
}

TEST_F(PortWaiterTest, SeesAReadableDescriptor) {
  waiter_.watch(std::vector<int>{-1, pair_[0]});
  ASSERT_EQ(write(pair_[1], "x", 1), 1);
  EXPECT_EQ(waiter_.wait(10s, nothing), Woken::frames);
  waiter_.watch({});
  EXPECT_EQ(waiter_.wait(1ms, nothing), Woken::timeout);
}

TEST_F(PortWaiterTest, AClosedDescriptorIsSeenOnceAndThenLeftOut) {
  const int closed = dup(pair_[0]);
  waiter_.watch(std::vector<int>{closed});
  close(closed);
  EXPECT_EQ(waiter_.wait(1s, nothing), Woken::frames);
  EXPECT_EQ(waiter_.wait(1ms, nothing), Woken::timeout);
}

TEST_F(PortWaiterTest, WorkFoundAtTheLastLookEndsTheWait) {
  EXPECT_EQ(waiter_.wait(10s, [] { return true; }), Woken::rung);
}

TEST_F(PortWaiterTest, RingingAnAwakeWorkerCostsItNoSleep) {
  wakeup_->ring();  // nobody sleeps: nothing is written
  EXPECT_EQ(waiter_.wait(1ms, nothing), Woken::timeout);
}

TEST_F(PortWaiterTest, ARingDuringTheLastLookIsNotLost) {
  EXPECT_EQ(waiter_.wait(10s, [&] { return wakeup_->ring(), false; }), Woken::rung);
  EXPECT_EQ(waiter_.wait(1ms, nothing), Woken::timeout);
}

TEST_F(PortWaiterTest, ALateRingEndsOneSleepOnly) {
  EXPECT_EQ(waiter_.wait(10s, [&] { return wakeup_->ring(), true; }), Woken::rung);
  EXPECT_EQ(waiter_.wait(10s, nothing), Woken::rung);  // what the ringer wrote
  EXPECT_EQ(waiter_.wait(1ms, nothing), Woken::timeout);
}

// A producer hands over numbers one by one and rings; no hand-over may be slept through.
TEST_F(PortWaiterTest, NoRingIsLostBetweenThreads) {
  constexpr int kRounds = 20'000;
  std::atomic<int> produced{0}, consumed{0};
  std::jthread producer([&] {
    for (int i = 1; i <= kRounds; ++i) {
      produced.store(i, std::memory_order_relaxed);
      wakeup_->ring();
      while (consumed.load(std::memory_order_relaxed) < i) std::this_thread::yield();
    }
  });
  int slept_through = 0;
  while (consumed.load() < kRounds) {
    const bool pending = produced.load(std::memory_order_relaxed) > consumed.load(std::memory_order_relaxed);
    if (pending) {
      consumed.store(produced.load(std::memory_order_relaxed), std::memory_order_relaxed);
      continue;
    }
    const Woken woken = waiter_.wait(2s, [&] { return produced.load() > consumed.load(); });
    slept_through += woken == Woken::timeout;
  }
  EXPECT_EQ(slept_through, 0);
}

}  // namespace
}  // namespace understudy
