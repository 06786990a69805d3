#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/random.h"
#include "control/etcd/etcd_arbiter.h"
#include "tests/support/fake_etcd.h"

namespace understudy::etcd {

// Nodes with the arbiter `etcd`, in virtual time: their heartbeats, what a controller would do with them
// (claim what nobody speaks for, stop when the lease is over), and the way to etcd, which can be slow, lose
// requests or answers, deliver late what its sender has given up, or lie. After every step it is counted who
// speaks.
class EtcdCluster {
 public:
  static constexpr GroupId kGroup{1};
  static constexpr Duration kLease = 80ms;
  static constexpr Duration kDeadAfter = 100ms;
  static constexpr const char* kKey = "understudy/test/web";

  EtcdCluster(unsigned nodes, uint64_t seed, bool automatic = true, bool disk_fails = false);
  ~EtcdCluster();

  void run(Duration length);
  bool run_until(const std::function<bool()>& until, Duration limit);
  void kill(size_t node);
  void start(size_t node);
  void pause(size_t node, bool paused);
  void cut(size_t a, size_t b, bool is_cut);  // heartbeats between two nodes

  EtcdArbiter& arbiter(size_t node);
  bool speaks(size_t node) const;
  std::optional<size_t> speaker() const;  // nothing unless exactly one does
  Epoch epoch(size_t node) const;
  const std::vector<Verdict>& verdicts(size_t node) const;
  const std::vector<std::string>& events(size_t node) const;
  Instant local(size_t node) const;
  Instant now() const { return now_; }
  uint64_t calls(size_t node) const;
  unsigned two_voices() const { return two_voices_; }  // steps in which more than one spoke
  unsigned backwards() const { return backwards_; }    // a lower epoch spoke after a higher one

  EtcdNetwork network;
  FakeEtcd& etcd = network.etcd;
  std::vector<EtcdWay>& ways = network.ways;  // by node
  unsigned beats_lost = 2;                    // per 100
  std::optional<uint64_t> cluster_id;         // that nodes are told at their start
  bool disk_fails;
  // What a restart of the node finds of its etcd cluster.
  std::optional<uint64_t> kept(size_t node) const;
  void forget(size_t node) { disks_[node].clear(); }

 private:
  struct Node;
  void step();
  void act(size_t index);
  void keep(size_t index, const cluster::Keep& keep);
  void send_beats(size_t index);
  void deliver();

  Random random_;
  const bool automatic_;
  Instant now_{1000s};
  uint64_t boots_ = 0;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::vector<uint8_t>> disks_;  // by node
  std::set<std::pair<size_t, size_t>> cuts_;
  struct Due {
    Instant due;
    std::function<void()> then;
  };
  std::vector<Due> events_;
  unsigned two_voices_ = 0, backwards_ = 0;
  Epoch highest_spoken_;
};

}  // namespace understudy::etcd
