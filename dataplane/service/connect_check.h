#pragma once

#include <vector>

#include "dataplane/tcp/engine.h"

namespace understudy::service {

// Asks backends for a sign of life: opens a connection from the node's own address and ends it at once. One
// worker.
class ConnectCheck : public tcp::Application {
 public:
  struct Result {
    uint64_t id = 0;
    bool ok = false;
  };

  std::string_view name() const override { return "check"; }
  bool attach(tcp::Engine&, uint32_t) override { return false; }  // nobody connects to a check
  void on_open(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant now) override;

  // Starts a check under `key`. A check that cannot start fails at once.
  void start(tcp::Engine& engine, tcp::GroupIndex group, const tcp::Service& service, const FlowKey& key,
             uint64_t id, Instant give_up, Instant now);
  // Ends those whose time is over; they have failed.
  void tick(tcp::Engine& engine, Instant now);
  Instant next_deadline() const;
  // What has been found out since the last call; the caller clears it.
  std::vector<Result>& results() { return results_; }

 private:
  struct Running {
    tcp::LegId leg;
    uint64_t id = 0;
    Instant give_up{};
  };
  void finish(const tcp::Engine& engine, uint32_t leg, bool ok);

  std::vector<Running> running_;
  std::vector<Result> results_;
};

}  // namespace understudy::service
