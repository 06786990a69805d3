#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/random.h"
#include "control/appliance/event_log.h"
#include "control/appliance/promotions.h"
#include "control/appliance/standbys.h"
#include "control/appliance/worker_set.h"
#include "control/cluster/controller.h"
#include "control/cluster/members_arbiter.h"
#include "control/config/config.h"
#include "control/etcd/transport.h"
#include "control/health/health_checker.h"
#include "dataplane/worker/worker.h"

namespace understudy::appliance {

// The control half of a node, between the cluster logic and the workers' mailboxes: pure, in virtual time,
// without threads or sockets of its own. The control thread calls round(); a test drives a whole cluster with
// it.
class NodeControl {
 public:
  struct Settings {
    const config::Config* config = nullptr;
    const config::NodeConfig* node = nullptr;
    BootId boot;
    std::vector<MacAddress> macs;  // of the ports, in the configuration's order
    rte_mempool* pool = nullptr;   // for broadcasts
    Instant now;
    // Under an arbiter: what the workers' WorkerSettings have too.
    std::shared_ptr<worker::Leases> leases = {};
    // Arbiter etcd: the way there. It outlives this.
    etcd::Transport* transport = nullptr;
    // Arbiters members and etcd: what a former life has kept; and how to keep something, which on_kept()
    // answers.
    cluster::KeptMemory memory = {};
    std::function<void(const cluster::Keep&)> keep = {};
  };
  using LogLine = std::function<void(const NodeEvent&)>;
  NodeControl(const Settings& settings, std::vector<worker::Worker*> workers, Random random, LogLine log);
  NodeControl(const NodeControl&) = delete;
  NodeControl& operator=(const NodeControl&) = delete;

  void start(Instant now);
  // What workers, and etcd, have said up to now. Before the clock is read for round(): promises to wait count
  // from the moment in which something was heard, and must not begin before it.
  void gather();
  // Takes what was gathered, lets time pass, tells the workers what follows. Call every few milliseconds.
  void round(Instant now);
  Instant next_deadline() const;
  // Planned hand-over of a group that this node owns to its synced standby. A sentence if it cannot be begun;
  // how it ends, the state of the group and the events tell.
  std::optional<std::string> hand_over(GroupId group, NodeId to, Instant now);
  void on_kept(uint64_t sequence, bool is_kept, Instant now);
  void retire(Instant now);
  // Nothing is owned any more, and no late frame is waited for that would have to be passed on.
  bool retired() const;
  // Set when this process must not go on: a sentence.
  const std::optional<std::string>& stop() const { return stop_; }
  // Workers are to throw away what their ports hold (after a stall that let somebody else take over).
  bool take_reopen_wish() { return std::exchange(reopen_wished_, false); }

  const cluster::Controller& controller() const { return controller_; }
  const health::HealthChecker& health() const { return health_; }
  const std::deque<NodeEvent>& events() const { return events_.events(); }
  void event(LogLevel level, const std::string& subject, const std::string& sentence, Instant now);
  // Counts over all workers.
  uint64_t legs(size_t group) const { return workers_.legs(group); }
  uint64_t unprotected(size_t group) const { return workers_.unprotected(group); }
  uint64_t exempt(size_t group) const { return workers_.exempt(group); }
  bool owns(GroupId group) const;

 private:
  void take_reports(Instant now);
  void take_report(const worker::Report& report, Instant now);
  void take_cluster_frame(const worker::Report& report, Instant now);
  void take_heartbeat(const mirror::Heartbeat& beat, uint16_t port, const MacAddress& mac, Instant now);
  void do_actions(const cluster::Actions& actions, Instant now);
  void note_promoted(const worker::Report& report, Instant now);
  void probe_witnesses();
  void apply_health(const health::HealthOutcome& outcome, Instant now);
  void keep_leases();
  void watch_peers(Instant now);
  void watch_mirror(Instant now);
  void update_beats(Instant now);
  cluster::MirrorReport mirror_report(size_t group) const;

  const Settings settings_;
  LogLine log_;
  WorkerSet workers_;
  Standbys standbys_;
  Promotions promotions_;
  uint32_t cluster_id_;
  cluster::Controller controller_;
  health::HealthChecker health_;
  std::vector<IpAddress> witnesses_;
  std::vector<mirror::GroupBeat> beats_told_;
  std::optional<cluster::Reach> reach_told_;
  EventLog events_;
  std::optional<std::string> stop_;
  bool reopen_wished_ = false;
};

}  // namespace understudy::appliance
