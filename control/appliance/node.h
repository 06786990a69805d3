#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "control/appliance/node_control.h"
#include "control/appliance/options.h"
#include "control/appliance/promise_keeper.h"
#include "control/config/config.h"
#include "control/console/views.h"
#include "control/etcd/curl_transport.h"
#include "dataplane/dpdk/clock.h"
#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/ethdev_port.h"
#include "dataplane/dpdk/pool.h"
#include "dataplane/dpdk/port_waiter.h"
#include "dataplane/worker/handover.h"
#include "dataplane/worker/reassembling_port.h"
#include "dataplane/worker/tagged_port.h"
#include "dataplane/worker/worker.h"

namespace understudy::appliance {

// A running node: environment, ports, workers on their lcores, the control loop on the calling thread, and
// what the console shows of it all.
class Node final : public console::Source {
 public:
  static Result<std::unique_ptr<Node>> create(config::Config config, const RunOptions& options);
  ~Node() override;

  // The control loop: until quit() or a reason to stop. 0, or 1 with the reason logged (2: the node id is
  // taken).
  int run();

  // console::Source; any thread.
  console::ClusterView cluster() override;
  console::ConnectionsView connections(const console::ConnectionFilter& filter) override;
  std::vector<console::PortView> ports() override;
  std::vector<console::EventView> events() override;
  std::optional<console::GroupStoryView> story(const std::string& group) override;
  std::vector<console::DropView> drops() override;
  std::vector<console::WorkerView> workers() override;
  std::vector<console::BackendView> backends() override;
  std::vector<console::NeighbourView> neighbours() override;
  Result<console::HandOverView> hand_over(const std::string& group, const std::string& node) override;
  void quit() override { quit_.store(true, std::memory_order_relaxed); }

 private:
  struct Lcore {
    std::unique_ptr<Wakeup> wakeup;
    std::unique_ptr<worker::Worker> worker;
    std::atomic<bool> reopen{false};
    std::atomic<uint64_t> busy_ns{0};
  };

  Node(config::Config config, const RunOptions& options) : config_(std::move(config)), options_(options) {}
  Status open(const std::string& node_name);
  Status open_ports();
  Status open_arbiter();
  Status open_etcd_file();
  Port& port_at(size_t index) const { return *seen_ports_[index]; }  // without tags and fragments
  void make_workers(uint64_t seed);
  void make_leases();
  Port& outer_port(size_t index);  // as workers see it
  Status launch();
  void work(unsigned index);
  void reopen_ports();
  void wake_workers();
  void ask(Lcore& lcore, const worker::Command& command, const std::atomic<bool>& done);
  void log_event(const NodeEvent& event);

  config::Config config_;
  const RunOptions options_;
  const config::NodeConfig* node_ = nullptr;
  BootId boot_;
  std::unique_ptr<Eal> eal_;
  std::unique_ptr<TscClock> clock_;
  Pool pool_;
  std::unique_ptr<tcp::ShardMap> shards_;
  std::vector<std::unique_ptr<EthdevPort>> ports_;
  std::vector<std::unique_ptr<Port>> wrapped_;  // what takes tags off and puts fragments together
  std::vector<Port*> seen_ports_;
  // Under an arbiter, before each port: what may not leave does not.
  std::shared_ptr<worker::Leases> leases_;
  std::vector<std::unique_ptr<worker::LeasedPort>> leased_ports_;
  // By port: worker 0's distributor and the other workers' ends; empty with one worker.
  std::vector<std::unique_ptr<worker::Distributor>> distributors_;
  std::vector<std::vector<std::unique_ptr<worker::HandoverPort>>> handovers_;
  std::vector<std::unique_ptr<Lcore>> lcores_;
  std::unique_ptr<NodeControl> control_;
  std::unique_ptr<PromiseKeeper> keeper_;
  std::unique_ptr<etcd::CurlTransport> transport_;  // to etcd
  std::unique_ptr<Wakeup> control_wakeup_;          // rung by workers whose report must not wait
  std::mutex control_mutex_;                        // the control loop's round against the console's looks
  Instant started_{};
  std::atomic<bool> quit_{false};
  std::atomic<bool> stop_workers_{false};
};

}  // namespace understudy::appliance
