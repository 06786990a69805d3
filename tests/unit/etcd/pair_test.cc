// The arbiter against a real etcd-server, in real time.
#include <gtest/gtest.h>

#include "control/etcd/etcd_arbiter.h"
#include "tests/unit/etcd/real_etcd.h"

namespace understudy::etcd {
namespace {

// Two arbiters in real time, without heartbeats between them: whoever owns renews by swap.
class Pair {
 public:
  static constexpr GroupId kGroup{1};
  Pair(const std::vector<std::string>& urls, Duration lease, Duration patience) {
    for (uint16_t id = 1; id <= 2; ++id) {
      auto started = CurlTransport::start({urls, {}, {}, {}}, {});
      EXPECT_TRUE(started.ok());
      transports_.push_back(std::move(started).value());
      EtcdArbiter::Settings settings;
      settings.self = NodeId(id);
      settings.boot = BootId(id);
      settings.nodes = {{NodeId(1), "n1"}, {NodeId(2), "n2"}};
      settings.groups = {{kGroup, "understudy/pair/web", {NodeId(1), NodeId(2)}}};
      settings.lease = lease;
      settings.timeout = lease / 2;
      settings.patience = patience;
      arbiters_.push_back(std::make_unique<EtcdArbiter>(settings, *transports_.back(), now()));
    }
  }
  EtcdArbiter& operator[](size_t node) { return *arbiters_[node]; }
  // Runs the arbiters that live; a failure when both may speak.
  bool run_until(const std::function<bool()>& until, Duration limit) {
    for (const Instant end = now() + limit; now() < end;) {
      for (size_t node = 0; node < 2; ++node) {
        if (!lives[node]) continue;
        transports_[node]->gather();
        arbiters_[node]->tick(now());
        for (const Verdict& verdict : arbiters_[node]->take_verdicts()) {
          if (verdict.kind == Verdict::Kind::granted) owns[node] = verdict.ballot;
          verdicts[node].push_back(verdict);
        }
        for (const cluster::Action& action : arbiters_[node]->take_actions())
          if (const auto* keep = std::get_if<cluster::Keep>(&action))
            arbiters_[node]->on_kept(keep->sequence, true, now());
      }
      EXPECT_FALSE(speaks(0) && speaks(1)) << "two voices";
      if (until()) return true;
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
    return until();
  }
  bool speaks(size_t node) { return arbiters_[node]->lease_until(kGroup, owns[node]) > now(); }
  void claim(size_t node, Epoch ballot) {
    arbiters_[node]->claim({kGroup, ballot, Epoch(), false, true}, now());
  }
  bool lives[2] = {true, true};
  Epoch owns[2];
  std::vector<Verdict> verdicts[2];

 private:
  std::vector<std::unique_ptr<CurlTransport>> transports_;
  std::vector<std::unique_ptr<EtcdArbiter>> arbiters_;
};

TEST_F(Etcd, AnOwnerRenewsAndItsSuccessorWaitsForItsLease) {
  constexpr Duration kLease = 400ms;  // on a machine that does other things besides
  RealEtcd etcd;
  ASSERT_TRUE(Client({{etcd.url()}, {}, {}, {}}).wait_for_leader());
  Pair pair({etcd.url()}, kLease, 60s);
  pair.claim(0, {2, NodeId(1)});
  ASSERT_TRUE(pair.run_until([&] { return pair.speaks(0); }, 40s));
  // Whatever this machine does besides: one voice at a time, and an owner that lives goes on.
  pair.run_until([] { return false; }, 3 * kLease);
  EXPECT_TRUE(pair.run_until([&] { return pair.speaks(0); }, 20s)) << "it does not renew";
  pair.claim(1, {3, NodeId(2)});
  pair.run_until([] { return false; }, 2 * kLease);
  pair.lives[0] = false;
  EXPECT_TRUE(pair.run_until([&] { return pair.speaks(1); }, 20s));
}

TEST_F(Etcd, WithoutEtcdTheLeaseRunsOutAndTheClaimIsDeniedWithTheReason) {
  constexpr Duration kLease = 400ms;
  RealEtcd etcd;
  ASSERT_TRUE(Client({{etcd.url()}, {}, {}, {}}).wait_for_leader());
  Pair pair({"http://127.0.0.1:" + std::to_string(free_port()), etcd.url()}, kLease,
            5s);  // the first one is not there
  pair.claim(0, {2, NodeId(1)});
  ASSERT_TRUE(pair.run_until([&] { return pair.speaks(0); }, 40s));
  etcd.stop();
  ASSERT_TRUE(pair.run_until([&] { return !pair.speaks(0); }, 20s));
  pair.claim(1, {3, NodeId(2)});
  ASSERT_TRUE(pair.run_until([&] { return !pair.verdicts[1].empty(); }, 40s));
  EXPECT_EQ(pair.verdicts[1][0].kind, Verdict::Kind::denied);
  EXPECT_NE(pair.verdicts[1][0].why.find("Failed to connect"), std::string::npos) << pair.verdicts[1][0].why;
  etcd.start();
  ASSERT_TRUE(Client({{etcd.url()}, {}, {}, {}}).wait_for_leader());
  pair.owns[0] = {};
  pair[0].withdraw(Pair::kGroup, now());
  pair.claim(1, {3, NodeId(2)});
  EXPECT_TRUE(pair.run_until([&] { return pair.speaks(1); }, 40s));
}

}  // namespace
}  // namespace understudy::etcd
