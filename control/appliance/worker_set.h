#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "control/cluster/ownership.h"
#include "dataplane/mirror/cluster_frame.h"
#include "dataplane/worker/worker.h"

namespace understudy::appliance {

// A node's workers as the control thread sees them: mailboxes, and counters that are added up. Control thread
// only. A counter's group is given as its place in the configuration.
class WorkerSet {
 public:
  // Buffers of broadcasts come from `pool`. The workers outlive this.
  WorkerSet(std::vector<worker::Worker*> workers, rte_mempool* pool);
  ~WorkerSet();
  WorkerSet(const WorkerSet&) = delete;
  WorkerSet& operator=(const WorkerSet&) = delete;

  uint16_t size() const { return static_cast<uint16_t>(workers_.size()); }
  void tell(size_t worker, const worker::Command& command);
  void tell_all(const worker::Command& command);
  // By worker 0, on every link; left out without a buffer: what is broadcast is said again within a second.
  void broadcast(mirror::ClusterFrameKind kind, std::span<const uint8_t> payload);

  // What they have reported up to now, until gathered() hands it over with the frames in it.
  void gather();
  std::vector<worker::Report> gathered() { return std::exchange(reports_, {}); }

  uint64_t progress(size_t worker) const;
  // Late frames of groups that were handed over are still looked for.
  bool passing_on() const;
  uint64_t legs(size_t group) const;
  uint64_t unprotected(size_t group) const;
  uint64_t exempt(size_t group) const;
  // A group is as ready as its least ready shard. Of the streams to its standby: `orders` is how often
  // workers were told of one; until a worker knows of the last time, its state is that of another standby.
  cluster::Readiness readiness_of_standby(size_t group, uint32_t orders) const;
  // Of the copies held here: what was mirrored in another epoch than the `followed` one is worth nothing.
  // `stale_orders` is how often workers were told that their owner has dropped some; until a worker has
  // obeyed, what it says that it holds is not to be believed.
  cluster::Readiness readiness_as_standby(size_t group, const std::optional<Epoch>& followed,
                                          uint32_t stale_orders) const;

 private:
  using GroupStatus = worker::WorkerStatus::GroupStatus;
  uint64_t sum(size_t group, std::atomic<uint32_t> GroupStatus::*counter) const;

  std::vector<worker::Worker*> workers_;
  rte_mempool* pool_;
  std::vector<worker::Report> reports_;
};

}  // namespace understudy::appliance
