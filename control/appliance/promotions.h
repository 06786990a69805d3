#pragma once

#include <map>

#include "control/appliance/worker_set.h"
#include "control/cluster/controller.h"
#include "dataplane/mirror/heartbeat.h"

namespace understudy::appliance {

// How a decision about a group becomes what its workers do, one after the other: worker 0 announces the
// addresses, then all take over, and only what every worker has done is done. Control thread only.
class Promotions {
 public:
  // `workers` outlives this.
  explicit Promotions(WorkerSet& workers) : workers_(workers) {}

  // The group's clock as its owner says it: a successor's starts ahead of all that can have been seen.
  void on_heartbeat(const mirror::Heartbeat& beat, Instant now);
  // Of worker::SharedSigns::silences, the last one that is known: commands that let a worker speak name it.
  void on_silence(uint32_t number);
  uint32_t silence() const { return silence_; }

  void promote(const cluster::Promote& action, Instant now);
  // Both for all workers, also for those that a promotion has not reached yet.
  void demote(const cluster::Demote& action);
  void mute(GroupId group);

  // What a worker's report brings the group's last promotion to.
  struct Progress {
    std::optional<Epoch> announced;  // worker 0 has announced the addresses, under this epoch
    bool is_whole = false;           // every worker speaks for its share of the connections
  };
  Progress on_promoted(const worker::Report& report);
  // Every worker holds all that the owner has released.
  bool on_handed(const worker::Report& report);

 private:
  struct Promotion {
    worker::Command command;
    bool told_all = true;
    uint64_t promoted = 0;  // workers, as bits
    uint64_t handed = 0;    // workers that hold all that the owner has released
  };
  struct HeardClock {
    uint64_t clock_us = 0;
    Instant at;
  };
  void tell_the_others(Promotion& promotion);
  bool is_whole(uint64_t workers) const;
  uint64_t clock_for(GroupId group, Instant now) const;

  WorkerSet& workers_;
  std::map<GroupId, HeardClock> clocks_;
  std::map<GroupId, Promotion> promotions_;
  uint32_t silence_ = 0;
};

}  // namespace understudy::appliance
