#include "control/cluster/membership.h"

#include <gtest/gtest.h>

#include "control/cluster/fault_detector.h"
#include "control/cluster/settings.h"

namespace understudy::cluster {
namespace {

constexpr Instant kStart{9s};
const MacAddress kMac({2, 0, 0, 0, 0, 7});

Membership members() {
  return Membership({NodeId(1), BootId(11), 20ms, 100ms, {MacAddress({2, 0, 0, 0, 0, 1})}},
                    {NodeId(1), NodeId(2)}, 2);
}

TEST(Membership, KeepsWhenAndWhereAPeerWasHeard) {
  Membership membership = members();
  EXPECT_EQ(membership.heard(NodeId(2), BootId(5), LinkId(1), kMac, kStart), Sighting::peer);
  const Membership::Peer& peer = *membership.find(NodeId(2));
  EXPECT_FALSE(peer.links[0].last_heard);
  EXPECT_EQ(peer.links[1].last_heard, kStart);
  EXPECT_EQ(peer.links[1].mac, kMac);
  EXPECT_EQ(membership.heard(NodeId(9), BootId(5), LinkId(1), kMac, kStart), Sighting::stranger);
  EXPECT_EQ(membership.heard(NodeId(2), BootId(5), LinkId(7), kMac, kStart), Sighting::stranger);
  EXPECT_EQ(membership.heard(NodeId(1), BootId(11), LinkId(0), kMac, kStart), Sighting::reflection);
}

TEST(Membership, ANewBootIdAfterSilenceBuriesTheOldIncarnation) {
  Membership membership = members();
  (void)membership.heard(NodeId(2), BootId(5), LinkId(0), kMac, kStart);
  EXPECT_EQ(membership.heard(NodeId(2), BootId(6), LinkId(0), kMac, kStart + 100ms), Sighting::reborn);
  EXPECT_EQ(membership.heard(NodeId(2), BootId(5), LinkId(0), kMac, kStart + 101ms), Sighting::buried);
  EXPECT_EQ(membership.find(NodeId(2))->boot, BootId(6));
  EXPECT_EQ(membership.find(NodeId(2))->reboots, 1U);
}

TEST(Membership, ASecondMachineUnderAPeersIdChangesNothingAndIsNamed) {
  Membership membership = members();
  const MacAddress other({2, 0, 0, 0, 0, 8});
  for (Instant now = kStart; now < kStart + 300ms; now += 20ms) {
    EXPECT_EQ(membership.heard(NodeId(2), BootId(5), LinkId(0), kMac, now), Sighting::peer);
    EXPECT_EQ(membership.heard(NodeId(2), BootId(6), LinkId(0), other, now + 5ms), Sighting::contender);
  }
  EXPECT_EQ(membership.contested(NodeId(2), kStart + 300ms),
            "node id 2 is used by two machines: MAC 02:00:00:00:00:07 (boot 0000000000000005) and MAC "
            "02:00:00:00:00:08 (boot 0000000000000006); start one of them with another --node");
}

TEST(Membership, OurOwnIdFromAnotherMachineIsADuplicateOnceItRepeats) {
  Membership membership = members();
  EXPECT_EQ(membership.heard(NodeId(1), BootId(4), LinkId(0), kMac, kStart), Sighting::own_id);
  EXPECT_EQ(membership.heard(NodeId(1), BootId(4), LinkId(1), kMac, kStart + 1ms), Sighting::own_id);
  EXPECT_EQ(membership.heard(NodeId(1), BootId(4), LinkId(0), kMac, kStart + 20ms), Sighting::duplicate);
  EXPECT_EQ(
      membership.duplicate(),
      "node id 1 is used by two machines: this one (MAC 02:00:00:00:00:01, boot 000000000000000b) and one "
      "at MAC 02:00:00:00:00:07 (boot 0000000000000004); start one of them with another --node");
}

OwnerSignals healthy(Instant at) {
  return {.boot_followed = BootId(1), .boot_now = BootId(1), .last_heard = at, .last_progress = at};
}
constexpr DetectorSettings kDetector{100ms};
Moment at(Instant now) {
  return {now, now, Instant::min()};
}

TEST(FaultDetector, EachSuspicionHasItsSignal) {
  OwnerSignals signals = healthy(kStart);
  EXPECT_EQ(judge(signals, kDetector, at(kStart + 99ms)), Suspicion::none);
  EXPECT_EQ(judge(signals, kDetector, at(kStart + 100ms)), Suspicion::silent);
  EXPECT_EQ(explain(Suspicion::silent, signals, at(kStart + 104ms)), "silent on every link for 104 ms");
  EXPECT_EQ(next_verdict(signals, kDetector, at(kStart + 10ms)), kStart + 100ms);
  signals.last_heard = kStart + 90ms;
  EXPECT_EQ(judge(signals, kDetector, at(kStart + 100ms)), Suspicion::stuck);
  signals.role = mirror::GroupRole::fenced;
  EXPECT_EQ(judge(signals, kDetector, at(kStart)), Suspicion::fenced);
  signals.role = mirror::GroupRole::releasing;
  EXPECT_EQ(judge(signals, kDetector, at(kStart)), Suspicion::releasing);
  signals.role = mirror::GroupRole::standby;
  EXPECT_EQ(judge(signals, kDetector, at(kStart)), Suspicion::resigned);
  signals.boot_now = BootId(2);
  EXPECT_EQ(judge(signals, kDetector, at(kStart)), Suspicion::reborn);
}

// Calls the clock every 10 ms over `span`.
Instant stay(AwakeClock& clock, Instant from, Duration span) {
  Instant now = from;
  for (; now < from + span; now += 10ms) EXPECT_EQ(clock.observe(now), 0ns);
  return now;
}

TEST(AwakeClock, StandsStillWhileWeAreAway) {
  AwakeClock clock(20ms, 100ms);
  Instant now = stay(clock, kStart, 100ms);
  const Instant heard = clock.awake(now - 10ms);
  now += 1s;
  EXPECT_EQ(clock.observe(now), 1010ms);
  EXPECT_EQ(clock.awake(now) - heard, 0ns);
  EXPECT_EQ(clock.grace_ends(), now + 100ms);
  clock.absent(1s, now + 1ms);  // a worker says the same of itself
  EXPECT_EQ(clock.awake(now + 1ms) - heard, 0ns) << "not counted twice";
}

TEST(AwakeClock, AShortAbsencePostponesButDoesNotRestart) {
  AwakeClock clock(20ms, 100ms);
  Instant now = kStart;
  EXPECT_EQ(clock.observe(now), 0ns);
  const Instant heard = clock.awake(now);
  // Away 45 ms, then here for 55 ms, again and again: a dead peer is still noticed.
  Instant suspected = kNever;
  for (int round = 0; round < 10 && suspected == kNever; ++round) {
    now += 45ms;
    EXPECT_EQ(clock.observe(now), 45ms);
    for (const Instant end = now + 55ms; now < end; now += 5ms) {
      EXPECT_EQ(clock.observe(now), 0ns);
      if (judge(healthy(heard), kDetector, {clock.awake(now), now, clock.grace_ends()}) == Suspicion::silent)
        suspected = std::min(suspected, now);
    }
    now -= 5ms;
  }
  EXPECT_GE(suspected, kStart + 100ms);
  EXPECT_LE(suspected, kStart + 400ms);
}

TEST(Settings, ComeFromTheConfiguration) {
  config::Config config;
  config.nodes.resize(2);
  config.nodes[0].id = NodeId(1);
  config.nodes[0].name = "n1";
  config::PortConfig port;
  port.name = "front";
  port.front = true;
  port.addresses = {*Prefix::parse("10.10.0.11/24")};
  config.nodes[0].ports = {port};
  config.nodes[1].id = NodeId(2);
  config::GroupConfig group;
  group.id = GroupId(1);
  group.name = "web";
  group.mac = *MacAddress::parse("02:55:53:00:00:01");
  group.virtual_ips = {*Prefix::parse("10.10.0.10/24")};
  group.successors = {NodeId(1), NodeId(2)};
  config.groups = {group};
  ClusterSettings settings = settings_from(config, config.nodes[0], BootId(5), {kMac});
  EXPECT_EQ(settings.nodes.size(), 2U);
  EXPECT_EQ(settings.links[0].name, "front");
  EXPECT_EQ(settings.groups[0].addresses[0].mac, group.mac);
  EXPECT_FALSE(settings.has_witnesses);
  EXPECT_GE(settings.learn_for, 2 * settings.dead_after);
  config.groups[0].arp = config::ArpPolicy::gratuitous;
  config.routes.resize(1);
  settings = settings_from(config, config.nodes[0], BootId(5), {kMac});
  EXPECT_EQ(settings.groups[0].addresses[0].mac, kMac) << "the port's own";
  EXPECT_TRUE(settings.has_witnesses);
}

}  // namespace
}  // namespace understudy::cluster
