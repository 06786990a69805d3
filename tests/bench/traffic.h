#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/tcp/engine.h"

namespace understudy::bench {

// What the hosts' applications have in common: two pipes per leg, and counts.
class Traffic : public tcp::Application {
 public:
  std::string_view name() const override { return "bench"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override;
  void on_open(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant now) override;

  uint64_t opened = 0;
  uint64_t closed = 0;
  uint64_t broken = 0;    // ended in another way than by both FINs
  uint64_t received = 0;  // payload bytes

 protected:
  uint64_t consume_all(tcp::Engine& engine, uint32_t leg);
};

// Writes without end on every connection; what it receives is counted and thrown away.
class Bulk final : public Traffic {
 public:
  explicit Bulk(bool sends) : sends_(sends) {}
  void on_open(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;
  // Fills the send queues of the first `connections` up again.
  void pump(tcp::Engine& engine, size_t connections = SIZE_MAX);

 private:
  const bool sends_;
  std::vector<tcp::LegId> legs_;
};

// A client: one request of `bytes`, the response of as many, and the end of the connection, which the server
// begins.
class RequestClient final : public Traffic {
 public:
  explicit RequestClient(uint32_t bytes) : bytes_(bytes) {}
  void on_open(tcp::Engine& engine, uint32_t leg, Instant now) override;
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;
  uint64_t done = 0;  // whole responses

 private:
  const uint32_t bytes_;
};

class RequestServer final : public Traffic {
 public:
  explicit RequestServer(uint32_t bytes) : bytes_(bytes) {}
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;

 private:
  const uint32_t bytes_;
};

}  // namespace understudy::bench
