#include "control/appliance/event_log.h"

#include <algorithm>

namespace understudy::appliance {
namespace {

size_t class_of(const NodeEvent& event) {
  if (!event.sentence.starts_with("group ")) return 2;
  return event.level == LogLevel::info ? 1 : 0;
}

}  // namespace

const NodeEvent& EventLog::add(NodeEvent event) {
  ++counts_[class_of(event)];
  events_.push_back(std::move(event));
  if (events_.size() > kKept) {
    const auto most = static_cast<size_t>(std::ranges::max_element(counts_) - counts_.begin());
    events_.erase(std::ranges::find(events_, most, class_of));
    --counts_[most];
  }
  return events_.back();
}

}  // namespace understudy::appliance
