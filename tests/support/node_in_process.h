#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/appliance/node_control.h"
#include "control/config/config.h"
#include "dataplane/worker/handover.h"
#include "dataplane/worker/worker.h"
#include "tests/support/buffer_pool.h"
#include "tests/support/switched_network.h"

namespace understudy {

// One whole node without threads: its workers, the hand-over between them, and its control, wired as the
// program wires them, run by hand in virtual time. It has a clock of its own, which may run fast or slow
// against the world's. Destroying it is SIGKILL.
class NodeInProcess {
 public:
  struct Settings {
    const config::Config* config = nullptr;
    const config::NodeConfig* node = nullptr;
    const tcp::ShardMap* shards = nullptr;
    std::vector<SwitchedNetwork*> networks;  // one for each port, in the configuration's order
    uint8_t slot = 0;                        // port MACs are 02:00:00:00:SLOT:PORT
    unsigned buffers = 4095;
    Duration control_round = 2ms;
    Duration reopening = Duration::zero();  // how long worker 0 is busy with opening its ports again
    Duration clock_ahead{0};                // machines start at different times, and so do their clocks
    int32_t clock_ppm = 0;                  // parts per million by which its clock runs fast
    std::function<void(worker::WorkerSettings&)> adjust = {};
    // What a restart finds of what this node has promised, and how long it takes to put it there.
    cluster::KeptMemory* disk = nullptr;
    Duration disk_takes = 1ms;
    etcd::Transport* transport = nullptr;  // arbiter etcd; outlives the node
  };
  NodeInProcess(const Settings& settings, Random& random, Instant now, appliance::NodeControl::LogLine log);
  NodeInProcess(const NodeInProcess&) = delete;
  NodeInProcess& operator=(const NodeInProcess&) = delete;

  // All that is due: workers, control, workers again where that gave them something to do.
  void run(Instant now, bool workers_first);
  // When run() is to be called next; `now` if at once. A paused node never wants to be.
  Instant next_instant(Instant now) const;
  void pause() { paused_ = true; }  // SIGSTOP
  void resume() { paused_ = false; }
  bool paused() const { return paused_; }
  void pause_worker(size_t index, Instant until) { worker_paused_until_[index] = until; }
  bool worker_paused(size_t index, Instant now) const { return worker_paused_until_[index] > now; }
  void retire(Instant now);  // SIGTERM
  unsigned times_reopened() const { return reopened_; }
  // Why it has ended by itself; empty while it runs.
  const std::string& last_words() const { return last_words_; }

  appliance::NodeControl& control() const { return *control_; }
  worker::Worker& worker(size_t index) const { return *workers_[index]; }
  size_t workers() const { return workers_.size(); }
  SwitchPort& port(size_t index) const { return *ports_[index]; }
  rte_mempool* pool() const { return pool_.get(); }
  Instant local_time(Instant now) const;

 private:
  void make_workers(Random& random, Instant now, appliance::NodeControl::LogLine log);
  void make_handover(size_t port);
  bool has_replies() const { return settings_.transport != nullptr && settings_.transport->has_replies(); }
  void keep_promises(Instant now);
  Port& outer_port(size_t index);
  Instant world_time(Instant local) const;
  bool has_work(size_t worker, Instant now) const;
  void run_workers(Instant now);

  Settings settings_;
  std::string name_;
  Instant born_;
  BufferPool pool_;
  std::vector<std::unique_ptr<SwitchPort>> ports_;
  std::shared_ptr<worker::Leases> leases_;
  std::vector<std::unique_ptr<worker::LeasedPort>> leased_ports_;
  Instant seen_;  // its own time, at the last run()
  std::vector<std::pair<Instant, cluster::Keep>> keeping_;
  std::vector<std::vector<std::unique_ptr<worker::HandoverPort>>> handovers_;  // by port, by worker - 1
  std::vector<std::unique_ptr<worker::Distributor>> distributors_;             // by port
  std::vector<std::unique_ptr<worker::Worker>> workers_;
  std::vector<Instant> deadlines_;            // by worker, in its own time
  std::vector<Instant> worker_paused_until_;  // by worker
  std::vector<char> busy_;                    // by worker
  std::unique_ptr<appliance::NodeControl> control_;
  Instant control_due_;
  bool paused_ = false;
  bool retiring_ = false;
  bool reopen_ = false;
  unsigned reopened_ = 0;
  std::string last_words_;
};

}  // namespace understudy
