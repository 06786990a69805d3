// What SYNs may cost, and who gets through.
#include "dataplane/worker/syn_guard.h"

#include <deque>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace understudy {
namespace {

using wire::Opening;

Opening syn(uint32_t source, uint32_t seq = 7) {
  return {{IpAddress::v4(0x0a0a000a), IpAddress::v4(source), PortNumber(80), PortNumber(4000)}, Seq(seq)};
}

// Rounds of a worker that is never idle: each takes what its frames take.
struct BusyWorker {
  explicit BusyWorker(Duration cost_of_syn) : syn_cost(cost_of_syn) {}
  // True if the SYN was answered.
  bool take(const Opening& opening) {
    const bool answered = guard.admits(opening);
    spend(answered ? syn_cost : kDropCost);
    if (answered) on_syns += syn_cost;
    return answered;
  }
  void take_other() {
    guard.note_other();
    spend(kOtherCost);
  }
  void spend(Duration cost) {
    now += cost;
    if (++frames % 32 == 0) guard.begin_round(now);
  }
  static constexpr Duration kDropCost = 100ns, kOtherCost = 2us;
  worker::SynGuard guard{Secret{{1}}};
  Duration syn_cost;
  Instant now{1s};
  Duration on_syns{};
  uint64_t frames = 0;
};

TEST(SynGuard, WhoeverConnectsWithoutAFloodIsNeverTurnedAway) {
  BusyWorker worker(6us);
  for (uint32_t i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(worker.take(syn(i))) << i;
    for (int other = 0; other < 6; ++other) worker.take_other();
  }
}

TEST(SynGuard, AFloodTakesAQuarterOfTheTimeWhateverASynCosts) {
  for (const Duration cost : {Duration(500ns), Duration(2us), Duration(6us)}) {
    BusyWorker worker(cost);
    const Instant begun = worker.now;
    for (uint32_t i = 0; i < 500'000; ++i) {
      worker.take(syn(i));
      if (i % 8 == 0) worker.take_other();
    }
    const double share =
        static_cast<double>(worker.on_syns.count()) / static_cast<double>((worker.now - begun).count());
    EXPECT_LT(share, 0.32) << cost.count();
    EXPECT_GT(share, 0.15) << cost.count();
  }
}

// Linux says a SYN again after 1 s, 3 s and 7 s. The second time is enough.
TEST(SynGuard, WhoeverComesAgainDuringAFloodIsAnswered) {
  BusyWorker worker(6us);
  const Instant begun = worker.now;
  uint32_t flood = 0x0b000000;
  const auto flood_until = [&](Instant until) {
    while (worker.now < until) {
      worker.take(syn(flood++));
      worker.spend(700ns);
    }
  };
  flood_until(begun + 500ms);
  constexpr uint32_t kClients = 200;
  std::vector<uint32_t> turned_away;
  for (uint32_t client = 0; client < kClients; ++client) {
    if (!worker.take(syn(client, client))) turned_away.push_back(client);
    flood_until(worker.now + 1ms);
  }
  flood_until(begun + 1500ms);
  EXPECT_GT(turned_away.size(), 100U) << "the flood does not fill what it may";
  EXPECT_GT(flood - 0x0b000000, 500'000U);
  size_t answered = 0;
  for (const uint32_t client : turned_away) {
    answered += worker.take(syn(client, client));
    flood_until(worker.now + 1ms);
  }
  EXPECT_EQ(answered, turned_away.size());
}

// A flood that says each of its SYNs again takes the place of those who say theirs a second time; the third
// time is kept for the others. A twentieth of the times that people wait: the guard does not know them.
TEST(SynGuard, WhoeverComesAThirdTimeIsAnsweredBesideAFloodThatSaysEachSynTwice) {
  BusyWorker worker(6us);
  const Instant begun = worker.now;
  std::deque<std::pair<Instant, uint32_t>> said;
  uint32_t flood = 0x0b000000;
  const auto flood_until = [&](Instant until) {
    while (worker.now < until) {
      said.emplace_back(worker.now, flood);
      worker.take(syn(flood++));
      worker.spend(700ns);
      if (said.front().first + 50ms > worker.now) continue;
      worker.take(syn(said.front().second));
      worker.spend(700ns);
      said.pop_front();
    }
  };
  std::vector<uint32_t> turned_away(40);
  std::iota(turned_away.begin(), turned_away.end(), 0U);
  const auto all_try = [&](Instant at) {
    flood_until(at);
    std::erase_if(turned_away, [&](uint32_t client) {
      const bool answered = worker.take(syn(client, client));
      flood_until(worker.now + 1ms);
      return answered;
    });
  };
  all_try(begun + 75ms);
  all_try(begun + 125ms);
  EXPECT_GT(turned_away.size(), 10U) << "the flood does not fill what it may";
  all_try(begun + 225ms);
  EXPECT_EQ(turned_away.size(), 0U);
}

TEST(SynGuard, AStallIsNotChargedToTheSynsOfItsRound) {
  BusyWorker worker(1us);
  for (uint32_t i = 0; i < 40; ++i) {
    worker.take(syn(i));
    worker.spend(80ms);
  }
  for (uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(worker.take(syn(1000 + i)));
}

TEST(TurnedAway, RemembersAMillionAndMistakesFew) {
  worker::TurnedAway turned_away(Secret{{2}}, worker::TurnedAway::kLines);
  Instant now{1s};
  uint32_t mistaken = 0;
  constexpr uint32_t kPerSecond = 1'200'000;
  for (uint32_t i = 0; i < 2 * kPerSecond; ++i) {
    mistaken += turned_away.knows(syn(i));
    turned_away.add(syn(i), now);
    now += 800ns;
  }
  EXPECT_LT(mistaken, 2 * kPerSecond / 30);
  for (uint32_t i = kPerSecond; i < 2 * kPerSecond; ++i) ASSERT_TRUE(turned_away.knows(syn(i)));
  EXPECT_FALSE(turned_away.knows(syn(5, 8))) << "the same connection with another number is another SYN";
  now += 9s;
  turned_away.add(syn(1), now);
  now += 9s;
  turned_away.add(syn(2), now);
  EXPECT_FALSE(turned_away.knows(syn(2 * kPerSecond - 1)));
}

}  // namespace
}  // namespace understudy
