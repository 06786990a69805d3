// What a member answers and why, what a candidate makes of it, and how long an owner may speak.
#include "control/cluster/votes.h"

#include <gtest/gtest.h>

namespace understudy::cluster {
namespace {

constexpr NodeId kN1{1}, kN2{2}, kN3{3};
constexpr Instant kStart{1000s};
const VoteSettings kSettings{.members = 3, .lease = 100ms};

TakeoverRequest warm(Epoch ballot, Epoch followed) {
  return {.ballot = ballot, .followed = followed};
}
TakeoverRequest cold(Epoch ballot) {
  return {.ballot = ballot, .cold = true};
}
TakeoverAnswer grant(Epoch ballot, InSyncRecord record = {}) {
  return {ballot, VoteReason::granted, ballot, record};
}

TEST(VoteMember, GrantsTheFirstAndKeepsOthersWaitingForALease) {
  VoteMember member(kSettings);
  EXPECT_EQ(member.ask(cold({1, kN1}), kStart).reason, VoteReason::granted);
  const TakeoverAnswer other = member.ask(cold({2, kN2}), kStart + 100ms);
  EXPECT_EQ(other.reason, VoteReason::lease_is_live);
  EXPECT_EQ(member.ask(cold({2, kN2}), kStart + 101ms).reason, VoteReason::granted);
  EXPECT_EQ(member.kept().promised, (Epoch{2, kN2}));
}

TEST(VoteMember, AHigherBallotOfTheSameNodeNeedNotWaitAndALowerOneIsRefused) {
  VoteMember member(kSettings);
  EXPECT_TRUE(member.ask(cold({5, kN1}), kStart).is_grant());
  EXPECT_TRUE(member.ask(cold({6, kN1}), kStart + 1ms).is_grant());
  const TakeoverAnswer late = member.ask(cold({5, kN1}), kStart + 1s);
  EXPECT_EQ(late.reason, VoteReason::promised_higher);
  EXPECT_EQ(late.highest, (Epoch{6, kN1}));
}

TEST(VoteMember, ACandidateThatGivesUpSetsOthersFree) {
  VoteMember member(kSettings);
  EXPECT_TRUE(member.ask(cold({1, kN1}), kStart).is_grant());
  member.release({1, kN2}, false, kStart + 1ms);
  EXPECT_FALSE(member.ask(cold({2, kN2}), kStart + 1ms).is_grant());
  member.release({1, kN1}, false, kStart + 2ms);
  EXPECT_TRUE(member.ask(cold({2, kN2}), kStart + 2ms).is_grant());
}

// A record travels with questions, too, and may arrive after its ballot has been given up.
TEST(VoteMember, WhatItLearnsOfABallotUnderWhichNobodyOwnedIsForgottenWithTheNextQuestion) {
  VoteMember member(kSettings);
  EXPECT_TRUE(member.record({{2, kN1}, 3, kN2}));
  const KeptPromise before = member.kept();
  member.release({3, kN2}, true, kStart);
  member.learn({{3, kN2}, 1, NodeId()});
  EXPECT_EQ(member.kept().record.epoch, (Epoch{3, kN2}));
  EXPECT_EQ(member.ask(warm({2, kN1}, {2, kN1}), kStart).reason, VoteReason::not_in_sync);
  // The owner that was there before is still heard.
  EXPECT_TRUE(member.hear_owner({2, kN1}, kStart));
  TakeoverRequest again = warm({4, kN2}, {2, kN1});
  again.void_from = {3, kN2};
  EXPECT_TRUE(member.ask(again, kStart + 200ms).is_grant());
  EXPECT_EQ(member.kept().record, before.record);
}

TEST(VoteMember, ABallotUnderWhichNobodyOwnedIsForgottenInAnyOrder) {
  for (const bool in_order : {true, false}) {
    VoteMember member(kSettings);
    EXPECT_TRUE(member.record({{2, kN1}, 3, kN2}));
    const KeptPromise before = member.kept();
    EXPECT_TRUE(member.ask({{3, kN2}, {2, kN1}, false}, kStart).is_grant());
    EXPECT_TRUE(member.record({{3, kN2}, 1, NodeId()}));
    EXPECT_TRUE(member.ask(cold({4, kN1}), kStart + 1s).is_grant());
    member.release(in_order ? Epoch{3, kN2} : Epoch{4, kN1}, true, kStart + 2s);
    EXPECT_NE(member.kept(), before);
    member.release(in_order ? Epoch{4, kN1} : Epoch{3, kN2}, true, kStart + 2s);
    EXPECT_EQ(member.kept(), before);
    EXPECT_TRUE(member.hear_owner({2, kN1}, kStart + 3s));
  }
}

TEST(VoteMember, ARepeatedQuestionTakesBackTheFormerOnesToo) {
  VoteMember member(kSettings);
  EXPECT_TRUE(member.record({{2, kN1}, 3, kN2}));
  EXPECT_TRUE(member.ask({{3, kN2}, {2, kN1}, false}, kStart).is_grant());
  EXPECT_TRUE(member.record({{3, kN2}, 1, NodeId()}));
  EXPECT_EQ(member.ask({{4, kN2}, {2, kN1}, false}, kStart + 1ms).reason, VoteReason::not_in_sync);
  EXPECT_TRUE(member.ask({{5, kN2}, {2, kN1}, false, {3, kN2}}, kStart + 2ms).is_grant());
}

TEST(VoteMember, EachHeartbeatOfTheOwnerProlongsThePromise) {
  VoteMember member(kSettings);
  EXPECT_TRUE(member.ask(cold({2, kN1}), kStart).is_grant());
  EXPECT_TRUE(member.hear_owner({2, kN1}, kStart + 80ms));
  EXPECT_EQ(member.ask(cold({3, kN2}), kStart + 180ms).reason, VoteReason::lease_is_live);
  EXPECT_TRUE(member.ask(cold({3, kN2}), kStart + 181ms).is_grant());
  EXPECT_FALSE(member.hear_owner({2, kN1}, kStart + 182ms)) << "it has been replaced";
}

// A former owner that was cut off asks for its group again under ever higher ballots, and has not heard of
// the record that its successor made before it died. Who is named in that brings it along.
TEST(VoteMember, ARecordThatComesWithAQuestionIsLearntBelowAPromiseToo) {
  VoteMember member(kSettings);
  EXPECT_TRUE(member.record({{3, kN2}, 2, kN1}));
  EXPECT_TRUE(member.ask(warm({5, kN2}, {3, kN2}), kStart).is_grant());
  const InSyncRecord record{{4, kN1}, 2, kN3};
  EXPECT_FALSE(member.record(record)) << "an owner of that epoch must not count on it";
  EXPECT_EQ(member.ask(warm({6, kN3}, {4, kN1}), kStart + 200ms).reason, VoteReason::not_in_sync);
  member.learn(record);
  EXPECT_EQ(member.kept().promised, (Epoch{5, kN2}));
  EXPECT_TRUE(member.ask(warm({6, kN3}, {4, kN1}), kStart + 200ms).is_grant());
}

// The candidate's own record may be older than one that this member has confirmed and forgotten.
TEST(VoteMember, ACandidateDoesNotMakeUpForALostMemory) {
  VoteMember member(kSettings, std::nullopt, kStart);
  member.learn({{4, kN1}, 2, kN3});
  EXPECT_EQ(member.ask(warm({6, kN3}, {4, kN1}), kStart + 1s).reason, VoteReason::memory_lost);
}

TEST(VoteMember, AfterARestartItIsSilentForTheLongestLeaseAndKnowsWhatItPromised) {
  const KeptPromise kept{{7, kN1}, {{7, kN1}, 1, kN2}};
  VoteMember member(kSettings, kept, kStart);
  EXPECT_EQ(member.ask(warm({8, kN2}, {7, kN1}), kStart + 100ms).reason, VoteReason::restarted);
  EXPECT_FALSE(member.hear_owner({7, kN1}, kStart + 100ms));
  EXPECT_EQ(member.ask(warm({6, kN2}, {7, kN1}), kStart + 101ms).reason, VoteReason::promised_higher);
  EXPECT_TRUE(member.ask(warm({8, kN2}, {7, kN1}), kStart + 101ms).is_grant());
}

TEST(VoteMember, WhoCannotReadItsPromisesVotesWhenItHasLearntWhoIsInSync) {
  VoteMember member(kSettings, std::nullopt, kStart);
  EXPECT_EQ(member.ask(cold({9, kN2}), kStart + 1s).reason, VoteReason::memory_lost);
  EXPECT_FALSE(member.hear_owner({7, kN1}, kStart + 1s));
  EXPECT_TRUE(member.record({{7, kN1}, 4, kN3}));
  EXPECT_EQ(member.ask(warm({8, kN2}, {7, kN1}), kStart + 2s).reason, VoteReason::not_in_sync);
  EXPECT_TRUE(member.ask(warm({8, kN3}, {7, kN1}), kStart + 2s).is_grant());
}

// Between the end of the owner's lease and the moment at which its standby finds it dead there are some
// milliseconds in which nobody else hinders a cold claim.
TEST(VoteMember, AColdClaimWaitsAWhileForWhoIsInSyncAndIsHeard) {
  VoteMember member(kSettings);
  EXPECT_TRUE(member.record({{2, kN1}, 1, kN2}));
  EXPECT_TRUE(member.hear_owner({2, kN1}, kStart));
  const Instant over = kStart + kSettings.embargo();
  EXPECT_EQ(member.ask(cold({3, kN3}), over, true).reason, VoteReason::holder_lives);
  EXPECT_EQ(member.kept().promised, (Epoch{2, kN1})) << "whom it refuses it promises nothing";
  EXPECT_EQ(member.ask(cold({3, kN3}), kStart + kSettings.cold_after - 1ms, true).reason,
            VoteReason::holder_lives);
  VoteMember claims = member, deaf = member;
  EXPECT_TRUE(claims.ask(warm({3, kN2}, {2, kN1}), over, true).is_grant());
  EXPECT_TRUE(deaf.ask(cold({3, kN3}), over, false).is_grant()) << "nobody is heard who holds any";
  EXPECT_TRUE(member.ask(cold({3, kN3}), kStart + kSettings.cold_after, true).is_grant())
      << "and not for ever";
}

TEST(VoteMember, OnlyWhoIsInSyncIsGrantedAWarmClaim) {
  VoteMember member(kSettings);
  EXPECT_TRUE(member.record({{2, kN1}, 1, kN2}));
  EXPECT_EQ(member.ask(warm({3, kN3}, {2, kN1}), kStart).reason, VoteReason::not_in_sync);
  EXPECT_EQ(member.ask(warm({3, kN2}, {1, kN1}), kStart).reason, VoteReason::not_in_sync)
      << "an older owner's";
  EXPECT_TRUE(member.record({{2, kN1}, 2, NodeId()})) << "n2 is removed";
  EXPECT_EQ(member.ask(warm({3, kN2}, {2, kN1}), kStart).reason, VoteReason::not_in_sync);
  EXPECT_FALSE(member.record({{2, kN1}, 1, kN2})) << "that message is old";
  EXPECT_TRUE(member.ask(cold({3, kN3}), kStart).is_grant());
  EXPECT_FALSE(member.record({{2, kN1}, 3, kN2})) << "that owner has been replaced";
}

TEST(VoteCandidate, AMajorityIsEnoughAndTheLeaseRunsFromTheQuestion) {
  VoteCandidate candidate(kSettings, cold({2, kN1}), kStart);
  EXPECT_EQ(candidate.hear(kN1, grant({2, kN1}), kStart + 1ms), VoteCandidate::State::asking);
  EXPECT_EQ(candidate.hear(kN1, grant({2, kN1}), kStart + 2ms), VoteCandidate::State::asking) << "said twice";
  EXPECT_EQ(candidate.hear(kN2, grant({1, kN1}), kStart + 2ms), VoteCandidate::State::asking)
      << "of a former one";
  EXPECT_EQ(candidate.lease_until(), Instant::min());
  EXPECT_EQ(candidate.hear(kN3, grant({2, kN1}), kStart + 30ms), VoteCandidate::State::granted);
  EXPECT_EQ(candidate.lease_until(), kStart + 100ms);
}

TEST(VoteCandidate, LateGrantsCountForNothingAndTheNextBallotIsAboveAllSeen) {
  VoteCandidate candidate(kSettings, cold({2, kN1}), kStart);
  const TakeoverAnswer denied{{2, kN1}, VoteReason::promised_higher, {9, kN3}, {}};
  EXPECT_EQ(candidate.hear(kN3, denied, kStart + 1ms), VoteCandidate::State::asking);
  EXPECT_EQ(candidate.next_ballot(), (Epoch{10, kN1}));
  EXPECT_EQ(candidate.hear(kN1, grant({2, kN1}), kStart + 1ms), VoteCandidate::State::asking);
  EXPECT_EQ(candidate.hear(kN2, grant({2, kN1}), kStart + 100ms), VoteCandidate::State::failed);
}

TEST(VoteCandidate, ARecordThatOneOfTheMajorityKnowsIsBinding) {
  VoteCandidate candidate(kSettings, warm({3, kN2}, {2, kN1}), kStart);
  const InSyncRecord with{{2, kN1}, 1, kN2};
  const InSyncRecord without{{2, kN1}, 2, NodeId()};
  candidate.hear(kN2, grant({3, kN2}, with), kStart + 1ms);
  EXPECT_EQ(candidate.hear(kN3, grant({3, kN2}, without), kStart + 1ms), VoteCandidate::State::failed);
}

TEST(VoteLease, ReachesFromWhatAMajorityHasEchoedAndNotFromWhenItCame) {
  VoteLease lease(kSettings, kN1, kStart + 100ms);
  lease.sent(1, kStart + 20ms);
  EXPECT_EQ(lease.until(), kStart + 100ms) << "we alone are no majority";
  lease.sent(2, kStart + 40ms);
  lease.echoed(kN2, 1);
  EXPECT_EQ(lease.until(), kStart + 120ms);
  lease.echoed(kN2, 77);
  EXPECT_EQ(lease.until(), kStart + 120ms) << "an echo of what was never sent";
  lease.echoed(kN3, 2);
  EXPECT_EQ(lease.until(), kStart + 140ms);
  lease.echoed(kN2, 1);
  EXPECT_EQ(lease.until(), kStart + 140ms);
}

TEST(VoteLease, OfFiveMembersThreeAreNeeded) {
  VoteLease lease({.members = 5, .lease = 100ms}, kN1, kStart);
  lease.sent(1, kStart + 20ms);
  lease.echoed(kN2, 1);
  EXPECT_EQ(lease.until(), kStart);
  lease.echoed(kN3, 1);
  EXPECT_EQ(lease.until(), kStart + 120ms);
}

}  // namespace
}  // namespace understudy::cluster
