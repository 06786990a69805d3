// What the console says after something has happened: `show cluster`, `show events` and `explain group` tell
// the same story in the same words.
#include <gtest/gtest.h>

#include "control/appliance/cluster_views.h"
#include "control/console/commands.h"
#include "tests/support/cluster_in_process.h"

namespace understudy {
namespace {

using cluster::GroupState;
using console::Json;
constexpr uint32_t kMegabyte = 1'000'000;

// The console of one node of a cluster in process; what only whole programs have is not there.
class ConsoleOf final : public console::Source {
 public:
  ConsoleOf(ClusterInProcess& c, size_t slot) : c_(c), slot_(slot) { console::add_commands(table_, *this); }
  std::string text(const std::string& line) {
    const console::Reply reply = table_.execute(line);
    EXPECT_TRUE(reply.ok) << line << ": " << reply.text;
    return reply.text;
  }
  Json json(const std::string& line) { return Json::parse(text(line + " json")); }

  console::ClusterView cluster() override {
    return appliance::cluster_view(control(), c_.config(), c_.config().nodes[slot_], BootId(1), c_.now());
  }
  std::vector<console::EventView> events() override { return appliance::event_views(control(), c_.now()); }
  std::optional<console::GroupStoryView> story(const std::string& group) override {
    return appliance::group_story(control(), c_.config(), group, c_.now());
  }
  console::ConnectionsView connections(const console::ConnectionFilter&) override { return {}; }
  std::vector<console::PortView> ports() override { return {}; }
  std::vector<console::DropView> drops() override { return {}; }
  std::vector<console::WorkerView> workers() override { return {}; }
  std::vector<console::BackendView> backends() override { return {}; }
  std::vector<console::NeighbourView> neighbours() override { return {}; }
  Result<console::HandOverView> hand_over(const std::string&, const std::string&) override {
    return Error{"not here"};
  }
  void quit() override {}

 private:
  const appliance::NodeControl& control() { return c_.control(slot_); }
  ClusterInProcess& c_;
  size_t slot_;
  console::CommandTable table_;
};

std::string group_name(const ClusterInProcess& c) {
  return c.config().groups[0].name;
}

// The reason for the present state, and for the last takeover, in all three places.
void expect_words_match(ClusterInProcess& c, size_t slot) {
  ConsoleOf node(c, slot);
  const std::string group = group_name(c);
  const Json shown = node.json("show cluster")["groups"][0];
  const Json told = node.json("explain group " + group);
  const std::string events = node.text("show events");
  const std::string story = node.text("explain group " + group);
  const std::string why = shown["why"], state = shown["state"];
  EXPECT_EQ(told["state"], state);
  EXPECT_EQ(told["why"], why);
  EXPECT_EQ(told["transitions"].back()["to"], state) << story;
  EXPECT_EQ(told["transitions"].back()["why"], why) << story;
  const std::string last = "-> " + state + ": " + why;
  EXPECT_NE(events.find("group " + group + ": "), std::string::npos) << events;
  EXPECT_NE(events.find(last), std::string::npos) << last << "\n" << events;
  EXPECT_NE(story.find(last), std::string::npos) << last << "\n" << story;
  if (shown["last_takeover"].is_null()) return;
  const std::string reason = shown["last_takeover"]["why"];
  EXPECT_EQ(told["takeovers"].back()["why"], reason);
  EXPECT_NE(node.text("show cluster").find(reason), std::string::npos);
  EXPECT_NE(story.find("  why            " + reason), std::string::npos) << story;
  EXPECT_NE(events.find(": claimed with epoch "), std::string::npos) << events;
  EXPECT_NE(events.find(": " + reason), std::string::npos) << reason << "\n" << events;
}

struct Transfers {
  explicit Transfers(ClusterInProcess& c) {
    c.transfer(0, 2 * kMegabyte);
    c.transfer(2 * kMegabyte, 0);
    c.run_for(60ms);
  }
};

TEST(Explain, AfterAKill) {
  ClusterInProcess c({.seed = 1});
  ASSERT_TRUE(c.boot()) << c.describe();
  Transfers transfers(c);
  ASSERT_EQ(c.unprotected_legs(), 0U);
  c.kill(0);
  ASSERT_TRUE(c.run_until([&] { return c.owner() == size_t{1}; }, 300ms)) << c.describe();
  c.run_for(50ms);
  expect_words_match(c, 1);
  ConsoleOf n2(c, 1);
  const Json receipt = n2.json("show receipts")["receipts"].back();
  EXPECT_EQ(receipt["what"], "takeover from n1");
  EXPECT_EQ(receipt["lost"], 0);
  EXPECT_GE(receipt["owner_connections"], 4);
  EXPECT_EQ(receipt["owner_unprotected"], 0);
  EXPECT_GE(receipt["detection_us"], 100'000);
  EXPECT_LT(receipt["detection_us"], 125'000);
  EXPECT_FALSE(receipt["first_packet_us"].is_null());
  EXPECT_EQ(receipt["total_us"].get<int64_t>(),
            receipt["detection_us"].get<int64_t>() + receipt["decision_us"].get<int64_t>() +
                receipt["claim_us"].get<int64_t>() + receipt["first_packet_us"].get<int64_t>());
  for (const Json& link : receipt["silent"]) EXPECT_GE(link["silent_us"], 100'000) << link;
  EXPECT_EQ(receipt["silent"].size(), 3U);
  const std::string story = n2.text("explain group " + group_name(c));
  EXPECT_NE(story.find("n1 silent on every link for 10"), std::string::npos) << story;
  EXPECT_NE(story.find("lost           nothing: n1 said last that none of its "), std::string::npos) << story;
  EXPECT_NE(story.find("consent        a gateway or a backend answered "), std::string::npos) << story;
}

TEST(Explain, AfterAPauseBothSidesTellIt) {
  ClusterInProcess c({.seed = 2});
  ASSERT_TRUE(c.boot()) << c.describe();
  Transfers transfers(c);
  c.pause(0);
  c.run_for(1500ms);
  c.resume(0);
  ASSERT_TRUE(c.run_until([&] { return c.owner() == size_t{1} && c.is_protected(); }, 3s)) << c.describe();
  expect_words_match(c, 0);
  expect_words_match(c, 1);
  const std::string was_paused = ConsoleOf(c, 0).text("explain group " + group_name(c));
  EXPECT_NE(was_paused.find(" -> fenced: a worker of this node was away for 1"), std::string::npos)
      << was_paused;
  EXPECT_NE(was_paused.find("replaced by n2"), std::string::npos) << was_paused;
}

TEST(Explain, AfterACutOfAllLinks) {
  ClusterInProcess c({.seed = 3, .nodes = 3});
  ASSERT_TRUE(c.boot()) << c.describe();
  Transfers transfers(c);
  for (const auto network : {ClusterInProcess::front, ClusterInProcess::back, ClusterInProcess::peer})
    c.cut(0, network, true);
  ASSERT_TRUE(c.run_until([&] { return cluster::is_owner(c.state(1)); }, 1s)) << c.describe();
  c.run_for(50ms);
  expect_words_match(c, 1);
  expect_words_match(c, 2);
  const std::string story = ConsoleOf(c, 1).text("explain group " + group_name(c));
  EXPECT_NE(story.find("heard then: n3"), std::string::npos) << story;
  const std::string third = ConsoleOf(c, 2).text("explain group " + group_name(c));
  EXPECT_NE(third.find("n2 owns it, epoch "), std::string::npos) << third;
  for (const auto network : {ClusterInProcess::front, ClusterInProcess::back, ClusterInProcess::peer})
    c.cut(0, network, false);
  ASSERT_TRUE(c.run_until([&] { return cluster::is_standby(c.state(0)); }, 3s)) << c.describe();
  expect_words_match(c, 0);
  const std::string cut_off = ConsoleOf(c, 0).text("explain group " + group_name(c));
  EXPECT_NE(cut_off.find("n2 owns it with the higher epoch"), std::string::npos) << cut_off;
}

TEST(Explain, AfterAPlannedHandOver) {
  ClusterInProcess c({.seed = 4});
  ASSERT_TRUE(c.boot()) << c.describe();
  Transfers transfers(c);
  ASSERT_EQ(c.hand_over(0, 1), std::nullopt);
  ASSERT_TRUE(c.run_until([&] { return c.owner() == size_t{1} && c.is_protected(); }, 1s)) << c.describe();
  c.run_for(20ms);
  expect_words_match(c, 0);
  expect_words_match(c, 1);
  const Json receipt = ConsoleOf(c, 1).json("show receipts")["receipts"].back();
  EXPECT_EQ(receipt["what"], "handed over by n1");
  EXPECT_EQ(receipt["why"], "n1 hands it over");
  EXPECT_EQ(receipt["lost"], 0);
  EXPECT_EQ(receipt["losses"], "nothing: everything was handed over");
  const std::string former = ConsoleOf(c, 0).text("explain group " + group_name(c));
  EXPECT_NE(former.find("-> yielding: handing over to n2"), std::string::npos) << former;
  EXPECT_NE(former.find("handed over to n2"), std::string::npos) << former;
}

TEST(Explain, AColdTakeoverSaysWhatIsLost) {
  ClusterInProcess c({.seed = 5, .nodes = 3});
  ASSERT_TRUE(c.boot()) << c.describe();
  Transfers transfers(c);
  c.kill(0);
  c.kill(1);
  ASSERT_TRUE(c.run_until([&] { return c.owner() == size_t{2}; }, 6s)) << c.describe();
  c.run_for(20ms);
  expect_words_match(c, 2);
  const Json receipt = ConsoleOf(c, 2).json("show receipts")["receipts"].back();
  EXPECT_TRUE(receipt["cold"].get<bool>());
  EXPECT_GE(receipt["lost"], 4);
  const std::string losses = receipt["losses"];
  EXPECT_NE(losses.find(receipt["lost"].dump() + " connections: our copies"), std::string::npos) << losses;
}

}  // namespace
}  // namespace understudy
