// Sealed frames between nodes: what opens, what does not and why, greetings, and the change of keys.
#include <cstring>

#include <gtest/gtest.h>

#include "common/random.h"
#include "dataplane/mirror/frame_opener.h"
#include "dataplane/mirror/frame_sealer.h"
#include "tests/support/exact_bytes.h"

namespace understudy::mirror {
namespace {

constexpr uint32_t kCluster = 0x01020304;
constexpr NodeId kA(1), kB(2);
const std::vector<NodeId> kNodes = {kA, kB};

seal::KeyRing ring(const char* sealing, const char* accepted = nullptr) {
  seal::KeyRing keys{seal::cluster_key(sealing, "test"), {}};
  if (accepted != nullptr) keys.accepted = seal::cluster_key(accepted, "test");
  return keys;
}

// One node's ends, without anything around them.
struct End {
  End(NodeId node, uint64_t boot, const seal::KeyRing& keys = ring("first secret"))
      : id(node),
        boot_id(boot),
        sealer(keys, node, boot_id, 3),
        opener({node, boot_id, kCluster, kNodes}, keys) {}

  std::vector<uint8_t> says(ClusterFrameKind kind, std::vector<uint8_t> payload = {1, 2, 3},
                            unsigned link = 0, uint8_t worker = 0) {
    const ClusterFrameHeader header = make_cluster_header({.kind = kind,
                                                           .from = id,
                                                           .from_worker = worker,
                                                           .to_worker = 0,
                                                           .boot = boot_id,
                                                           .payload = payload},
                                                          kCluster);
    std::vector<uint8_t> plain(sizeof header + payload.size());
    std::memcpy(plain.data(), &header, sizeof header);
    std::ranges::copy(payload, plain.begin() + sizeof header);
    std::vector<uint8_t> sealed(plain.size() + sizeof(SealTrailer));
    sealer.seal(plain, link, sealed.data());
    return sealed;
  }
  std::vector<uint8_t> beat() { return says(ClusterFrameKind::heartbeat); }

  // What this end makes of bytes. A greeting is taken.
  std::variant<DropReason, FrameOpener::Opened> hears(std::vector<uint8_t> bytes) {
    heard = std::move(bytes);
    auto opened = opener.open(heard);
    if (const auto* o = std::get_if<FrameOpener::Opened>(&opened))
      if (o->view.kind == ClusterFrameKind::greeting) opener.take_greeting(o->view);
    return opened;
  }
  std::optional<DropReason> refuses(std::vector<uint8_t> bytes) {
    const auto opened = hears(std::move(bytes));
    if (const auto* reason = std::get_if<DropReason>(&opened)) return *reason;
    return std::nullopt;
  }
  bool believes(std::vector<uint8_t> bytes) {
    const auto opened = hears(std::move(bytes));
    const auto* o = std::get_if<FrameOpener::Opened>(&opened);
    return o != nullptr && o->proven;
  }
  // Says its greetings to `other`, if it owes any.
  bool greets(End& other) {
    if (!opener.owes_greeting()) return false;
    EXPECT_EQ(other.refuses(says(ClusterFrameKind::greeting, opener.greeting())), std::nullopt);
    return true;
  }

  NodeId id;
  BootId boot_id;
  FrameSealer sealer;
  FrameOpener opener;
  std::vector<uint8_t> heard;
};

// Until neither owes the other anything; the count of greetings.
int greet_each_other(End& a, End& b) {
  int greetings = 0;
  while (greetings < 20) {
    const bool first = a.greets(b);
    const bool second = b.greets(a);
    const bool any = first || second;
    if (!any) break;
    ++greetings;
  }
  return greetings;
}

void introduce(End& a, End& b) {
  b.hears(a.beat());
  a.hears(b.beat());
  greet_each_other(a, b);
  ASSERT_TRUE(b.believes(a.beat()));
  ASSERT_TRUE(a.believes(b.beat()));
}

TEST(Sealing, OpensToWhatWasSaid) {
  End a(kA, 11), b(kB, 22);
  const auto opened = b.hears(a.says(ClusterFrameKind::mirror_ack, {9, 8, 7}, 2, 5));
  ASSERT_TRUE(std::holds_alternative<FrameOpener::Opened>(opened));
  const ClusterFrameView& view = std::get<FrameOpener::Opened>(opened).view;
  EXPECT_EQ(view.kind, ClusterFrameKind::mirror_ack);
  EXPECT_EQ(view.from, kA);
  EXPECT_EQ(view.from_worker, 5);
  EXPECT_EQ(view.boot, BootId(11));
  EXPECT_EQ(std::vector<uint8_t>(view.payload.begin(), view.payload.end()), (std::vector<uint8_t>{9, 8, 7}));
  // Inside the node it is a cluster frame like any other.
  EXPECT_TRUE(std::holds_alternative<ClusterFrameView>(parse_cluster_header(b.heard, kCluster)));
}

TEST(Sealing, NothingOfThePayloadIsReadable) {
  End a(kA, 11);
  const std::vector<uint8_t> payload(64, 'x');
  const auto first = a.says(ClusterFrameKind::mirror_data, payload);
  const auto second = a.says(ClusterFrameKind::mirror_data, payload);
  EXPECT_EQ(std::search(first.begin(), first.end(), payload.begin(), payload.begin() + 4), first.end());
  EXPECT_NE(first, second) << "the same frame twice must not look the same";
}

TEST(Sealing, EachFaultHasItsReason) {
  End a(kA, 11), b(kB, 22), stranger(kA, 11, ring("another secret"));
  const auto frame = a.beat();
  EXPECT_EQ(b.refuses(stranger.beat()), DropReason::cluster_stranger) << "a key that we do not have";
  EXPECT_EQ(b.refuses(b.beat()), DropReason::ethernet_not_for_us) << "our own, come back";
  EXPECT_EQ(b.refuses(End(NodeId(3), 1).beat()), DropReason::cluster_stranger)
      << "a node that is not configured";
  for (size_t length = 0; length < frame.size(); ++length)
    EXPECT_EQ(b.refuses({frame.begin(), frame.begin() + static_cast<long>(length)}),
              DropReason::cluster_malformed);
  // A key's id is public: whoever copies it still has no key.
  auto forged = stranger.beat();
  std::copy_n(frame.begin() + 4, 4, forged.begin() + 4);
  EXPECT_EQ(b.refuses(forged), DropReason::cluster_forged);
  for (size_t at = 0; at < frame.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      auto spoilt = frame;
      spoilt[at] ^= static_cast<uint8_t>(1U << bit);
      EXPECT_TRUE(b.refuses(spoilt).has_value()) << "byte " << at << " bit " << bit;
    }
  EXPECT_EQ(b.refuses(frame), std::nullopt);
  EXPECT_EQ(b.refuses(frame), DropReason::cluster_replayed);
}

TEST(Sealing, OrderMayChangeButNothingComesTwice) {
  End a(kA, 11), b(kB, 22);
  std::vector<std::vector<uint8_t>> frames;
  for (int i = 0; i < 500; ++i) frames.push_back(a.says(ClusterFrameKind::mirror_data, {1}, i % 3, 0));
  Random random(5);
  for (size_t i = frames.size() - 1; i > 0; --i)
    std::swap(frames[i], frames[random.below(static_cast<uint32_t>(i + 1))]);
  for (const auto& frame : frames) EXPECT_EQ(b.refuses(frame), std::nullopt);
  for (const auto& frame : frames) EXPECT_EQ(b.refuses(frame), DropReason::cluster_replayed);
}

TEST(Sealing, AnyBytesAreRefused) {
  Random random(6);
  End a(kA, 11), b(kB, 22);
  const auto original = a.says(ClusterFrameKind::ownership, std::vector<uint8_t>(100, 3));
  for (int round = 0; round < 100'000; ++round) {
    auto bytes = original;
    for (uint32_t i = 0, count = 1 + random.below(3); i < count; ++i)
      bytes[random.below(static_cast<uint32_t>(bytes.size()))] = static_cast<uint8_t>(random.next());
    if (random.chance(1, 3)) bytes.resize(random.below(static_cast<uint32_t>(bytes.size()) + 1));
    if (bytes == original) continue;
    const ExactBytes exact(bytes);
    ASSERT_TRUE(std::holds_alternative<DropReason>(b.opener.open(exact.span()))) << round;
  }
  EXPECT_EQ(b.refuses(original), std::nullopt) << "none of them may have used up its number";
}

TEST(Greetings, TwoThatMeetBelieveEachOtherSoon) {
  End a(kA, 11), b(kB, 22);
  EXPECT_FALSE(b.believes(a.beat())) << "it might be a recording";
  EXPECT_LE(greet_each_other(a, b), 3);
  EXPECT_TRUE(b.believes(a.beat()));
  EXPECT_TRUE(a.believes(b.beat()));
  EXPECT_FALSE(a.opener.owes_greeting()) << "who is proven is not asked again";
}

TEST(Greetings, ARecordingOfAFormerLifeIsNotBelieved) {
  End a(kA, 11), b(kB, 22);
  std::vector<std::vector<uint8_t>> recorded;
  b.hears(a.beat());
  while (a.opener.owes_greeting() || b.opener.owes_greeting()) {
    if (a.opener.owes_greeting()) {
      recorded.push_back(a.says(ClusterFrameKind::greeting, a.opener.greeting()));
      b.hears(recorded.back());
    }
    b.greets(a);
  }
  for (int i = 0; i < 20; ++i) recorded.push_back(a.beat());
  EXPECT_TRUE(b.believes(recorded.back()));

  End b_again(kB, 23);  // restarted: it remembers nothing
  for (const auto& frame : recorded) EXPECT_FALSE(b_again.believes(frame));
  End a_again(kA, 12);
  introduce(a_again, b_again);
  for (const auto& frame : recorded) EXPECT_FALSE(b_again.believes(frame));
  EXPECT_TRUE(b_again.believes(a_again.beat())) << "the living one stays believed";
}

TEST(Greetings, ManyFormerLivesDoNotDriveOutTheLivingOne) {
  End a(kA, 11), b(kB, 22);
  introduce(a, b);
  for (uint64_t boot = 100; boot < 120; ++boot) {
    End former(kA, boot);
    EXPECT_FALSE(b.believes(former.beat()));
    EXPECT_TRUE(b.believes(a.beat()));
  }
}

TEST(Greetings, AnAnswerServesOneQuestionOnly) {
  End a(kA, 11), b(kB, 22);
  b.hears(a.beat());
  ASSERT_TRUE(b.greets(a));
  const auto answer = a.says(ClusterFrameKind::greeting, a.opener.greeting());
  EXPECT_EQ(b.refuses(answer), std::nullopt);
  EXPECT_TRUE(b.believes(a.beat()));
  for (uint64_t boot = 100; boot < 110; ++boot) b.believes(End(kA, boot).beat());
  for (uint64_t boot = 200; boot < 204; ++boot) {  // proven ones, so that a is forgotten
    End other(kA, boot);
    introduce(other, b);
  }
  EXPECT_FALSE(b.believes(answer));
  EXPECT_FALSE(b.believes(a.beat())) << "an old answer must not prove anything";
}

TEST(KeyRotation, GoesOnWithoutALostFrame) {
  End a(kA, 11, ring("old secret")), b(kB, 22, ring("old secret"));
  introduce(a, b);
  const auto change = [](End& end, const seal::KeyRing& keys) {
    end.sealer.set_keys(keys);
    end.opener.set_keys(keys);
  };
  const auto talk = [&] {
    EXPECT_TRUE(b.believes(a.beat()));
    EXPECT_TRUE(a.believes(b.beat()));
  };
  for (End* end : {&a, &b}) {
    change(*end, ring("old secret", "new secret"));
    talk();
  }
  for (End* end : {&a, &b}) {
    change(*end, ring("new secret", "old secret"));
    talk();
  }
  const auto late = a.beat();
  for (End* end : {&a, &b}) {
    change(*end, ring("new secret"));
    talk();
  }
  EXPECT_EQ(b.refuses(late), std::nullopt);
  EXPECT_EQ(b.refuses(End(kA, 13, ring("old secret")).beat()), DropReason::cluster_stranger);
}

TEST(KeyRotation, ANumberIsNotUsedAgainWhenAKeyComesBack) {
  End a(kA, 11, ring("old secret")), b(kB, 22, ring("old secret", "new secret"));
  const auto before = a.beat();
  a.sealer.set_keys(ring("new secret"));
  a.sealer.set_keys(ring("old secret"));
  EXPECT_NE(a.beat(), before);
  EXPECT_EQ(b.refuses(before), std::nullopt);
  EXPECT_EQ(b.refuses(a.beat()), std::nullopt);
}

TEST(Repetition, IsNoReplayAndSaysTheSame) {
  End a(kA, 11), b(kB, 22);
  const auto first = a.says(ClusterFrameKind::mirror_data, {1, 2, 3, 4}, 1, 2);
  std::vector<uint8_t> again(first.size()), third(first.size());
  ASSERT_TRUE(a.sealer.seal_again(first, 1, again.data()));
  ASSERT_TRUE(a.sealer.seal_again(again, 1, third.data()));
  for (const auto& frame : {third, first, again}) {
    const auto opened = b.hears(frame);
    ASSERT_TRUE(std::holds_alternative<FrameOpener::Opened>(opened));
    const auto& view = std::get<FrameOpener::Opened>(opened).view;
    EXPECT_EQ(std::vector<uint8_t>(view.payload.begin(), view.payload.end()),
              std::vector<uint8_t>({1, 2, 3, 4}));
    EXPECT_EQ(view.from_worker, 2);
    EXPECT_EQ(b.refuses(frame), DropReason::cluster_replayed);
  }
}

TEST(Repetition, OutlivesOneChangeOfTheKey) {
  End a(kA, 11, ring("old secret")), b(kB, 22, ring("new secret"));
  const auto frame = a.says(ClusterFrameKind::mirror_data);
  std::vector<uint8_t> again(frame.size());
  a.sealer.set_keys(ring("new secret"));
  ASSERT_TRUE(a.sealer.seal_again(frame, 0, again.data()));
  EXPECT_EQ(b.refuses(frame), DropReason::cluster_stranger);
  EXPECT_EQ(b.refuses(again), std::nullopt);
  a.sealer.set_keys(ring("third secret"));
  EXPECT_FALSE(a.sealer.seal_again(frame, 0, again.data()));
}

}  // namespace
}  // namespace understudy::mirror
