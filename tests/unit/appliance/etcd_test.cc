// Two whole nodes in virtual time under `arbiter: etcd`, against an etcd in memory that can be away, slow or
// lying: one voice, nobody takes over by guess, and a healthy pair does not notice.
#include <gtest/gtest.h>

#include "tests/unit/appliance/arbitrated_cluster.h"

namespace understudy {
namespace {

using cluster::GroupState;
using C = ClusterInProcess;
constexpr Duration kChance = 60ms;  // of when something happens

C::Settings pair(uint64_t seed) {
  return {.seed = seed, .arbiter = "etcd"};
}

void everybody(C& c, const std::function<void(etcd::EtcdWay&)>& change) {
  for (etcd::EtcdWay& way : c.etcd().ways) change(way);
}

TEST(Etcd, TheOwnerIsKilledAndItsStandbyTakesOverWarm) {
  for (uint64_t seed = 10; seed < 14; ++seed) {
    C c(pair(seed));
    begin(c, kChance);
    const Instant killed = c.now();
    c.kill(0);
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    EXPECT_LE(c.voice(1).first_claim - killed, 150ms) << c.describe();
    c.run_for(300ms);
    EXPECT_EQ(c.owner(), size_t{1}) << "alone it lives by its swaps" << c.describe();
    const auto* takeover = c.control(1).controller().machine(GroupId(1))->last_takeover();
    EXPECT_NE(
        cluster::tell_consent(*takeover).find("has written ballot 3.2 into `understudy/in-process/web`"),
        std::string::npos)
        << cluster::tell_consent(*takeover);
    expect_done(c);
  }
}

TEST(Etcd, AHealthyPairOutlivesIt) {
  C c(pair(20));
  begin(c, kChance);
  everybody(c, [](etcd::EtcdWay& way) { way.cut = true; });
  c.run_for(2s);
  EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
  EXPECT_FALSE(said(c, 0, "silent until")) << c.describe();
  EXPECT_TRUE(said(c, 1, "etcd at http://etcd:2379: timed out")) << c.describe();
  expect_done(c);
}

TEST(Etcd, WhileItIsAwayNobodyTakesOverAndThenTheStandbyDoesWarm) {
  for (const bool refuses : {false, true}) {
    C c(pair(30 + refuses));
    begin(c, kChance);
    everybody(c, [&](etcd::EtcdWay& way) { (refuses ? way.refuses : way.cut) = true; });
    c.run_for(300ms);
    c.kill(0);
    c.run_for(2500ms);
    EXPECT_FALSE(c.owner()) << c.describe();
    EXPECT_TRUE(said(c, 1, "not granted: etcd at http://etcd:2379: ")) << c.describe();
    everybody(c, [](etcd::EtcdWay& way) { way.cut = way.refuses = false; });
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    expect_done(c);
  }
}

TEST(Etcd, ItGoesAwayWhileATakeoverIsUnderWay) {
  for (uint64_t seed = 40; seed < 48; ++seed) {
    C c(pair(seed));
    begin(c, kChance);
    c.kill(0);
    c.run_for(98ms + Duration(c.random().below(8'000'000)));
    everybody(c, [](etcd::EtcdWay& way) { way.cut = true; });
    c.run_for(400ms);
    everybody(c, [](etcd::EtcdWay& way) { way.cut = false; });
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    expect_done(c);
  }
}

TEST(Etcd, ALoneOwnerFallsSilentWithoutItAndGoesOnWithIt) {
  C c(pair(50));
  begin(c, kChance);
  c.kill(1);
  c.run_for(500ms);
  EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
  everybody(c, [](etcd::EtcdWay& way) { way.cut = true; });
  ASSERT_TRUE(c.run_until([&] { return c.state(0) == GroupState::fenced; }, 200ms)) << c.describe();
  EXPECT_TRUE(said(c, 0, "neither has n2 echoed its heartbeats nor etcd renewed its lease for 80 ms"))
      << c.describe();
  const Epoch epoch = c.control(0).controller().machine(GroupId(1))->epoch();
  c.run_for(1s);
  everybody(c, [](etcd::EtcdWay& way) { way.cut = false; });
  ASSERT_TRUE(becomes_owner(c, 0)) << c.describe();
  EXPECT_EQ(c.control(0).controller().machine(GroupId(1))->epoch(), epoch);
  expect_done(c);
}

// The lease is no reason to keep what serves nobody.
TEST(Etcd, AnOwnerThatReachesOnlyEtcdLetsGoAndItsStandbyGoesOnWarm) {
  enum Way { both_ways, inwards, outwards };
  uint64_t seed = 55;
  for (const Way way : {both_ways, inwards, outwards}) {
    C c(pair(seed++));
    begin(c, kChance);
    const Instant cut = c.now();
    if (way != outwards) c.cut_all(0, C::in, true);
    if (way != inwards) c.cut_all(0, C::out, true);
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    EXPECT_LE(c.voice(1).first_claim - cut, 350ms) << c.describe();
    EXPECT_FALSE(c.control(1).controller().machine(GroupId(1))->last_takeover()->cold) << c.describe();
    EXPECT_TRUE(said(c, 0, "no other node hears this one, and no gateway and no backend answers it"));
    c.run_for(2500ms);
    EXPECT_EQ(c.owner(), size_t{1}) << c.describe();
    c.cut_all(0, false);
    ASSERT_TRUE(becomes_protected(c, 1, 5s)) << c.describe();
    expect_done(c);
  }
}

TEST(Etcd, AnOwnerWithoutAPeerStaysAsLongAsABackendAnswers) {
  C c(pair(58));
  begin(c, kChance);
  c.kill(1);
  c.run_for(3s);
  EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
  EXPECT_FALSE(said(c, 0, "no gateway and no backend answers it"));
  expect_done(c);
}

TEST(Etcd, ANodeThatRestartsWhileAnotherEtcdAnswersBelievesItsOwn) {
  C c(pair(170));
  begin(c, kChance);
  c.kill(1);
  c.etcd().ways[1].lie = [](const auto&) {
    return std::pair(200, std::string(R"({"header":{"cluster_id":"78","revision":"999"},"succeeded":true,)"
                                      R"("responses":[{"response_put":{}}]})"));
  };
  c.start(1);
  ASSERT_TRUE(becomes_protected(c, 0, 5s)) << c.describe();
  c.kill(0);
  c.run_for(1500ms);
  EXPECT_FALSE(c.owner()) << c.describe();
  const std::string what =
      "etcd at http://etcd:2379: it belongs to etcd cluster 0x4e, and this node to 0x4d, which was the first "
      "to "
      "answer it; correct the endpoint";
  EXPECT_TRUE(said(c, 1, what)) << c.describe();
  EXPECT_TRUE(said(c, 1, "not granted: " + what)) << "what `explain group` tells" << c.describe();
  c.etcd().ways[1].lie = nullptr;
  ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
  expect_done(c);
}

// It serves nobody, and its swaps would keep the others away for ever.
TEST(Etcd, AnOwnerThatLosesItsBackendsAfterItsPeerLetsGo) {
  C c(pair(180));
  ASSERT_TRUE(c.boot()) << c.describe();
  c.cut_all(1, true);
  c.run_for(2s);
  EXPECT_EQ(c.owner(), size_t{0}) << "its backends answer it" << c.describe();
  c.cut_all(0, true);
  c.cut_all(1, false);
  ASSERT_TRUE(becomes_owner(c, 1, 8s)) << c.describe();
  c.cut_all(0, false);
  EXPECT_TRUE(becomes_protected(c, 1, 5s)) << c.describe();
  EXPECT_EQ(c.most_voices(), 1U) << c.describe();
}

TEST(Etcd, AnOwnerThatReachesNobodyGivesTheGroupToWhoComesLater) {
  C c(pair(181));
  ASSERT_TRUE(c.boot()) << c.describe();
  c.kill(1);
  c.cut_all(0, true);
  c.run_for(3s);
  EXPECT_EQ(c.owner(), size_t{0}) << "nobody has taken what it let go of" << c.describe();
  c.start(1);
  ASSERT_TRUE(becomes_owner(c, 1, 16s)) << c.describe();
  c.cut_all(0, false);
  EXPECT_TRUE(becomes_protected(c, 1, 5s)) << c.describe();
  EXPECT_EQ(c.most_voices(), 1U) << c.describe();
}

// It owns again under another ballot, and its connections are those of before: what was under way got lost,
// and the timers that ran out meanwhile found it silent.
TEST(Etcd, AnOwnerThatLetGoAndOwnsAgainGoesOnWithItsConnections) {
  C c(pair(182));
  ASSERT_TRUE(c.boot()) << c.describe();
  c.kill(1);
  c.run_for(500ms);
  const StreamEnd& client = c.transfer(0, kMegabyte / 10);
  c.run_for(8ms);
  c.cut(0, C::front, true);  // the backend has said everything, and the client has not heard it
  c.run_for(100ms);
  c.cut_all(0, true);
  ASSERT_TRUE(c.run_until([&] { return said(c, 0, "lets go of the group"); }, 5s)) << c.describe();
  everybody(c, [](etcd::EtcdWay& way) { way.cut = true; });
  c.run_for(10s);
  everybody(c, [](etcd::EtcdWay& way) { way.cut = false; });
  c.cut_all(0, false);
  ASSERT_TRUE(c.run_until([&] { return said(c, 0, "owner again, with epoch"); }, 5s)) << c.describe();
  EXPECT_TRUE(c.run_until([&] { return client.is_complete(); }, 3s)) << c.describe();
}

// Control asks etcd, whatever the workers do.
TEST(Etcd, AnOwnerWithAWorkerThatHangsLetsGoAndItsStandbyGoesOnWarm) {
  uint64_t seed = 140;
  for (const auto& [workers, hanging] : kHangs) {
    auto settings = pair(seed++);
    settings.workers_of_n1 = settings.workers_of_n2 = workers;
    C c(settings);
    begin(c, kChance);
    expect_replaced_when_hung(c, hanging, 200ms);
    EXPECT_TRUE(said(c, 0, "this node lets go of the group")) << c.describe();
    ASSERT_TRUE(becomes_protected(c, 1)) << c.describe();
    expect_done(c);
  }
}

TEST(Etcd, AWorkerThatHangsForNearlyTooLongHarmsNobody) {
  for (Duration away = 70ms; away <= 130ms; away += 5ms) {
    auto settings = pair(150);
    settings.workers_of_n1 = settings.workers_of_n2 = 2;
    C c(settings);
    ASSERT_TRUE(c.boot()) << c.describe();
    for (int i = 0; i < 4; ++i) c.transfer(kMegabyte / 10, kMegabyte / 10);
    c.run_for(30ms);
    c.pause_worker(0, c.random().below(2), away);
    c.run_for(away);
    expect_done(c);
    EXPECT_TRUE(c.run_until([&] { return c.is_protected(); }, 1s)) << c.describe();
  }
}

TEST(Etcd, ALoneOwnerWithAWorkerThatHangsStaysOwner) {
  auto settings = pair(160);
  settings.workers_of_n1 = 2;
  C c(settings);
  begin(c, kChance);
  c.kill(1);
  c.run_for(300ms);
  c.pause_worker(0, 1, 5s);
  c.run_for(5s);
  EXPECT_FALSE(said(c, 0, "lets go")) << c.describe();
  EXPECT_TRUE(becomes_owner(c, 0)) << c.describe();
  expect_done(c);
}

TEST(Etcd, BothLinksCutTheOwnerGoesOnAndTheStandbyIsRefused) {
  for (uint64_t seed = 60; seed < 63; ++seed) {
    C c(pair(seed));
    begin(c, kChance);
    c.cut_all(1, true);
    c.run_for(1500ms);
    EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
    EXPECT_TRUE(is_in_sync_set(c, 0, 99) ||
                c.control(0).controller().arbiter()->is_recorded(
                    GroupId(1), c.control(0).controller().machine(GroupId(1))->epoch(), NodeId()))
        << "it acknowledges past the standby, which has to be out of the set";
    c.cut_all(1, false);
    expect_done(c);
    EXPECT_EQ(c.owner(), size_t{0});
  }
}

TEST(Etcd, AnOwnerThatIsCutOffFromEverythingFallsSilentInTime) {
  for (uint64_t seed = 70; seed < 73; ++seed) {
    C c(pair(seed));
    begin(c, kChance);
    c.cut_all(0, true);
    c.etcd().ways[0].cut = true;
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    c.run_for(1s);
    EXPECT_EQ(c.state(0), GroupState::fenced) << c.describe();
    c.cut_all(0, false);
    c.etcd().ways[0].cut = false;
    EXPECT_TRUE(c.run_until([&] { return cluster::is_standby(c.state(0)); }, 1s)) << c.describe();
    EXPECT_EQ(c.owner(), size_t{1}) << c.describe();
    expect_done(c);
  }
}

TEST(Etcd, AnOwnerThatSleptFindsItselfReplaced) {
  for (uint64_t seed = 80; seed < 83; ++seed) {
    C c(pair(seed));
    begin(c, kChance);
    c.pause(0);
    ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
    c.run_for(1300ms);
    c.forget_voice(0);
    c.resume(0);
    c.run_for(500ms);
    EXPECT_LE(c.voice(0).segments, 32U) << c.describe();
    EXPECT_EQ(c.voice(0).resets + c.voice(0).fins + c.voice(0).claims, 0U) << c.describe();
    expect_done(c);
  }
}

// Its removal stands in the key before the owner acknowledges past it.
TEST(Etcd, AStandbyThatIsCutOffThePeerNetworkCannotClaimWarm) {
  for (uint64_t seed = 90; seed < 93; ++seed) {
    auto settings = pair(seed);
    settings.cold_takeover_after = 400ms;
    C c(settings);
    begin(c, kChance);
    c.cut(1, C::peer, true);
    c.run_for(300ms);
    const auto record = c.etcd().etcd.record("understudy/in-process/web");
    ASSERT_TRUE(record);
    EXPECT_EQ(record->epoch.node, NodeId(1));
    EXPECT_EQ(record->standby, NodeId()) << c.describe();
    const Instant killed = c.now();
    c.kill(0);
    ASSERT_TRUE(becomes_owner(c, 1, 3s)) << c.describe();
    EXPECT_GE(c.now() - killed, 400ms) << "warm" << c.describe();
    EXPECT_TRUE(c.control(1).controller().machine(GroupId(1))->last_takeover()->cold);
    EXPECT_EQ(c.most_voices(), 1U);
  }
}

TEST(Etcd, ASlowOneAndOneThatLiesDisturbNoPair) {
  using Said = std::pair<int, std::string>;
  const std::function<void(etcd::EtcdWay&)> faults[] = {
      [](etcd::EtcdWay& way) { way.delay_least = way.delay_most = 60ms; },
      [](etcd::EtcdWay& way) { way.answer_loss = 50, way.late = 50; },
      [](etcd::EtcdWay& way) {
        way.lie = [](Said) {
          return Said{200, R"({"header":{"cluster_id":"78","revision":"999"},"succeeded":true,)"
                           R"("responses":[{"response_put":{}}]})"};
        };
      },
      [](etcd::EtcdWay& way) { way.lie = [](Said) {
                                 return Said{503, "{}"};
                               }; },
  };
  uint64_t seed = 100;
  for (const auto& fault : faults) {
    C c(pair(seed++));
    begin(c, kChance);
    everybody(c, fault);
    c.run_for(1s);
    EXPECT_EQ(c.owner(), size_t{0}) << c.describe();
    // And a takeover waits until it is itself again, or gets through to it: once.
    c.kill(0);
    c.run_for(1s);
    everybody(c, [](etcd::EtcdWay& way) { way = {}; });
    ASSERT_TRUE(becomes_owner(c, 1, 2s)) << c.describe();
    expect_done(c);
  }
}

TEST(Etcd, AHandOverAsksIt) {
  C c(pair(110));
  begin(c, kChance);
  for (int round = 0; round < 4; ++round) {
    const size_t from = *c.owner(), to = 1 - from;
    ASSERT_TRUE(c.run_until([&] { return is_in_sync_set(c, from, to); }, 1s)) << c.describe();
    const Instant began = c.now();
    const auto obstacle = c.hand_over(from, to);
    ASSERT_FALSE(obstacle) << *obstacle << c.describe();
    ASSERT_TRUE(becomes_owner(c, to, 400ms)) << c.describe();
    EXPECT_LE(c.now() - began, 60ms) << c.describe();
    ASSERT_TRUE(c.run_until([&] { return c.is_protected() && c.unprotected_legs() == 0; }, 1s))
        << c.describe();
  }
  expect_done(c);
}

// One group's claim waits for an etcd that does not answer; the other group goes on.
TEST(Etcd, GroupsDoNotWaitForEachOther) {
  auto settings = pair(120);
  settings.groups = 2;
  C c(settings);
  ASSERT_TRUE(c.boot()) << c.describe();
  EXPECT_EQ(c.owner(0), size_t{0});
  EXPECT_EQ(c.owner(1), size_t{1});
  c.kill(0);
  ASSERT_TRUE(c.run_until([&] { return c.owner(0) == size_t{1}; }, 1s)) << c.describe();
  EXPECT_EQ(c.owner(1), size_t{1}) << c.describe();
  EXPECT_EQ(c.most_voices(), 1U);
}

// The successor of an owner that fell silent dies before that owner has heard of it: what it holds is old.
TEST(Etcd, AnOwnerWhoseSuccessorDiedUnheardServesColdAfterAWhile) {
  auto settings = pair(130);
  settings.cold_takeover_after = 500ms;
  C c(settings);
  ASSERT_TRUE(c.boot()) << c.describe();
  c.run_for(200ms);
  c.cut_all(0, true);
  c.etcd().ways[0].cut = true;
  ASSERT_TRUE(becomes_owner(c, 1)) << c.describe();
  c.run_for(100ms);
  c.kill(1);
  c.cut_all(0, false);
  c.etcd().ways[0].cut = false;
  ASSERT_TRUE(becomes_owner(c, 0, 5s)) << c.describe();
  EXPECT_EQ(c.most_voices(), 1U);
}

}  // namespace
}  // namespace understudy
