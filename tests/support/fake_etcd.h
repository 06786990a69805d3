#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/instant.h"
#include "common/random.h"
#include "control/etcd/record.h"
#include "control/etcd/transport.h"

namespace understudy::etcd {

// An etcd of one key space in memory, spoken to in the JSON of the real one.
class FakeEtcd {
 public:
  // Executes a request at this moment; status and body as the gateway gives them.
  std::pair<int, std::string> execute(const std::string& path, const std::string& body);
  std::optional<Record> record(const std::string& key) const;
  void put(const std::string& key, const std::string& value) { keys_[key] = {value, ++revision_}; }
  void remove(const std::string& key) { keys_.erase(key), ++revision_; }
  uint64_t cluster = 77;

 private:
  struct Value {
    std::string bytes;
    int64_t revision;
  };
  std::map<std::string, Value> keys_;
  int64_t revision_ = 1;
};

// From a node to etcd.
struct EtcdWay {
  bool cut = false;
  Duration delay_least = 500us, delay_most = 2ms;  // each direction
  unsigned request_loss = 0, answer_loss = 0;      // per 100
  unsigned late = 0;                               // per 100 requests: executed up to 400 ms later
  bool refuses = false;                            // nothing listens
  std::function<std::pair<int, std::string>(std::pair<int, std::string>)> lie = {};
};

// An etcd and the ways to it, which can be slow, lose requests or answers, deliver late what its sender has
// given up, or lie; in virtual time from one seed.
class EtcdNetwork {
 public:
  EtcdNetwork(size_t nodes, uint64_t seed) : ways(nodes), random_(seed) {}
  EtcdNetwork(const EtcdNetwork&) = delete;
  EtcdNetwork& operator=(const EtcdNetwork&) = delete;

  // The way of one life of a node: what comes for it after its end is lost.
  std::unique_ptr<Transport> connect(size_t node);
  // Whatever is due by now.
  void run(Instant now);
  Instant next_due() const;
  uint64_t calls(size_t node) const;

  FakeEtcd etcd;
  std::vector<EtcdWay> ways;  // by node

 private:
  class Way;
  struct Due {
    Instant when;
    std::function<void()> then;
  };
  Instant now_{};
  Random random_;
  std::vector<Due> due_;
  std::map<size_t, uint64_t> calls_;
};

}  // namespace understudy::etcd
