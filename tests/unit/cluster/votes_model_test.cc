// Every order of events of a small cluster: two ballots of two candidates, three members, messages that are
// lost, repeated and overtake each other, heartbeats, candidates and owners that give up and say so, a member
// that restarts. Two owners must never speak at
// once, and no owner may follow one with a higher ballot; when a rule is taken out, the same search finds
// that it happens.
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "control/cluster/votes.h"

namespace understudy::cluster {
namespace {

constexpr size_t kMembers = 3;
constexpr Duration kStep = 50ms;  // the lease spans two of them
constexpr Instant kStart{1000s};
constexpr int kSteps = 3;

// What is left out to see that it matters.
enum class Without {
  nothing,
  embargo,          // a member grants while it has promised somebody else
  majority,         // one grant is enough
  promise_on_disk,  // a restarted member knows nothing of before
  restart_silence,  // a restarted member votes at once
  age_of_lease,     // the lease runs from when an echo arrives, not from when its heartbeat was sent
  age_of_grants,    // late grants count, and the lease runs from then
  never_owned       // who has owned says, too, that it is as if it had not asked
};

struct Owner {
  std::optional<VoteCandidate> candidate;
  std::optional<VoteLease> lease;
  Instant asked, arrived = Instant::min();
  std::optional<Instant> beat;
  bool gave_up = false;
};

struct State {
  Instant now = kStart;
  std::vector<VoteMember> members;
  Owner owners[2];
  // What has been said may arrive at any time, again and again, or never.
  bool granted[2][kMembers] = {};
  bool echoed[2][kMembers] = {};
  unsigned restarts = 0;
};

// Two numbers of 64 bits stand for a state, as model checkers do it: that two of a million states share them
// is less likely than that a bit of memory flips.
struct Fingerprint {
  uint64_t first, second;
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

struct FirstOf {
  size_t operator()(const Fingerprint& print) const { return print.first; }
};

Fingerprint fingerprint(std::string_view bytes) {
  uint64_t fnv = 0xcbf29ce484222325;  // FNV-1a
  for (const char byte : bytes) fnv = (fnv ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  return {std::hash<std::string_view>()(bytes), fnv};
}

class Search {
 public:
  Search(Without without, int steps, bool may_give_up = false)
      : without_(without), steps_(steps), may_give_up_(may_give_up) {
    settings_.members = kMembers;
    settings_.lease = 2 * kStep;
    member_settings_ = candidate_settings_ = settings_;
    if (without == Without::embargo) member_settings_.lease = Duration(0);
    if (without == Without::majority) candidate_settings_.members = 1;
    if (without == Without::age_of_grants) candidate_settings_.lease = 1h;
    seen_.reserve(1 << 20);
  }
  // What some order of events leads to; empty: nothing bad.
  std::string fault() {
    State start;
    for (size_t i = 0; i < kMembers; ++i) start.members.emplace_back(member_settings_);
    explore(start);
    return fault_;
  }
  size_t states() const { return seen_.size(); }
  bool somebody_owned = false, somebody_renewed = false, both_owned_in_turn = false,
       somebody_went_back = false;

 private:
  static NodeId node(size_t index) { return NodeId(static_cast<uint16_t>(index + 1)); }
  // The first two members are the candidates.
  static Epoch ballot(size_t owner) { return {static_cast<uint32_t>(owner + 1), node(owner)}; }

  static bool has_owned(const Owner& owner) {
    return owner.candidate && owner.candidate->state() == VoteCandidate::State::granted;
  }

  bool speaks(const State& s, size_t owner) const {
    const Owner& o = s.owners[owner];
    if (!has_owned(o) || o.gave_up) return false;
    const Instant first = o.asked + settings_.lease;
    Instant until = std::max(first, o.lease->until());
    if (without_ == Without::age_of_lease) until = std::max(until, o.arrived + settings_.lease);
    if (without_ == Without::age_of_grants) until = std::max(until, o.arrived + settings_.lease);
    return s.now < until;
  }

  // Two states with the same key have the same future: what is over is over, however long ago.
  Fingerprint key(const State& s) {
    bytes_.clear();
    const auto put = [&](int64_t value) { bytes_.push_back(static_cast<char>(value)); };
    const auto put_left = [&](Instant until) { put(until <= s.now ? 0 : (until - s.now + 999us) / 1ms); };
    put((s.now - kStart) / kStep);
    put(s.restarts);
    for (const VoteMember& member : s.members) {
      put(member.kept().promised.counter);
      for (const VoteMember::Layer& layer : member.layers())
        put(16 + 4 * layer.ballot.counter + layer.before.promised.counter);
      put_left(member.embargo_until());
      put_left(member.silent_until());
    }
    for (size_t o = 0; o < 2; ++o) {
      const Owner& owner = s.owners[o];
      put((owner.candidate ? 1 + static_cast<int>(owner.candidate->state()) : 0) + 8 * owner.gave_up);
      if (owner.candidate) put((owner.asked - kStart) / kStep);
      for (size_t m = 0; m < kMembers; ++m)
        put(s.granted[o][m] + 2 * s.echoed[o][m] +
            4 * (owner.candidate && owner.candidate->answers().count(node(m)) > 0));
      put(owner.beat ? 1 + (*owner.beat - kStart) / kStep : 0);
      put(owner.arrived == Instant::min() ? 0 : 1 + (owner.arrived - kStart) / kStep);
      if (owner.lease) put_left(owner.lease->until());
    }
    return fingerprint(bytes_);
  }

  void explore(const State& s) {
    if (!fault_.empty() || !seen_.insert(key(s)).second) return;
    const bool first = speaks(s, 0), second = speaks(s, 1);
    somebody_owned |= first || second;
    both_owned_in_turn |= second && has_owned(s.owners[0]);
    if (first && second) {
      fault_ = "two voices";
      return;
    }
    if (s.now < kStart + steps_ * kStep) {
      State next = s;
      next.now += kStep;
      explore(next);
    }
    for (size_t o = 0; o < 2; ++o) events_of(s, o);
    // The third member; with one of the others its candidacy would end as well.
    if (s.restarts < 1) {
      State next = s;
      ++next.restarts;
      restart(next.members[2], next.now);
      explore(next);
    }
  }

  void restart(VoteMember& member, Instant now) const {
    const KeptPromise kept = without_ == Without::promise_on_disk ? KeptPromise() : member.kept();
    VoteSettings settings = member_settings_;
    if (without_ == Without::restart_silence) settings.lease = Duration(0);
    const VoteMember born(settings, kept, now);
    if (without_ == Without::restart_silence) {
      // Its embargoes are as long as ever, only the wait is missing.
      member = VoteMember(member_settings_, kept, now - member_settings_.embargo());
    } else {
      member = born;
    }
  }

  void events_of(const State& s, size_t o) {
    const Owner& owner = s.owners[o];
    if (!owner.candidate) {
      State next = s;
      next.owners[o].candidate.emplace(candidate_settings_, TakeoverRequest{ballot(o), {}, true}, s.now);
      next.owners[o].asked = s.now;
      explore(next);
      return;
    }
    for (size_t m = 0; m < kMembers; ++m) {
      deliver_request(s, o, m);
      if (s.granted[o][m]) deliver_grant(s, o, m);
      if (owner.beat) deliver_beat(s, o, m);
      if (s.echoed[o][m]) deliver_echo(s, o, m);
      if (owner.gave_up) deliver_release(s, o, m);
    }
    // An owner that gives up is like one whose every frame is lost: that is in the search already.
    if (may_give_up_ && !owner.gave_up && (!has_owned(owner) || without_ == Without::never_owned)) {
      State next = s;
      next.owners[o].gave_up = true;
      explore(next);
    }
    if (speaks(s, o) && !owner.beat) {
      State next = s;
      next.owners[o].beat = s.now;
      next.owners[o].lease->sent(1, s.now);
      // A candidate is a member, too: it is bound by its own heartbeat.
      next.members[o].hear_owner(ballot(o), s.now);
      explore(next);
    }
  }

  void deliver_request(const State& s, size_t o, size_t m) {
    VoteMember member = s.members[m];
    if (!member.ask(s.owners[o].candidate->request(), s.now).is_grant()) return;
    State next = s;
    next.members[m] = std::move(member);
    next.granted[o][m] = true;
    explore(next);
  }

  void deliver_grant(const State& s, size_t o, size_t m) {
    if (s.owners[o].gave_up || s.owners[o].candidate->state() != VoteCandidate::State::asking) return;
    State next = s;
    Owner& owner = next.owners[o];
    const TakeoverAnswer grant{ballot(o), VoteReason::granted, ballot(o), {}};
    if (owner.candidate->hear(node(m), grant, s.now) == VoteCandidate::State::granted) {
      if (o == 0 && has_owned(s.owners[1])) fault_ = "a falling epoch";
      owner.lease.emplace(settings_, node(o), owner.asked + settings_.lease);
      if (without_ == Without::age_of_grants) owner.arrived = s.now;
    }
    explore(next);
  }

  void deliver_release(const State& s, size_t o, size_t m) {
    State next = s;
    const bool never_owned = without_ == Without::never_owned || !has_owned(s.owners[o]);
    next.members[m].release(ballot(o), never_owned, s.now);
    somebody_went_back |= next.members[m].kept().promised < s.members[m].kept().promised;
    explore(next);
  }

  void deliver_beat(const State& s, size_t o, size_t m) {
    VoteMember member = s.members[m];
    if (!member.hear_owner(ballot(o), s.now)) return;
    State next = s;
    next.members[m] = std::move(member);
    next.echoed[o][m] = true;
    explore(next);
  }

  void deliver_echo(const State& s, size_t o, size_t m) {
    if (!s.owners[o].lease) return;
    State next = s;
    Owner& owner = next.owners[o];
    const Instant before = owner.lease->until();
    owner.lease->echoed(node(m), 1);
    somebody_renewed |= owner.lease->until() > before;
    if (without_ == Without::age_of_lease) owner.arrived = s.now;
    explore(next);
  }

  Without without_;
  int steps_;
  bool may_give_up_;
  VoteSettings settings_, member_settings_, candidate_settings_;
  std::unordered_set<Fingerprint, FirstOf> seen_;
  std::string bytes_;  // of a key
  std::string fault_;
};

TEST(VotesModel, NoOrderOfEventsLeadsToTwoVoices) {
  Search search(Without::nothing, kSteps);
  EXPECT_EQ(search.fault(), "");
  EXPECT_TRUE(search.somebody_owned);
  EXPECT_TRUE(search.somebody_renewed);
  EXPECT_TRUE(search.both_owned_in_turn) << "the search never got to a second owner";
  std::printf("%zu states\n", search.states());
}

// VOTES_STEPS=3, a minute, is the number of steps of the search above.
TEST(VotesModel, NorIfCandidatesGiveUpAndAreForgotten) {
  const char* steps = std::getenv("VOTES_STEPS");
  Search search(Without::nothing, steps != nullptr ? std::atoi(steps) : 1, true);
  EXPECT_EQ(search.fault(), "");
  EXPECT_TRUE(search.somebody_owned);
  EXPECT_TRUE(search.somebody_went_back);
  std::printf("%zu states\n", search.states());
}

TEST(VotesModel, EachRuleIsNeeded) {
  const std::pair<Without, const char*> rules[] = {{Without::embargo, "the embargo"},
                                                   {Without::majority, "the majority"},
                                                   {Without::promise_on_disk, "the promise on disk"},
                                                   {Without::restart_silence, "the silence after a restart"},
                                                   {Without::age_of_lease, "the age of a lease"},
                                                   {Without::age_of_grants, "the age of grants"},
                                                   {Without::never_owned, "having owned being remembered"}};
  for (const auto& [without, name] : rules) {
    Search search(without, kSteps, without == Without::never_owned);
    EXPECT_NE(search.fault(), "") << "without " << name << " nothing goes wrong: is it needed?";
    std::printf("without %s: %s, after %zu states\n", name, search.fault().c_str(), search.states());
  }
}

}  // namespace
}  // namespace understudy::cluster
