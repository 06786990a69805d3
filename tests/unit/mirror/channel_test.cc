// The peer channel over a link that loses, repeats and reorders, in virtual time.
#include "dataplane/mirror/channel.h"

#include <cstring>
#include <queue>

#include <gtest/gtest.h>

#include "common/random.h"
#include "dataplane/wire/ethernet.h"
#include "tests/support/mbuf_pool.h"

namespace understudy::mirror {
namespace {

constexpr uint32_t kCluster = 5;
const BootId kOwner(11);
const BootId kStandby(22);

// Expects the numbers 0, 1, 2, ... as records of eight bytes.
struct Counting : ChannelReceiver::Consumer {
  void on_open(uint32_t g, Instant) override {
    generation = g;
    ++opened;
    expected = 0;
  }
  bool on_frame(std::span<const uint8_t> records, rte_mbuf*, Instant) override {
    ++frames;
    if (refuses) return false;
    for (; records.size() >= 8; records = records.subspan(8)) {
      uint64_t value;
      std::memcpy(&value, records.data(), 8);
      in_order = in_order && value == expected++;
    }
    return true;
  }
  uint32_t generation = 0;
  int opened = 0;
  int frames = 0;
  uint64_t expected = 0;
  bool in_order = true;
  bool refuses = false;
};

class Channel : public testing::Test, public FrameSink {
 protected:
  void TearDown() override {
    for (; !wire_.empty(); wire_.pop()) rte_pktmbuf_free(wire_.top().frame);
    sender.reset();
    receiver.reset();
    EXPECT_EQ(test_mbufs_in_use(), mbufs_before);
  }
  void start(uint32_t window) {
    mbufs_before = test_mbufs_in_use();
    sender = std::make_unique<ChannelSender>(ChannelSender::Settings{.window = window}, test_mbuf_pool(),
                                             *this, drops);
    receiver = std::make_unique<ChannelReceiver>(window, test_mbuf_pool(), *this, drops);
    receiver->set_address(
        {.cluster = kCluster, .self = NodeId(2), .self_boot = kStandby, .peer_boot = kOwner});
  }
  void open(uint32_t generation, BootId owner = kOwner) {
    sender->open({.cluster = kCluster, .self = NodeId(1), .self_boot = owner, .peer_boot = kStandby},
                 generation, now);
    written = 0;
  }
  bool write() {
    uint8_t* at = sender->append(8, now);
    if (at == nullptr) return false;
    std::memcpy(at, &written, 8);
    ++written;
    return true;
  }
  void transmit_cluster(rte_mbuf* frame) override {
    rte_mbuf* copy = rte_pktmbuf_copy(frame, test_mbuf_pool(), 0, UINT32_MAX);
    rte_pktmbuf_free(frame);
    ASSERT_NE(copy, nullptr);
    ++sent;
    if (random.chance(loss, 1000)) return rte_pktmbuf_free(copy);
    if (random.chance(duplicates, 1000)) push(rte_pktmbuf_copy(copy, test_mbuf_pool(), 0, UINT32_MAX));
    push(copy);
  }
  void repeat_cluster(rte_mbuf* frame) override {
    rte_mbuf_refcnt_update(frame, 1);
    transmit_cluster(frame);
  }
  void push(rte_mbuf* frame) {
    const Duration extra = random.chance(reorder, 1000) ? Duration(100us) * random.below(10) : 0us;
    wire_.push({now + 100us + extra, order_++, frame});
  }
  void step() {
    now += 50us;
    while (!wire_.empty() && wire_.top().at <= now) {
      rte_mbuf* frame = wire_.top().frame;
      wire_.pop();
      deliver(frame);
    }
    receiver->send_ack_if_due({}, now);
    sender->tick(now);
  }
  void deliver(rte_mbuf* frame) {
    const std::span<const uint8_t> bytes(
        rte_pktmbuf_mtod_offset(frame, const uint8_t*, sizeof(wire::EthernetHeader)),
        frame->pkt_len - sizeof(wire::EthernetHeader));
    const auto parsed = parse_cluster_header(bytes, kCluster);
    const auto& view = std::get<ClusterFrameView>(parsed);
    if (view.kind == ClusterFrameKind::mirror_data)
      return receiver->receive(view.boot, view.payload, frame, consumer, now);
    MirrorAckHeader ack;
    ASSERT_EQ(view.payload.size(), sizeof ack);
    std::memcpy(&ack, view.payload.data(), sizeof ack);
    sender->on_ack(ack, now);
    rte_pktmbuf_free(frame);
  }
  void settle(int steps = 4000) {
    for (int i = 0; i < steps; ++i) step();
  }

  struct Flying {
    Instant at;
    uint64_t order;
    rte_mbuf* frame;
    bool operator>(const Flying& other) const {
      return std::tie(at, order) > std::tie(other.at, other.order);
    }
  };
  Instant now{1s};
  Random random{1};
  uint32_t loss = 0, duplicates = 0, reorder = 0;
  uint64_t written = 0, order_ = 0, sent = 0;
  unsigned mbufs_before = 0;
  DropCounters drops;
  Counting consumer;
  std::unique_ptr<ChannelSender> sender;
  std::unique_ptr<ChannelReceiver> receiver;
  std::priority_queue<Flying, std::vector<Flying>, std::greater<>> wire_;
};

TEST_F(Channel, EverythingArrivesOnceAndInOrderWhateverTheLinkDoes) {
  start(64);
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    random = Random(seed);
    loss = random.below(300);
    duplicates = random.below(300);
    reorder = random.below(500);
    open(static_cast<uint32_t>(seed));
    for (int burst = 0; burst < 300; ++burst) {
      for (uint32_t n = random.below(300); n > 0 && write(); --n) {
      }
      sender->flush(now);
      step();
    }
    loss = duplicates = reorder = 0;
    settle();
    EXPECT_EQ(consumer.expected, written) << "seed " << seed;
    EXPECT_TRUE(consumer.in_order) << "seed " << seed;
    EXPECT_EQ(consumer.generation, seed);
    EXPECT_LE(sender->in_flight(), 1U) << "seed " << seed;  // a sign of life may be on its way
    EXPECT_GT(written, 300U);
  }
}

TEST_F(Channel, AFullWindowTakesNothingUntilSomethingIsConfirmed) {
  start(8);
  open(1);
  loss = 1000;
  while (write()) {
  }
  EXPECT_EQ(sender->room(), 0U);
  sender->flush(now);
  EXPECT_EQ(sender->in_flight(), 7U);
  EXPECT_FALSE(write());
  EXPECT_LE(sender->waiting_since(), now);
  loss = 0;
  settle();
  EXPECT_EQ(sender->in_flight(), 0U);
  EXPECT_EQ(sender->waiting_since(), kNever);
  EXPECT_EQ(consumer.expected, written);
  EXPECT_TRUE(write());
  EXPECT_GE(sender->room(), 5 * 1400U);
}

TEST_F(Channel, ANewGenerationBeginsAnewAndTheOldOneIsIgnored) {
  start(8);
  open(1);
  write();
  sender->flush(now);  // still on the wire when the next generation opens
  open(2);
  write();
  write();
  sender->flush(now);
  settle(100);
  EXPECT_EQ(consumer.generation, 2U);
  EXPECT_EQ(consumer.expected, 2U);
  EXPECT_TRUE(consumer.in_order);
  EXPECT_EQ(sender->acknowledged(), 1U);
}

TEST_F(Channel, AReceiverOfAnotherIncarnationIgnoresTheStream) {
  start(8);
  receiver->set_address({.cluster = kCluster, .self = NodeId(2), .self_boot = BootId(99)});
  open(1);
  write();
  sender->flush(now);
  settle(100);
  EXPECT_EQ(consumer.opened, 0);
  EXPECT_EQ(sender->acknowledged(), 0U);
  EXPECT_LT(sender->waiting_since(), now);
}

TEST_F(Channel, ARestartedReceiverConfirmsNothingUntilTheStreamIsOpenedForIt) {
  start(8);
  open(1);
  write();
  sender->flush(now);
  settle(100);
  EXPECT_EQ(sender->acknowledged(), 1U);
  receiver = std::make_unique<ChannelReceiver>(8, test_mbuf_pool(), *this, drops);
  receiver->set_address(
      {.cluster = kCluster, .self = NodeId(2), .self_boot = BootId(23), .peer_boot = kOwner});
  write();
  sender->flush(now);
  settle(100);
  EXPECT_EQ(sender->acknowledged(), 1U);
}

TEST_F(Channel, LateFramesOfAFormerSenderChangeNothing) {
  start(8);
  open(1);
  write();
  sender->flush(now);
  settle(10);
  rte_mbuf* late = nullptr;
  write();
  sender->flush(now);
  late = rte_pktmbuf_copy(wire_.top().frame, test_mbuf_pool(), 0, UINT32_MAX);
  settle(10);
  open(1, BootId(12));  // the owner has restarted
  for (int i = 0; i < 3; ++i) {
    write();
    sender->flush(now);
  }
  settle(100);
  EXPECT_EQ(consumer.opened, 2);
  deliver(late);
  EXPECT_EQ(consumer.opened, 2);
  write();
  sender->flush(now);
  settle(100);
  EXPECT_EQ(consumer.expected, 4U);
  EXPECT_EQ(sender->in_flight(), 0U);
}

TEST_F(Channel, ConfirmationsForAFormerSenderAreNotTakenForOurs) {
  start(8);
  open(1, BootId(12));
  loss = 1000;
  write();
  sender->flush(now);
  MirrorAckHeader ack{};
  ack.to_boot = kOwner.value();  // the incarnation before; its generation was 1 too
  ack.generation = 1;
  ack.next_expected = 2;
  sender->on_ack(ack, now);
  EXPECT_EQ(sender->acknowledged(), 0U);
}

TEST_F(Channel, WhatCannotBeAppliedIsNotConfirmed) {
  start(8);
  open(1);
  consumer.refuses = true;
  write();
  sender->flush(now);
  settle(100);
  EXPECT_EQ(consumer.frames, 1);
  EXPECT_EQ(sender->acknowledged(), 0U);
  consumer.refuses = false;
  open(2);
  write();
  sender->flush(now);
  settle(100);
  EXPECT_EQ(sender->acknowledged(), 1U);
}

TEST_F(Channel, ASilentStreamIsKeptAlive) {
  start(8);
  open(1);
  sent = 0;
  settle(20 * 100);  // 100 ms
  EXPECT_GE(sent, 2U * 9);
  EXPECT_LE(sent, 2U * 10);
  EXPECT_GE(receiver->last_heard() + 11ms, now);
  EXPECT_GT(sender->next_deadline(), now);
}

}  // namespace
}  // namespace understudy::mirror
