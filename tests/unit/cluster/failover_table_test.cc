#include <algorithm>

#include <gtest/gtest.h>

#include "control/cluster/failover.h"

namespace understudy::cluster {
namespace {

using S = GroupState;
using E = FailoverEvent;

constexpr Instant kStart{50s};

// The whole table: what a machine in the state of the row becomes by the event of the column. "." is
// ignored; "=" acts and stays. Columns are in the order of FailoverEvent; the inputs are those of
// input_for().
struct ExpectedRow {
  S state;
  const char* after[kFailoverEvents];
};

// clang-format off
const ExpectedRow kExpected[] = {
  //                       deadline              owner_heard           owner_suspected  owner_released witness_answered promoted              stalled           readiness             yield       retire         serve       handed      refused  cut_off granted denied lease_lost
  {S::learning,          {"suspecting",         "standby(syncing)",   ".",             ".",           ".",             ".",                  "=",              "=",                  ".",        "maintenance", ".",        ".", ".", ".", ".", ".", "."}},
  {S::standby_syncing,   {".",                  "=",                  "suspecting",    "claiming",    ".",             ".",                  "standby(stale)", "standby(synced)",    ".",        "maintenance", ".",        ".", ".", ".", ".", ".", "."}},
  {S::standby_synced,    {".",                  "=",                  "suspecting",    "claiming",    ".",             ".",                  "standby(stale)", "=",                  ".",        "maintenance", ".",        "claiming", ".", ".", ".", ".", "."}},
  {S::standby_stale,     {".",                  "=",                  "suspecting",    "suspecting",  ".",             ".",                  ".",              "standby(synced)",    ".",        "maintenance", ".",        ".", ".", ".", ".", ".", "."}},
  {S::standby_empty,     {".",                  "=",                  "suspecting",    "suspecting",  ".",             ".",                  ".",              "standby(synced)",    ".",        "maintenance", ".",        ".", ".", ".", ".", ".", "."}},
  {S::suspecting,        {"=",                  "standby(synced)",    ".",             "claiming",    "claiming",      ".",                  "learning",       "=",                  ".",        "maintenance", ".",        ".", ".", ".", ".", ".", "."}},
  {S::requesting,        {".",                  "standby(synced)",    ".",             ".",           ".",             ".",                  "suspecting",     "=",                  ".",        "maintenance", ".",        ".", ".", ".", "claiming", "suspecting", "."}},
  {S::claiming,          {"=",                  "standby(stale)",     ".",             ".",           ".",             "owner(unprotected)", "fenced",         "=",                  ".",        "yielding",    ".",        ".", ".", "yielding", ".", ".", "fenced"}},
  {S::owner_unprotected, {".",                  "standby(stale)",     ".",             ".",           ".",             ".",                  "fenced",         "owner(protected)",   "=",        "yielding",    ".",        ".", ".", "yielding", ".", ".", "fenced"}},
  {S::owner_syncing,     {".",                  "standby(stale)",     ".",             ".",           ".",             ".",                  "fenced",         "owner(protected)",   "=",        "yielding",    ".",        ".", ".", "yielding", ".", ".", "fenced"}},
  {S::owner_protected,   {".",                  "standby(stale)",     ".",             ".",           ".",             ".",                  "fenced",         "=",                  "yielding", "yielding",    ".",        ".", ".", "yielding", ".", ".", "fenced"}},
  {S::yielding,          {"owner(protected)",   "standby(syncing)",    ".",             ".",           ".",             ".",                  ".",              "=",                  ".",        "=",           ".",        ".", "owner(protected)", ".", ".", ".", "."}},
  {S::fenced,            {"owner(protected)",   "standby(stale)",     ".",             ".",           ".",             ".",                  "=",              "=",                  ".",        "yielding",    ".",        ".", ".", ".", "=", "=", "."}},
  {S::maintenance,       {".",                  "=",                  ".",             ".",           ".",             ".",                  ".",              "=",                  ".",        ".",           "learning", ".", ".", ".", ".", ".", "."}},
};
// clang-format on

struct Rig {
  FailoverMachine machine;
  Surroundings around;
  Actions actions;
  Instant now = kStart;
  std::vector<std::string> log;

  explicit Rig(bool may_take_over = true, bool asks = false)
      : machine(
            [may_take_over, asks] {
              FailoverSettings settings;
              settings.self = NodeId(2);
              settings.group = GroupId(1);
              settings.name = "web";
              settings.successors = {NodeId(1), NodeId(2)};
              settings.may_take_over = may_take_over;
              settings.asks = asks;
              return settings;
            }(),
            [this](LogLevel, std::string_view sentence, Instant) { log.emplace_back(sentence); }, Random(1)) {
    machine.start(now, actions);
  }
  Rig(const Rig&) = delete;

  FailoverInput input_for(E event) const {
    FailoverInput input;
    input.event = event;
    input.now = now;
    input.owner = {NodeId(1), BootId(1), Epoch{machine.epoch().counter > 0 ? 9U : 2U, NodeId(1)}, "n1"};
    input.why = event == E::stalled ? "was away" : "is silent";
    input.last_heard = now;
    input.report.readiness = Readiness::synced;
    if (machine.state() == S::requesting) input.ballot = asked().ballot;
    return input;
  }
  const Claim& asked() const {
    const auto claim = std::find_if(actions.rbegin(), actions.rend(), [](const Action& action) {
      return std::holds_alternative<Claim>(action);
    });
    return std::get<Claim>(*claim);
  }
  void feed(E event) { feed(input_for(event)); }
  void feed(const FailoverInput& input) { machine.handle(input, around, actions); }
  void mirror(Readiness readiness) {
    FailoverInput input = input_for(E::readiness);
    input.report.readiness = readiness;
    feed(input);
  }
  void wait_for_deadline() {
    now = machine.deadline();
    feed(E::deadline);
  }

  void bring_to(S state) {
    if (state == S::learning) return;
    feed(E::owner_heard);
    if (state == S::standby_syncing) return;
    if (state == S::standby_stale) return mirror(Readiness::stale);
    if (state == S::standby_empty) return mirror(Readiness::none);
    if (state == S::maintenance) return feed(E::retire);
    mirror(Readiness::synced);
    if (state == S::standby_synced) return;
    feed(E::owner_suspected);
    if (state == S::suspecting) {
      now += 15ms;  // its turn has come, a witness has not answered
      return;
    }
    feed(E::owner_released);
    if (state == S::claiming || state == S::requesting) return;
    feed(E::promoted);
    if (state == S::owner_unprotected) return;
    mirror(state == S::owner_syncing ? Readiness::syncing : Readiness::synced);
    if (state == S::yielding) feed(E::yield);
    if (state == S::fenced) feed(E::stalled);
  }

  template <class Kind>
  size_t count() const {
    return static_cast<size_t>(std::count_if(actions.begin(), actions.end(), [](const Action& action) {
      return std::holds_alternative<Kind>(action);
    }));
  }
};

TEST(FailoverTable, EveryStateAndEventIsAsWritten) {
  size_t acting = 0;
  for (size_t s = 0; s < kGroupStates; ++s) {
    const ExpectedRow& row = kExpected[s];
    ASSERT_EQ(static_cast<size_t>(row.state), s);
    for (size_t e = 0; e < kFailoverEvents; ++e) {
      Rig rig(true, row.state == S::requesting);
      rig.bring_to(row.state);
      ASSERT_EQ(rig.machine.state(), row.state) << name_of(row.state);
      const auto event = static_cast<E>(e);
      const std::string expected = row.after[e];
      const std::string what = std::string(name_of(row.state)) + " x " + std::string(name_of(event));
      EXPECT_EQ(FailoverMachine::acts(row.state, event), expected != ".") << what;
      acting += expected != "." ? 1 : 0;
      const FailoverInput input = rig.input_for(event);
      rig.actions.clear();
      rig.feed(input);
      const std::string_view stays = name_of(row.state);
      EXPECT_EQ(name_of(rig.machine.state()), expected == "." || expected == "=" ? stays : expected) << what;
      if (expected == ".") {
        EXPECT_TRUE(rig.actions.empty()) << what;
      }
    }
  }
  EXPECT_EQ(acting, 85U);
}

TEST(FailoverTable, ASupersededOwnerIsMutedBeforeItIsDemoted) {
  Rig rig;
  rig.bring_to(S::owner_protected);
  rig.actions.clear();
  rig.feed(E::owner_heard);
  ASSERT_GE(rig.actions.size(), 3U);
  EXPECT_TRUE(std::holds_alternative<Mute>(rig.actions[0]));
  ASSERT_TRUE(std::holds_alternative<Demote>(rig.actions[2]));
  EXPECT_EQ(std::get<Demote>(rig.actions[2]).epoch, (Epoch{9, NodeId(1)}));
  ASSERT_GE(rig.log.size(), 2U);
  EXPECT_EQ(rig.log[rig.log.size() - 2],
            "group web: owner(protected) -> fenced: n1 owns it with the higher epoch 9.1");
  EXPECT_EQ(rig.log.back(), "group web: fenced -> standby(stale): replaced by n1");
}

TEST(FailoverTable, WhoWasAwayStandsByWhenAnybodyHasOwnedSinceEvenIfThatOneIsSilentNow) {
  Rig rig;
  rig.bring_to(S::fenced);
  rig.around.later_owner = HeardOwner{NodeId(1), BootId(1), {9, NodeId(1)}, "n1"};
  rig.wait_for_deadline();
  EXPECT_EQ(rig.machine.state(), S::standby_stale);
  EXPECT_EQ(rig.count<Unmute>(), 0U);
}

TEST(FailoverTable, WhoWasAwayStaysSilentAsLongAsAWorkerHangs) {
  Rig rig;
  rig.bring_to(S::fenced);
  rig.around.is_deaf = true;
  for (int i = 0; i < 5; ++i) rig.wait_for_deadline();
  EXPECT_EQ(rig.machine.state(), S::fenced);
  rig.around.is_deaf = false;
  const Instant hears = rig.now;
  while (rig.machine.state() == S::fenced) rig.wait_for_deadline();
  EXPECT_EQ(rig.machine.state(), S::owner_protected);
  EXPECT_GE(rig.now - hears, 100ms) << "what it could not hear before";
}

TEST(FailoverTable, ADenialIsToldOnceAndTheNextBallotIsAboveAllThatItNames) {
  Rig rig(true, true);
  rig.bring_to(S::requesting);
  EXPECT_TRUE(rig.asked().in_sync);
  FailoverInput denied = rig.input_for(E::denied);
  denied.highest = {17, NodeId(3)};
  denied.why = "n3 says: it has granted a higher ballot";
  rig.feed(denied);
  EXPECT_EQ(rig.machine.state(), S::suspecting);
  rig.wait_for_deadline();
  while (rig.machine.state() == S::suspecting) rig.wait_for_deadline();
  EXPECT_EQ(rig.asked().ballot, (Epoch{18, NodeId(2)}));
  const size_t events = rig.count<Event>();
  FailoverInput again = rig.input_for(E::denied);
  again.why = denied.why;
  rig.feed(again);
  EXPECT_EQ(rig.count<Event>(), events);
  EXPECT_EQ(rig.machine.denial(), denied.why);
}

// It has been replaced, and says for a moment what it has not heard yet; without an arbiter it may have
// claimed with a lower epoch because it did not know ours.
TEST(FailoverTable, AnOlderOwnerThatWakesUpReplacesNobodyUnderAnArbiter) {
  for (const bool asks : {true, false}) {
    Rig rig(true, asks);
    rig.bring_to(asks ? S::requesting : S::fenced);
    if (asks) {
      rig.feed(E::granted);
      rig.feed(E::promoted);
      rig.feed(E::stalled);
    }
    ASSERT_EQ(rig.machine.state(), S::fenced);
    const Epoch ours = rig.machine.epoch();
    rig.around.other_owner = HeardOwner{NodeId(1), BootId(1), {ours.counter - 1, NodeId(1)}, "n1"};
    rig.wait_for_deadline();
    EXPECT_EQ(rig.machine.state(), asks ? S::fenced : S::standby_stale);
    EXPECT_EQ(rig.count<Demote>(), asks ? 0U : 1U);
    if (asks) {
      EXPECT_EQ(rig.asked().ballot, ours);
    }
  }
}

// Who hands over and does not hear its heir says for a while that it owns.
TEST(FailoverTable, UnderAnArbiterNobodyFollowsAnOwnerOfBeforeAgain) {
  for (const bool asks : {true, false}) {
    Rig rig(true, asks);
    rig.bring_to(S::standby_empty);
    FailoverInput newer = rig.input_for(E::owner_heard);
    newer.owner = {NodeId(3), BootId(3), Epoch{7, NodeId(3)}, "n3"};
    FailoverInput older = newer;
    older.owner = {NodeId(1), BootId(1), Epoch{6, NodeId(1)}, "n1"};
    rig.feed(newer);
    const size_t orders = rig.count<Follow>();
    rig.feed(older);
    EXPECT_EQ(rig.count<Follow>(), orders + (asks ? 0U : 1U));
  }
}

TEST(FailoverTable, WhoIsFoundOutOfSyncResumesNothingAndAsksColdLater) {
  Rig rig(true, true);
  rig.bring_to(S::requesting);
  FailoverInput denied = rig.input_for(E::denied);
  denied.out_of_sync = true;
  rig.feed(denied);
  EXPECT_EQ(rig.count<DropCopies>(), 1U);
  const Instant began = rig.now;
  while (rig.machine.state() == S::suspecting) rig.wait_for_deadline();
  EXPECT_GE(rig.now - began, 2s);
  EXPECT_TRUE(rig.asked().cold);
}

// While no majority was heard the holder of the connections could not ask, either.
TEST(FailoverTable, WhoHoldsNothingLetsOthersGoFirstOnceThereIsSomebodyToAsk) {
  for (const bool is_denied : {false, true}) {
    Rig rig(true, true);
    rig.bring_to(S::standby_empty);
    rig.around.obstacle = "nobody is heard";
    rig.around.better_holder = true;
    rig.feed(E::owner_suspected);
    const Instant began = rig.now;
    while (rig.now < began + 4s) rig.wait_for_deadline();
    EXPECT_EQ(rig.count<Claim>(), 0U);
    rig.around.obstacle.reset();
    Instant asks_from = rig.now;
    if (is_denied) {
      while (rig.machine.state() == S::suspecting) rig.wait_for_deadline();
      rig.feed(E::denied);
      asks_from = rig.now;
    }
    while (rig.machine.state() == S::suspecting) rig.wait_for_deadline();
    EXPECT_GE(rig.now - asks_from, 2900ms) << is_denied;
    EXPECT_LE(rig.now - asks_from, 3200ms) << is_denied;
    EXPECT_TRUE(rig.asked().cold);
  }
}

TEST(FailoverTable, AnOwnerWhoseLeaseIsOverAsksForItsOwnBallotUntilSomebodyHasAHigherOne) {
  Rig rig(true, true);
  rig.bring_to(S::requesting);
  rig.feed(E::granted);
  rig.feed(E::promoted);
  const Epoch epoch = rig.machine.epoch();
  rig.feed(E::lease_lost);
  ASSERT_EQ(rig.machine.state(), S::fenced);
  rig.around.obstacle = "nobody is heard";
  rig.wait_for_deadline();
  EXPECT_EQ(rig.count<Claim>(), 1U) << "it hears nobody, and does not ask";
  rig.around.obstacle.reset();
  rig.wait_for_deadline();
  EXPECT_EQ(rig.asked().ballot, epoch);
  EXPECT_EQ(rig.asked().followed, epoch);
  FailoverInput denied = rig.input_for(E::denied);
  denied.ballot = epoch;
  denied.highest = {30, NodeId(3)};
  rig.feed(denied);
  rig.wait_for_deadline();
  EXPECT_EQ(rig.asked().ballot, (Epoch{31, NodeId(2)}));
  EXPECT_EQ(rig.asked().followed, epoch);
  FailoverInput granted = rig.input_for(E::granted);
  granted.ballot = rig.asked().ballot;
  rig.feed(granted);
  EXPECT_EQ(rig.machine.state(), S::claiming);
  EXPECT_EQ(rig.machine.epoch(), (Epoch{31, NodeId(2)}));
}

TEST(FailoverTable, ALowerEpochDoesNotMoveAnOwner) {
  Rig rig;
  rig.bring_to(S::owner_protected);
  rig.actions.clear();
  FailoverInput rival = rig.input_for(E::owner_heard);
  rival.owner.epoch = {1, NodeId(1)};
  rig.feed(rival);
  EXPECT_EQ(rig.machine.state(), S::owner_protected);
  EXPECT_EQ(rig.count<SendOwnership>(), 1U) << "it is told";
  EXPECT_EQ(rig.count<Mute>(), 0U);
}

TEST(FailoverTable, EqualCountersAreResolvedByNode) {
  Rig rig;
  rig.bring_to(S::owner_protected);
  const uint32_t counter = rig.machine.epoch().counter;
  FailoverInput rival = rig.input_for(E::owner_heard);
  rival.owner.epoch = {counter, NodeId(1)};
  rig.feed(rival);
  EXPECT_EQ(rig.machine.state(), S::owner_protected) << "2 is above 1";
  rival.owner.epoch = {counter, NodeId(3)};
  rig.feed(rival);
  EXPECT_EQ(rig.machine.state(), S::standby_stale);
}

TEST(FailoverTable, TheEpochExceedsEveryOneSeen) {
  Rig rig;
  rig.around.highest_epoch = {41, NodeId(7)};
  rig.bring_to(S::claiming);
  EXPECT_EQ(rig.machine.epoch(), (Epoch{42, NodeId(2)}));
}

TEST(FailoverTable, AWitnessFromLongAgoDoesNotCount) {
  Rig rig;
  rig.bring_to(S::standby_stale);
  rig.feed(E::owner_suspected);
  rig.feed(E::witness_answered);
  EXPECT_EQ(rig.machine.state(), S::suspecting) << "stale: not before 3 s";
  while (rig.now < kStart + 4s) rig.wait_for_deadline();
  EXPECT_EQ(rig.machine.state(), S::suspecting);
  rig.feed(E::witness_answered);
  EXPECT_EQ(rig.machine.state(), S::suspecting) << "it was cut off, and may hear the owner in a moment";
  rig.now += 100ms;
  rig.feed(E::witness_answered);
  EXPECT_EQ(rig.machine.state(), S::claiming);
  EXPECT_TRUE(rig.machine.last_takeover()->cold);
}

TEST(FailoverTable, WhoWasCutOffGivesTheOwnerTimeToBeHeard) {
  Rig rig;
  rig.bring_to(S::standby_synced);
  rig.feed(E::owner_suspected);
  rig.now += 200ms;
  rig.feed(E::witness_answered);
  EXPECT_EQ(rig.machine.state(), S::suspecting);
  rig.now += 20ms;
  rig.feed(E::owner_heard);
  EXPECT_EQ(rig.machine.state(), S::standby_synced);
  EXPECT_EQ(rig.count<Promote>(), 0U);
}

TEST(FailoverTable, ARetiredOwnerWithoutSuccessorRestsInTheEnd) {
  Rig rig;
  rig.bring_to(S::owner_unprotected);
  rig.feed(E::retire);
  EXPECT_EQ(rig.machine.role(), mirror::GroupRole::releasing);
  rig.wait_for_deadline();
  EXPECT_EQ(rig.machine.state(), S::maintenance);
  EXPECT_EQ(rig.count<Demote>(), 1U);
}

TEST(FailoverTable, WorkersThatDoNotConfirmAreNamed) {
  Rig rig;
  rig.bring_to(S::claiming);
  rig.actions.clear();
  rig.wait_for_deadline();
  ASSERT_EQ(rig.count<Event>(), 1U);
  EXPECT_EQ(std::get<Event>(rig.actions[0]).sentence,
            "group web: the workers have not confirmed the claim yet");
}

TEST(FailoverTable, HistoryKeepsTheEvidenceOfTheLastSteps) {
  Rig rig;
  rig.bring_to(S::owner_unprotected);
  const auto& history = rig.machine.history();
  ASSERT_EQ(history.size(), 5U);
  EXPECT_EQ(history[2].to, S::suspecting);
  EXPECT_EQ(history[2].why, "n1 is silent");
  for (int i = 0; i < 50; ++i) rig.mirror(i % 2 == 0 ? Readiness::syncing : Readiness::synced);
  EXPECT_EQ(history.size(), 32U);
}

}  // namespace
}  // namespace understudy::cluster
