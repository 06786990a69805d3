#pragma once

#include <optional>
#include <vector>

#include "common/address.h"

namespace understudy::service {

struct Backend {
  IpAddress address;
  std::optional<PortNumber> port;  // absent: the port that the client asked for
  uint32_t weight = 1;
  bool up = false;
};

// Smooth weighted round robin over the backends that are up (the scheme that nginx made known: each turn
// every weight is added to its backend's credit, the richest serves and pays the sum). One worker; `set_up`
// from its mailbox.
class BackendPool {
 public:
  explicit BackendPool(std::vector<Backend> backends);
  // `refused`: the one that has just turned this client away; another one is picked if any other is up.
  std::optional<BackendId> pick(std::optional<BackendId> refused = std::nullopt);
  void set_up(BackendId backend, bool up) { entries_[backend.value()].backend.up = up; }
  const Backend& operator[](BackendId id) const { return entries_[id.value()].backend; }
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Backend backend;
    int64_t credit = 0;
  };
  std::vector<Entry> entries_;
};

}  // namespace understudy::service
