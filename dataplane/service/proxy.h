#pragma once

#include "dataplane/service/backend_pool.h"
#include "dataplane/service/source_pool.h"
#include "dataplane/tcp/engine.h"

namespace understudy::service {

struct ProxyCounters {
  uint64_t sessions = 0;
  uint64_t no_backend = 0;       // no backend was up, or no source port free
  uint64_t backend_retries = 0;  // refused or silent backends that were replaced before the session began
};

// The load balancer: a client leg and a backend leg that share their two pipes, so that bytes are stored once
// and windows, half-closes and resets pass through. One object per service and worker.
class Proxy : public tcp::Application {
 public:
  Proxy(BackendPool& backends, SourcePool& sources) : backends_(backends), sources_(sources) {}
  std::string_view name() const override { return "proxy"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override;
  void on_open(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant now) override;

  const ProxyCounters& counters() const { return counters_; }

 private:
  bool open_backend(tcp::Engine& engine, uint32_t client, Instant now);

  static constexpr uint32_t kTriesMax = 4;
  BackendPool& backends_;
  SourcePool& sources_;
  ProxyCounters counters_;
};

}  // namespace understudy::service
