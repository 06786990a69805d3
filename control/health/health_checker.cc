#include "control/health/health_checker.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::health {

std::vector<PoolSettings> pools_from(const config::Config& config) {
  std::vector<PoolSettings> pools;
  for (const config::PoolConfig& pool : config.pools) {
    PoolSettings settings{.id = pool.id,
                          .name = pool.name,
                          .interval = pool.check.interval,
                          .timeout = pool.check.timeout,
                          .rise = pool.check.rise,
                          .fall = pool.check.fall,
                          .backends = {}};
    for (const config::BackendConfig& backend : pool.backends) {
      const PortNumber own = backend.port.value_or(PortNumber());
      settings.backends.push_back({backend.name, backend.address, pool.check.port.value_or(own)});
    }
    pools.push_back(std::move(settings));
  }
  return pools;
}

std::string_view name_of(BackendState state) {
  switch (state) {
    case BackendState::unknown:
      return "unknown";
    case BackendState::up:
      return "up";
    case BackendState::down:
      return "down";
  }
  return "unknown";
}

HealthChecker::HealthChecker(std::vector<PoolSettings> pools, Random random) : random_(random) {
  for (PoolSettings& settings : pools) {
    Pool pool;
    for (const BackendSettings& backend : settings.backends) {
      pool.backends.emplace_back();
      pool.backends.back().settings = backend;
    }
    pool.settings = std::move(settings);
    pools_.push_back(std::move(pool));
  }
}

HealthOutcome HealthChecker::tick(Instant now) {
  HealthOutcome outcome;
  for (Pool& pool : pools_) {
    for (size_t i = 0; i < pool.backends.size(); ++i) {
      Backend& backend = pool.backends[i];
      if (backend.running && backend.give_up <= now) {
        backend.running.reset();
        judge(pool, i, false, "did not answer in time", now, outcome);
      }
      if (!backend.running && backend.next_check <= now) start_check(pool, i, now, outcome);
    }
  }
  return outcome;
}

void HealthChecker::start_check(Pool& pool, size_t index, Instant now, HealthOutcome& outcome) {
  Backend& backend = pool.backends[index];
  // A tenth either way, so that the checks of many nodes and backends do not march in step.
  const int64_t tenth = to_us(pool.settings.interval) / 10;
  const auto jitter = std::chrono::microseconds(
      static_cast<int64_t>(random_.below(static_cast<uint32_t>(2 * tenth + 1))) - tenth);
  backend.next_check = now + pool.settings.interval + jitter;
  backend.running = CheckId(++checks_started_);
  backend.give_up = now + pool.settings.timeout;
  ++backend.checks;
  outcome.checks.push_back({*backend.running, pool.settings.id, BackendId(static_cast<uint16_t>(index)),
                            backend.settings.address, backend.settings.port, backend.give_up});
}

HealthOutcome HealthChecker::on_result(CheckId id, bool ok, Instant now) {
  HealthOutcome outcome;
  for (Pool& pool : pools_) {
    for (size_t i = 0; i < pool.backends.size(); ++i) {
      Backend& backend = pool.backends[i];
      if (backend.running != id || now > backend.give_up) continue;
      backend.running.reset();
      judge(pool, i, ok, ok ? "answers" : "refused the connection", now, outcome);
    }
  }
  return outcome;
}

void HealthChecker::judge(Pool& pool, size_t index, bool ok, const char* how, Instant now,
                          HealthOutcome& outcome) {
  Backend& backend = pool.backends[index];
  backend.streak = backend.last_ok == ok ? backend.streak + 1 : 1;
  backend.last_ok = ok;
  if (!ok) ++backend.failures;
  const bool rises = ok && backend.state != BackendState::up &&
                     (backend.state == BackendState::unknown || backend.streak >= pool.settings.rise);
  const bool falls = !ok && backend.state != BackendState::down && backend.streak >= pool.settings.fall;
  if (!rises && !falls) return;

  const bool was_up = backend.state == BackendState::up;
  backend.state = ok ? BackendState::up : BackendState::down;
  backend.since = now;
  if (was_up != ok)
    outcome.changes.push_back({pool.settings.id, BackendId(static_cast<uint16_t>(index)), ok});
  outcome.events.push_back({ok ? LogLevel::notice : LogLevel::warning,
                            fmt::format("pool {}: backend {} ({} port {}) is {}: {}", pool.settings.name,
                                        backend.settings.name, backend.settings.address.to_string(),
                                        backend.settings.port.value(), name_of(backend.state), how)});
  const unsigned up = up_in(pool);
  const bool all_down = std::all_of(pool.backends.begin(), pool.backends.end(),
                                    [](const Backend& each) { return each.state == BackendState::down; });
  if (all_down && !pool.told_empty) {
    pool.told_empty = true;
    outcome.events.push_back({LogLevel::error, fmt::format("pool {}: none of its {} backends is up, so it "
                                                           "serves nothing",
                                                           pool.settings.name, pool.backends.size())});
  } else if (up > 0) {
    pool.told_empty = false;
  }
}

Instant HealthChecker::next_deadline() const {
  Instant next = kNever;
  for (const Pool& pool : pools_)
    for (const Backend& backend : pool.backends)
      next = std::min(next, backend.running ? backend.give_up : backend.next_check);
  return next;
}

unsigned HealthChecker::up_in(const Pool& pool) {
  return static_cast<unsigned>(
      std::count_if(pool.backends.begin(), pool.backends.end(),
                    [](const Backend& backend) { return backend.state == BackendState::up; }));
}

const HealthChecker::Pool* HealthChecker::find(PoolId id) const {
  const auto found =
      std::find_if(pools_.begin(), pools_.end(), [id](const Pool& pool) { return pool.settings.id == id; });
  return found == pools_.end() ? nullptr : &*found;
}

bool HealthChecker::is_up(PoolId pool, BackendId backend) const {
  const Pool* found = find(pool);
  return found != nullptr && backend.value() < found->backends.size() &&
         found->backends[backend.value()].state == BackendState::up;
}

unsigned HealthChecker::up_count(PoolId pool) const {
  const Pool* found = find(pool);
  return found == nullptr ? 0 : up_in(*found);
}

std::vector<BackendSnapshot> HealthChecker::snapshot() const {
  std::vector<BackendSnapshot> snapshots;
  for (const Pool& pool : pools_)
    for (size_t i = 0; i < pool.backends.size(); ++i) {
      const Backend& backend = pool.backends[i];
      snapshots.push_back({pool.settings.id, BackendId(static_cast<uint16_t>(i)), backend.settings.name,
                           backend.state, backend.since, backend.streak, backend.checks, backend.failures});
    }
  return snapshots;
}

}  // namespace understudy::health
