#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/address.h"
#include "common/result.h"

struct MHD_Daemon;

namespace understudy::observe {

// Answers GET /metrics over HTTP, on one thread of its own: whoever asks slowly, or not at all, keeps nobody
// else of the node waiting. At most 16 connections; one that says nothing for 10 s is closed.
class MetricsServer {
 public:
  // `text` is called on the server's thread, one call at a time. Port 0: any; port() tells which.
  static Result<std::unique_ptr<MetricsServer>> start(const IpAddress& address, PortNumber port,
                                                      std::function<std::string()> text);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;
  PortNumber port() const;

 private:
  struct Answering;
  explicit MetricsServer(std::function<std::string()> text) : text_(std::move(text)) {}

  const std::function<std::string()> text_;
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace understudy::observe
