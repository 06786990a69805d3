#include "dataplane/service/connect_check.h"

#include <algorithm>

namespace understudy::service {

void ConnectCheck::start(tcp::Engine& engine, tcp::GroupIndex group, const tcp::Service& service,
                         const FlowKey& key, uint64_t id, Instant give_up, Instant now) {
  const uint32_t leg =
      engine.legs().find(key) == tcp::kNone ? engine.connect(group, key, &service, now) : tcp::kNone;
  if (leg == tcp::kNone) {
    results_.push_back({id, false});
    return;
  }
  if (!engine.give_pipes(leg)) {
    engine.abort(leg, now);
    results_.push_back({id, false});
    return;
  }
  running_.push_back({engine.legs().id_of(leg), id, give_up});
}

void ConnectCheck::finish(const tcp::Engine& engine, uint32_t leg, bool ok) {
  const auto it = std::ranges::find(running_, engine.legs().id_of(leg), &Running::leg);
  if (it == running_.end()) return;
  results_.push_back({it->id, ok});
  running_.erase(it);
}

void ConnectCheck::on_open(tcp::Engine& engine, uint32_t leg, Instant now) {
  finish(engine, leg, true);
  engine.abort(leg, now);
}

void ConnectCheck::on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason, Instant) {
  finish(engine, leg, false);
}

void ConnectCheck::tick(tcp::Engine& engine, Instant now) {
  for (size_t i = 0; i < running_.size();) {
    const Running check = running_[i];
    if (check.give_up > now) {
      ++i;
      continue;
    }
    results_.push_back({check.id, false});
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    if (engine.legs().is_live(check.leg)) engine.abort(check.leg.index, now);
  }
}

Instant ConnectCheck::next_deadline() const {
  Instant next = kNever;
  for (const Running& check : running_) next = std::min(next, check.give_up);
  return next;
}

}  // namespace understudy::service
