#include "control/appliance/worker_set.h"

#include <algorithm>
#include <cstring>

namespace understudy::appliance {

using cluster::Readiness;
using worker::Command;
using worker::Report;

WorkerSet::WorkerSet(std::vector<worker::Worker*> workers, rte_mempool* pool)
    : workers_(std::move(workers)), pool_(pool) {}

WorkerSet::~WorkerSet() {
  for (const Report& report : reports_)
    if (report.kind == Report::Kind::cluster_frame) rte_pktmbuf_free(report.frame);
}

void WorkerSet::tell(size_t worker, const Command& command) {
  // The ring is far larger than what control says in a round; a worker that has stopped reading has stopped
  // working.
  if (!workers_[worker]->commands().send(command) && command.frame != nullptr)
    rte_pktmbuf_free(command.frame);
}

void WorkerSet::tell_all(const Command& command) {
  for (size_t worker = 0; worker < workers_.size(); ++worker) tell(worker, command);
}

void WorkerSet::broadcast(mirror::ClusterFrameKind kind, std::span<const uint8_t> payload) {
  Command command;
  command.kind = Command::Kind::broadcast;
  command.number = static_cast<uint64_t>(kind);
  command.frame = rte_pktmbuf_alloc(pool_);
  if (command.frame == nullptr) return;
  auto* room = rte_pktmbuf_append(command.frame, static_cast<uint16_t>(payload.size()));
  if (!payload.empty()) std::memcpy(room, payload.data(), payload.size());
  tell(0, command);
}

void WorkerSet::gather() {
  Report report;
  for (worker::Worker* worker : workers_)
    while (worker->reports().receive(report)) reports_.push_back(report);
}

uint64_t WorkerSet::progress(size_t worker) const {
  return workers_[worker]->status().progress.load(std::memory_order_relaxed);
}

bool WorkerSet::passing_on() const {
  return std::ranges::any_of(workers_, [](const worker::Worker* worker) {
    return worker->status().passing.load(std::memory_order_relaxed) > 0;
  });
}

uint64_t WorkerSet::sum(size_t group, std::atomic<uint32_t> GroupStatus::*counter) const {
  uint64_t count = 0;
  for (const worker::Worker* worker : workers_)
    count += (worker->status().groups[group].*counter).load(std::memory_order_relaxed);
  return count;
}

uint64_t WorkerSet::legs(size_t group) const {
  return sum(group, &GroupStatus::legs);
}

uint64_t WorkerSet::unprotected(size_t group) const {
  return sum(group, &GroupStatus::unprotected);
}

uint64_t WorkerSet::exempt(size_t group) const {
  return sum(group, &GroupStatus::exempt);
}

Readiness WorkerSet::readiness_of_standby(size_t group, uint32_t orders) const {
  uint32_t worst = 2;
  for (const worker::Worker* worker : workers_) {
    const GroupStatus& status = worker->status().groups[group];
    // Before the state that belongs to it.
    const uint32_t obeyed = status.standby_orders.load(std::memory_order_acquire);
    if (obeyed != orders) worst = 0;
    worst = std::min(worst, status.stream_state.load(std::memory_order_relaxed));
  }
  return worst == 2 ? Readiness::synced : worst == 1 ? Readiness::syncing : Readiness::none;
}

Readiness WorkerSet::readiness_as_standby(size_t group, const std::optional<Epoch>& followed,
                                          uint32_t stale_orders) const {
  using State = mirror::Replica::State;
  bool stale = false;
  bool none = !followed;
  bool syncing = false;
  for (const worker::Worker* worker : workers_) {
    const GroupStatus& status = worker->status().groups[group];
    // Before the state that belongs to it.
    const uint32_t obeyed = status.stale_orders.load(std::memory_order_acquire);
    const worker::ReplicaStatus held = status.replica_status();
    none |= held.state == State::none || held.epoch != followed;
    stale |= held.state == State::stale || obeyed != stale_orders;
    syncing |= held.state == State::syncing;
  }
  return none ? Readiness::none : stale ? Readiness::stale : syncing ? Readiness::syncing : Readiness::synced;
}

}  // namespace understudy::appliance
