#pragma once

#include <array>
#include <deque>
#include <string>

#include "common/instant.h"
#include "common/log.h"

namespace understudy::appliance {

// One line of `show events`.
struct NodeEvent {
  Instant when;
  LogLevel level = LogLevel::info;
  std::string subject;
  std::string sentence;
};

// The newest of a node's events, the oldest first. There are three classes: what happened to groups ("group
// web: claimed ..."), their changes of state (the same at level info), and everything else. When there are
// too many, the oldest goes of the class that has the most: links that come and go in a bad network, and a
// candidate that asks again and again, do not push out why a group was taken over.
class EventLog {
 public:
  static constexpr size_t kKept = 256;
  static constexpr size_t kClasses = 3;
  const NodeEvent& add(NodeEvent event);
  const std::deque<NodeEvent>& events() const { return events_; }

 private:
  std::deque<NodeEvent> events_;
  std::array<size_t, kClasses> counts_{};
};

}  // namespace understudy::appliance
