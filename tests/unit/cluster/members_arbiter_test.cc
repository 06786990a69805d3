// The arbiters of several nodes, with a network between them, disks, and clocks: who gets a group, and when.
#include "control/cluster/members_arbiter.h"

#include <functional>
#include <memory>

#include <gtest/gtest.h>

#include "common/random.h"
#include "control/cluster/kept_promises.h"

namespace understudy::cluster {
namespace {

constexpr GroupId kGroup{1};
constexpr Instant kStart{1000s};
constexpr Duration kLease = 80ms;
constexpr Duration kEmbargo = kLease + kLease / 100;

class Members {
 public:
  explicit Members(uint16_t count, uint64_t seed = 1) : random_(seed), nodes_(count) {
    for (uint16_t id = 1; id <= count; ++id) boot(id);
    run(kEmbargo + 5ms);  // nobody votes right after its start
  }

  // A node, by its id, from 1.
  MembersArbiter& operator[](uint16_t id) { return *node(id).arbiter; }
  void boot(uint16_t id) {
    Node& n = node(id);
    MembersArbiter::Settings settings;
    settings.self = NodeId(id);
    settings.boot = BootId(++boots_);
    for (uint16_t each = 1; each <= nodes_.size(); ++each)
      settings.members.emplace_back(NodeId(each), "n" + std::to_string(each));
    settings.groups = {kGroup};
    settings.lease = kLease;
    n.boot = settings.boot;
    n.arbiter = std::make_unique<MembersArbiter>(settings, n.disk, now_);
    n.verdicts.clear();
    n.waiting.clear();
  }
  void kill(uint16_t id) { node(id).arbiter.reset(); }
  void ask(uint16_t id, Epoch followed = {}) {
    const Epoch ballot{std::max(node(id).highest, (*this)[id].highest(kGroup).counter) + 1, NodeId(id)};
    node(id).highest = ballot.counter;
    (*this)[id].claim({kGroup, ballot, followed, followed != Epoch(), followed == Epoch()}, now_);
    settle(id);
  }
  // The newest verdict, once.
  std::optional<Verdict> verdict(uint16_t id) {
    if (node(id).verdicts.empty()) return std::nullopt;
    const Verdict newest = node(id).verdicts.back();
    node(id).verdicts.clear();
    return newest;
  }
  bool speaks(uint16_t id) {
    return node(id).arbiter != nullptr && (*this)[id].lease_until(kGroup, node(id).owns) > now_;
  }
  Epoch epoch(uint16_t id) { return node(id).owns; }
  void run(Duration length) {
    for (const Instant end = now_ + length; now_ < end;) step();
  }
  bool run_until(const std::function<bool()>& holds, Duration limit) {
    for (const Instant end = now_ + limit; now_ < end;) {
      if (holds()) return true;
      step();
    }
    return holds();
  }
  void own(uint16_t id, Epoch followed = {}) {
    ask(id, followed);
    ASSERT_TRUE(run_until([&] { return speaks(id); }, 50ms));
  }
  // Frames and heartbeats from one to the other are lost.
  std::function<bool(uint16_t from, uint16_t to)> is_cut = [](uint16_t, uint16_t) { return false; };
  Duration disk = 0ms;
  Duration latency = 0ms;  // at most; of votes
  bool beats = true;
  uint16_t holder = 0;  // says in its heartbeats that it mirrors
  size_t most_voices = 0;
  Instant now() const { return now_; }
  Random& random() { return random_; }

  struct Node {
    std::unique_ptr<MembersArbiter> arbiter;
    BootId boot;
    KeptMemory disk;
    std::vector<std::pair<Instant, Keep>> waiting;
    std::vector<Verdict> verdicts;
    Epoch owns;
    uint32_t beat = 0;
    uint32_t highest = 0;
  };
  Node& node(uint16_t id) { return nodes_[id - 1U]; }

 private:
  void step() {
    now_ += 1ms;
    while (!under_way_.empty() && under_way_.begin()->first <= now_) {
      const auto deliver = under_way_.begin()->second;
      under_way_.erase(under_way_.begin());
      deliver();
    }
    for (uint16_t id = 1; id <= nodes_.size(); ++id) {
      Node& n = node(id);
      if (n.arbiter == nullptr) continue;
      for (auto& [when, keep] : std::exchange(n.waiting, {}))
        if (when > now_)
          n.waiting.emplace_back(when, keep);
        else
          keep_now(n, keep);
      n.arbiter->tick(now_);
      settle(id);
      if ((now_ - kStart) % 20ms == Duration(id) * 1'000'000 && beats) beat(id);
      // An echo is told at once.
      if (beats) send_beat(id, n.beat, false);
    }
    size_t voices = 0;
    for (uint16_t id = 1; id <= nodes_.size(); ++id) voices += speaks(id);
    most_voices = std::max(most_voices, voices);
  }
  void keep_now(Node& n, const Keep& keep) {
    n.disk = {KeptMemory::State::readable, keep.bytes};
    n.arbiter->on_kept(keep.sequence, true, now_);
  }
  void beat(uint16_t id) {
    Node& n = node(id);
    n.arbiter->on_beat_sent(++n.beat, now_);
    send_beat(id, n.beat, speaks(id));
  }
  void send_beat(uint16_t id, uint32_t number, bool is_new) {
    Node& n = node(id);
    mirror::Heartbeat beat{.node = NodeId(id), .boot = n.boot, .number = number, .groups = {}};
    mirror::GroupBeat says{.group = kGroup};
    if (is_new) {
      says.role = mirror::GroupRole::owner;
      says.epoch = n.owns;
      says.leased = true;
    } else if (id == holder) {
      says.role = mirror::GroupRole::standby;
    }
    n.arbiter->fill(says);
    beat.groups.push_back(says);
    for (uint16_t to = 1; to <= nodes_.size(); ++to) {
      if (to == id || node(to).arbiter == nullptr || is_cut(id, to)) continue;
      node(to).arbiter->on_beat(beat, now_);
      settle(to);
    }
  }
  void send_vote(uint16_t from, uint16_t to, const std::vector<uint8_t>& payload) {
    const Instant when =
        now_ + Duration(latency > 0ms ? random_.below(static_cast<uint32_t>(latency.count())) : 0);
    const auto deliver = [this, from, to, payload, boot = node(from).boot] {
      if (node(to).arbiter == nullptr) return;
      node(to).arbiter->on_vote(NodeId(from), boot, payload, now_);
      settle(to);
    };
    if (when == now_)
      deliver();
    else
      under_way_.emplace(when, deliver);
  }
  void settle(uint16_t id) {
    Node& n = node(id);
    for (const Verdict& verdict : n.arbiter->take_verdicts()) {
      n.verdicts.push_back(verdict);
      if (verdict.kind == Verdict::Kind::granted) n.owns = verdict.ballot;
      n.highest = std::max(n.highest, verdict.highest.counter);
    }
    for (const Action& action : n.arbiter->take_actions()) {
      if (const auto* keep = std::get_if<Keep>(&action)) {
        if (disk > 0ms)
          n.waiting.emplace_back(now_ + disk, *keep);
        else
          keep_now(n, *keep);
        settle(id);
      } else if (const auto* vote = std::get_if<SendVote>(&action)) {
        for (uint16_t to = 1; to <= nodes_.size(); ++to)
          if (to != id && !is_cut(id, to)) send_vote(id, to, vote->payload);
      }
    }
  }

  Random random_;
  Instant now_ = kStart;
  uint64_t boots_ = 0;
  std::vector<Node> nodes_;
  std::multimap<Instant, std::function<void()>> under_way_;
};

TEST(MembersArbiter, AMajorityGrantsAndTheLeaseLivesOnEchoes) {
  Members m(3);
  m.own(1);
  EXPECT_EQ(m.verdict(1)->kind, Verdict::Kind::granted);
  m.run(500ms);
  EXPECT_TRUE(m.speaks(1));
  m.kill(3);
  m.run(500ms);
  EXPECT_TRUE(m.speaks(1)) << "two of three are a majority";
  m.kill(2);
  EXPECT_TRUE(m.run_until([&] { return !m.speaks(1); }, kLease + 20ms));
}

TEST(MembersArbiter, WhoHearsNoMajorityIsDeniedWithTheReason) {
  Members m(3);
  m.kill(2);
  m.kill(3);
  m.ask(1);
  m.run(kLease);
  const auto verdict = m.verdict(1);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->kind, Verdict::Kind::denied);
  EXPECT_EQ(verdict->why, "n2 has not answered; n3 has not answered");
}

TEST(MembersArbiter, ASuccessorWaitsUntilTheLeaseOfADeadOwnerIsOver) {
  Members m(3);
  m.own(1);
  m[1].record(kGroup, m.epoch(1), NodeId(2), m.now());
  m.run(100ms);
  EXPECT_TRUE(m[1].is_recorded(kGroup, m.epoch(1), NodeId(2)));
  const Epoch old = m.epoch(1);
  m.kill(1);
  m.ask(2, old);
  m.run(20ms);
  const auto early = m.verdict(2);
  ASSERT_TRUE(early);
  EXPECT_EQ(early->kind, Verdict::Kind::denied);
  EXPECT_NE(early->why.find("it has promised to wait"), std::string::npos) << early->why;
  m.run(kEmbargo);
  m.own(2, old);
  EXPECT_GT(m.epoch(2), old);
  EXPECT_EQ(m.most_voices, 1U);
}

TEST(MembersArbiter, AnOwnerThatWithdrawsIsFollowedAtOnce) {
  Members m(3);
  m.own(1);
  m[1].record(kGroup, m.epoch(1), NodeId(2), m.now());
  m.run(50ms);
  const Epoch old = m.epoch(1);
  m[1].withdraw(kGroup, m.now());
  EXPECT_FALSE(m.speaks(1));
  m.run(1ms);
  m.own(2, old);
  EXPECT_LE(m.most_voices, 1U);
}

// n1 owned, with n2 in sync, and is cut off; n2 has both grants, and then n3 cannot confirm in time that n2
// alone is in sync.
void fail_as_candidate(Members& m, bool release_is_lost) {
  m.own(1);
  m[1].record(kGroup, m.epoch(1), NodeId(2), m.now());
  m.run(50ms);
  m.is_cut = [](uint16_t from, uint16_t to) { return from == 1 || to == 1; };
  m.run(kEmbargo + 5ms);
  EXPECT_FALSE(m.speaks(1));
  m.disk = 30ms;
  m.ask(2, m.epoch(1));
  m.run(25ms);
  m.disk = 60ms;
  m.run(release_is_lost ? 30ms : 80ms);
  if (release_is_lost) {
    m.is_cut = [](uint16_t from, uint16_t to) { return from == 1 || to == 1 || from == 2; };
    m.run(60ms);
  }
  m.disk = 0ms;
  m.is_cut = [](uint16_t from, uint16_t to) { return from == 1 || to == 1; };
}

// A candidate that gave up is as if it had not asked: the owner of before is echoed, and its standby in sync.
TEST(MembersArbiter, ACandidateThatFailsLeavesNothingBehind) {
  for (const bool release_is_lost : {false, true}) {
    Members m(3);
    fail_as_candidate(m, release_is_lost);
    const Epoch old = m.epoch(1);
    const auto verdict = m.verdict(2);
    ASSERT_TRUE(verdict);
    ASSERT_EQ(verdict->kind, Verdict::Kind::denied);
    EXPECT_FALSE(verdict->out_of_sync);
    EXPECT_EQ(m[2].member(kGroup).kept().promised, old);
    EXPECT_EQ(m[2].member(kGroup).kept().record.standby, NodeId(2));
    EXPECT_EQ(m[3].member(kGroup).kept().promised == old, !release_is_lost);
    const auto highest = m[2].highest(kGroup);
    EXPECT_GT(highest, old) << "it would ask again under a ballot that is over";
    m.own(2, old);  // with the old connections
    EXPECT_GT(m.epoch(2), highest);
    EXPECT_LE(m.most_voices, 1U);
  }
}

// It granted, heard nothing more, and would refuse the owner of before for good.
TEST(MembersArbiter, WhoDidNotHearThatACandidateGaveUpEchoesTheOwnerOfBeforeAgain) {
  Members m(3);
  fail_as_candidate(m, true);
  const Epoch old = m.epoch(1);
  const auto verdict = m.verdict(2);
  ASSERT_TRUE(verdict && verdict->kind == Verdict::Kind::denied);
  m.is_cut = [](uint16_t, uint16_t) { return false; };
  m[1].claim({kGroup, old, old, true, false}, m.now());
  ASSERT_TRUE(m.run_until([&] { return m.speaks(1); }, kLease));
  m.run(600ms);
  EXPECT_EQ(m[3].member(kGroup).kept().promised, old);
  EXPECT_EQ(m[3].member(kGroup).kept().record.epoch, old);
  m.is_cut = [](uint16_t from, uint16_t to) { return from == 2 || to == 2; };
  m.run(5 * kLease);
  EXPECT_TRUE(m.speaks(1)) << "n3 does not echo it";
  EXPECT_EQ(m.epoch(1), old);
}

TEST(MembersArbiter, AnEchoDoesNotWaitForWhatIsPromisedForAnotherGroup) {
  const GroupId other(2);
  const Epoch epoch{2, NodeId(3)};
  MembersArbiter::Settings settings;
  settings.self = NodeId(1);
  settings.boot = BootId(1);
  settings.members = {{NodeId(1), "n1"}, {NodeId(2), "n2"}, {NodeId(3), "n3"}};
  settings.groups = {kGroup, other};
  settings.lease = kLease;
  MembersArbiter a(settings, KeptMemory(), kStart);
  Instant now = kStart + kEmbargo + 5ms;
  const auto hear = [&](uint32_t number) {
    mirror::GroupBeat says{.group = other};
    says.role = mirror::GroupRole::owner;
    says.epoch = epoch;
    says.leased = true;
    a.on_beat({.node = NodeId(3), .boot = BootId(3), .number = number, .groups = {says}}, now += 1ms);
  };
  const auto echo = [&] {
    mirror::GroupBeat beat{.group = other};
    a.fill(beat);
    return beat.echo_number;
  };
  const auto sent = [&] {
    return std::ranges::count_if(
        a.take_actions(), [](const Action& action) { return std::holds_alternative<SendVote>(action); });
  };
  hear(1);
  EXPECT_EQ(echo(), 0U) << "before it is on disk";
  a.on_kept(1, true, now);
  EXPECT_EQ(echo(), 1U);
  EXPECT_EQ(sent(), 0);
  const TakeoverRequest request{.ballot = {2, NodeId(2)}, .followed = {}, .cold = true, .void_from = {}};
  a.on_vote(NodeId(2), BootId(2),
            encode(VoteMessage{.group = kGroup, .asker = BootId(2), .question = 1, .request = request}), now);
  hear(2);
  EXPECT_EQ(echo(), 2U);
  EXPECT_EQ(sent(), 0) << "a grant that is not on disk";
  a.on_kept(2, true, now);
  EXPECT_EQ(sent(), 1);
}

// One that heard nothing of the owner for a while asked, was refused, and echoes that owner again.
TEST(MembersArbiter, WhoAskedInVainEchoesTheOwnerAgain) {
  Members m(3);
  m.own(1);
  const Epoch first = m.epoch(1);
  m.is_cut = [](uint16_t from, uint16_t to) { return from == 1 && to == 2; };
  m.run(2 * kEmbargo);
  m.ask(2, first);
  m.run(kLease);
  ASSERT_TRUE(m.verdict(2));
  m.is_cut = [](uint16_t, uint16_t) { return false; };
  m.run(50ms);
  m.is_cut = [](uint16_t from, uint16_t to) { return from == 3 || to == 3; };
  m.run(5 * kLease);
  EXPECT_TRUE(m.speaks(1)) << "n2 does not echo it";
  EXPECT_EQ(m.epoch(1), first);
}

TEST(MembersArbiter, AStandbyThatWasRemovedGetsNothing) {
  Members m(3);
  m.own(1);
  m[1].record(kGroup, m.epoch(1), NodeId(2), m.now());
  m.run(50ms);
  // n2 does not hear that it is removed.
  m.is_cut = [](uint16_t, uint16_t to) { return to == 2; };
  m[1].record(kGroup, m.epoch(1), NodeId(), m.now());
  m.run(20ms);
  EXPECT_TRUE(m[1].is_recorded(kGroup, m.epoch(1), NodeId()));
  const Epoch old = m.epoch(1);
  m.kill(1);
  m.run(2 * kEmbargo);
  m.is_cut = [](uint16_t, uint16_t) { return false; };
  m.ask(2, old);
  m.run(kLease);
  const auto verdict = m.verdict(2);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->kind, Verdict::Kind::denied);
  EXPECT_TRUE(verdict->out_of_sync);
  m.own(2);  // cold
}

// n3 has waited for long, n2 does not know yet that n1 is dead. Neither n2 itself grants n3 a cold claim, nor
// do those that hear n2; and when n2 does not claim, the group does not wait for it for ever.
TEST(MembersArbiter, NobodyIsGrantedAColdClaimWhileTheStandbyHasHadNoTimeToClaim) {
  for (const uint16_t nodes : {uint16_t{3}, uint16_t{5}}) {
    Members m(nodes);
    m.own(1);
    m[1].record(kGroup, m.epoch(1), NodeId(2), m.now());
    m.holder = 2;
    m[2].hold(kGroup, true);
    m.run(50ms);
    const Instant dies = m.now();
    m.kill(1);
    if (nodes == 5) m.is_cut = [](uint16_t from, uint16_t to) { return from + to == 5 && from * to == 6; };
    m.run(kEmbargo + 20ms);
    m.ask(3);
    m.run(kLease);
    const auto verdict = m.verdict(3);
    ASSERT_TRUE(verdict);
    EXPECT_EQ(verdict->kind, Verdict::Kind::denied);
    EXPECT_NE(verdict->why.find("holds the connections"), std::string::npos) << verdict->why;
    m.run(dies + 3s - m.now());
    m.own(3);
  }
}

TEST(MembersArbiter, ARemovalIsNotRecordedByAMinority) {
  Members m(3);
  m.own(1);
  m[1].record(kGroup, m.epoch(1), NodeId(2), m.now());
  m.run(50ms);
  m.is_cut = [](uint16_t from, uint16_t to) { return from == 1 || to == 1; };
  m[1].record(kGroup, m.epoch(1), NodeId(), m.now());
  m.run(kLease);
  EXPECT_FALSE(m[1].is_recorded(kGroup, m.epoch(1), NodeId()));
  EXPECT_FALSE(m.speaks(1));
}

TEST(MembersArbiter, WhatTheOwnerBeforeLeftIsHistoryOnceANewOneIsRecorded) {
  Members m(3);
  m.own(1);
  const Epoch first = m.epoch(1);
  m[1].record(kGroup, first, NodeId(2), m.now());
  m.run(50ms);
  m.is_cut = [](uint16_t from, uint16_t to) { return from == 1 || to == 1; };
  m.run(2 * kEmbargo);
  m.own(2, first);
  m.kill(2);
  m.is_cut = [](uint16_t, uint16_t) { return false; };
  m.run(2 * kEmbargo);
  m.ask(1, first);  // it believes that it holds what matters
  m.run(kLease);
  const auto verdict = m.verdict(1);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->kind, Verdict::Kind::denied) << "n2 may have acknowledged more";
  EXPECT_TRUE(verdict->out_of_sync);
}

TEST(MembersArbiter, NothingIsToldBeforeItIsOnDisk) {
  Members m(3);
  m.disk = 10ms;
  m.ask(1);
  m.run(15ms);
  EXPECT_FALSE(m.speaks(1)) << "granted, but the in-sync set is not on disk yet";
  ASSERT_TRUE(m.run_until([&] { return m.speaks(1); }, 20ms));
  const auto kept = decode_promises(m.node(2).disk.bytes);
  ASSERT_TRUE(kept && kept->contains(kGroup));
  EXPECT_EQ(kept->at(kGroup)->promised, m.epoch(1));
  EXPECT_EQ(kept->at(kGroup)->record, (InSyncRecord{m.epoch(1), 1, NodeId()}));
}

// Echoes take a heartbeat and its way back; an owner without a lease falls silent for longer than asking
// costs.
TEST(MembersArbiter, WhoIsGrantedItLateBeginsWithMostOfALease) {
  for (const Duration disk : {0ms, 10ms, 25ms, 35ms}) {
    for (const bool is_cold : {true, false}) {
      Members m(3);
      Epoch followed;
      if (!is_cold) {
        m.own(1);
        m[1].record(kGroup, m.epoch(1), NodeId(2), m.now());
        m.run(50ms);
        followed = m.epoch(1);
        m.kill(1);
        m.run(kEmbargo);
      }
      m.disk = disk;
      m.beats = false;
      m.ask(2, followed);
      ASSERT_TRUE(m.run_until([&] { return m.speaks(2); }, kLease + 20ms)) << to_ms(disk);
      EXPECT_GE(to_ms(m[2].lease_until(kGroup, m.epoch(2)) - m.now()), to_ms(kLease / 2)) << to_ms(disk);
      m.beats = true;
      m.disk = 0ms;
      m.run(kLease);
      EXPECT_TRUE(m.speaks(2)) << to_ms(disk);
    }
  }
}

TEST(MembersArbiter, AMemberThatRestartsBetweenTwoElectionsKeepsItsWord) {
  Members m(3);
  m.own(1);
  m[1].record(kGroup, m.epoch(1), NodeId(2), m.now());
  m.run(50ms);
  const Epoch old = m.epoch(1);
  m.kill(3);
  m.run(30ms);
  m.boot(3);
  m.kill(1);
  EXPECT_EQ(m[3].highest(kGroup), old);
  m.ask(2, old);
  m.run(kEmbargo / 2);
  EXPECT_FALSE(m.speaks(2)) << "n3 may have echoed something right before it went";
  m.run(kEmbargo);
  m.own(2, old);
  EXPECT_EQ(m.most_voices, 1U);
}

TEST(MembersArbiter, WhoLostItsMemoryVotesAgainWhenAnOwnerHasToldItWhoIsInSync) {
  Members m(3);
  m.own(1);
  m.run(50ms);
  m.kill(3);
  m.node(3).disk = {KeptMemory::State::unreadable, {}};
  m.boot(3);
  EXPECT_TRUE(m[3].member(kGroup).has_lost_memory());
  m.run(300ms);
  EXPECT_FALSE(m[3].member(kGroup).has_lost_memory());
  EXPECT_EQ(m[3].member(kGroup).kept().record.epoch, m.epoch(1));
}

TEST(MembersArbiter, ALateAnswerToAFormerQuestionIsNoGrant) {
  Members m(3);
  m.own(1);
  m.run(50ms);
  const Epoch epoch = m.epoch(1);
  const VoteMessage late{.kind = VoteMessage::Kind::answer,
                         .group = kGroup,
                         .asker = m.node(1).boot,
                         .question = 1,
                         .answer = {epoch, VoteReason::granted, epoch, {}}};
  m.kill(2);
  m.kill(3);
  m.run(2 * kLease);
  ASSERT_FALSE(m.speaks(1));
  m[1].claim({kGroup, epoch, epoch, true, false}, m.now());
  m[1].on_vote(NodeId(2), m.node(1).boot, encode(late), m.now());
  m.run(5ms);
  EXPECT_FALSE(m.speaks(1));
}

TEST(MembersArbiter, AnOwnerWhoseLeaseRanOutAsksForItsOwnBallotAgain) {
  Members m(3);
  m.own(1);
  m.run(50ms);
  const Epoch epoch = m.epoch(1);
  m.beats = false;
  m.run(2 * kEmbargo);
  ASSERT_FALSE(m.speaks(1));
  m.beats = true;
  m[1].claim({kGroup, epoch, epoch, true, false}, m.now());
  ASSERT_TRUE(m.run_until([&] { return m.speaks(1); }, 20ms));
  EXPECT_EQ(m.epoch(1), epoch);
}

// Candidates that ask at the same moment and retry as the failover machine does.
TEST(MembersArbiter, FiveWhoSplitTheirGrantsEndWithOneOwner) {
  int split = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Members m(5, seed);
    m.latency = 4ms;
    std::map<uint16_t, Instant> due;
    for (uint16_t id = 1; id <= 5; ++id) due[id] = m.now() + 1ms;
    size_t owners = 0;
    const Instant began = m.now();
    while (owners == 0 && m.now() < began + 5s) {
      for (auto& [id, when] : due) {
        if (const auto verdict = m.verdict(id); verdict && verdict->kind == Verdict::Kind::denied) {
          when = m.now() + 5ms + Duration(m.random().below(40'000'000));
          ++split;
        }
        if (when > m.now()) continue;
        when = kNever;
        m.ask(id);
      }
      m.run(1ms);
      owners = 0;
      for (uint16_t id = 1; id <= 5; ++id) owners += m.speaks(id);
    }
    EXPECT_EQ(owners, 1U) << "seed " << seed;
    EXPECT_LE(m.most_voices, 1U) << "seed " << seed;
  }
  EXPECT_GT(split, 50) << "they never split: the test tests nothing";
}

}  // namespace
}  // namespace understudy::cluster
