#pragma once

#include "dataplane/tcp/engine.h"

namespace understudy::service {

// RFC 862: what comes in goes out. The leg's receive queue is its send queue.
class Echo : public tcp::Application {
 public:
  std::string_view name() const override { return "echo"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override;
};

// RFC 863: what comes in is consumed; the connection closes when the peer does.
class Discard : public tcp::Application {
 public:
  std::string_view name() const override { return "discard"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override;
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;
};

// The smallest application with state: answers each line with the number of bytes received so far, newline
// included, in decimal. The count is the position in the input, so the standby, which repeats on_data, has it
// without a record.
class Tally : public tcp::Application {
 public:
  std::string_view name() const override { return "tally"; }
  bool attach(tcp::Engine& engine, uint32_t leg) override;
  bool output_waits_for_commit() const override { return true; }
  void on_data(tcp::Engine& engine, uint32_t leg, Instant now) override;
};

}  // namespace understudy::service
