#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/result.h"
#include "control/etcd/transport.h"

namespace understudy::etcd {

struct CurlSettings {
  std::vector<std::string> endpoints;      // http://10.30.0.1:2379 or https://...
  std::string ca_file;                     // of the servers' certificates; empty: the system's
  std::string certificate_file, key_file;  // of this client; empty: none
};

// Requests through libcurl on a thread of its own, any number at once; connections are kept. Names of hosts
// are resolved there, too. All but has_replies() on any one thread.
class CurlTransport final : public Transport {
 public:
  // `ring` is called on the thread whenever a reply has come.
  static Result<std::unique_ptr<CurlTransport>> start(CurlSettings settings, std::function<void()> ring);
  ~CurlTransport() override;
  CurlTransport(const CurlTransport&) = delete;
  CurlTransport& operator=(const CurlTransport&) = delete;

  size_t endpoints() const override { return settings_.endpoints.size(); }
  const std::string& name(size_t endpoint) const override { return settings_.endpoints[endpoint]; }
  void post(uint64_t call, size_t endpoint, const char* path, std::string body, Duration timeout) override;
  void gather() override;
  std::vector<Reply> take_replies() override { return std::exchange(gathered_, {}); }
  bool has_replies() const override { return has_replies_.load(std::memory_order_acquire); }

 private:
  struct Exchange;
  struct Request {
    uint64_t call;
    std::string url, body;
    Duration timeout;
  };
  CurlTransport(CurlSettings settings, std::function<void()> ring);
  void run();
  void begin(Request request);
  void finish_done();
  void reply(Reply reply);

  const CurlSettings settings_;
  const std::function<void()> ring_;
  void* multi_ = nullptr;  // CURLM
  void* headers_ = nullptr;
  std::vector<std::unique_ptr<Exchange>> running_;  // of the thread
  std::vector<void*> idle_;                         // handles of the thread, to be used again
  std::mutex mutex_;
  bool ends_ = false;
  std::vector<Request> requests_;
  std::vector<Reply> replies_;
  std::atomic<bool> has_replies_{false};
  std::vector<Reply> gathered_;
  std::thread thread_;
};

}  // namespace understudy::etcd
