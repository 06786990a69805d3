#include "dataplane/service/backend_pool.h"

#include <algorithm>

namespace understudy::service {

BackendPool::BackendPool(std::vector<Backend> backends) {
  for (Backend& backend : backends) entries_.push_back({backend, 0});
}

std::optional<BackendId> BackendPool::pick(std::optional<BackendId> refused) {
  const Entry* avoided = refused ? &entries_[refused->value()] : nullptr;
  const auto is_another = [&](const Entry& entry) { return entry.backend.up && &entry != avoided; };
  if (std::ranges::none_of(entries_, is_another)) avoided = nullptr;
  Entry* richest = nullptr;
  int64_t sum = 0;
  for (Entry& entry : entries_) {
    if (!entry.backend.up || &entry == avoided) continue;
    entry.credit += entry.backend.weight;
    sum += entry.backend.weight;
    if (richest == nullptr || entry.credit > richest->credit) richest = &entry;
  }
  if (richest == nullptr) return std::nullopt;
  richest->credit -= sum;
  return BackendId(static_cast<uint16_t>(richest - entries_.data()));
}

}  // namespace understudy::service
