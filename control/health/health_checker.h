#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "common/log.h"
#include "common/random.h"
#include "common/strong.h"
#include "control/config/config.h"

namespace understudy::health {

using CheckId = Strong<struct CheckIdTag, uint64_t>;  // never used twice by one checker

struct BackendSettings {
  std::string name;
  IpAddress address;
  PortNumber port;  // to be connected to
};

struct PoolSettings {
  PoolId id;
  std::string name;
  Duration interval = 500ms;  // between the starts of two checks of one backend, give or take a tenth
  Duration timeout = 300ms;
  unsigned rise = 2;  // successes in a row that bring a backend back
  unsigned fall = 3;  // failures in a row that take it out
  std::vector<BackendSettings> backends;
};

// From a validated configuration.
std::vector<PoolSettings> pools_from(const config::Config& config);

enum class BackendState : uint8_t { unknown, up, down };
std::string_view name_of(BackendState state);

// A check that the caller is to start now: connect, and tell on_result(). After `give_up` an answer does not
// count.
struct CheckToStart {
  CheckId id;
  PoolId pool;
  BackendId backend;
  IpAddress address;
  PortNumber port;
  Instant give_up;
};

struct HealthEvent {
  LogLevel level = LogLevel::notice;
  std::string sentence;
};

struct BackendChange {
  PoolId pool;
  BackendId backend;
  bool up = false;
};

struct HealthOutcome {
  std::vector<CheckToStart> checks;
  std::vector<BackendChange> changes;  // for the workers' schedulers
  std::vector<HealthEvent> events;
};

struct BackendSnapshot {
  PoolId pool;
  BackendId backend;
  std::string name;
  BackendState state = BackendState::unknown;
  Instant since;        // of the state
  unsigned streak = 0;  // results in a row that agree with the last one
  uint64_t checks = 0, failures = 0;
};

// Which backends answer. One thread, virtual time, no sockets. A backend begins as unknown, which is not up,
// and is up after its first success, so that a node that boots serves soon; it is down after `fall` failures
// and up again after `rise` successes. A pool without a backend that is up serves nothing, and an event says
// so.
class HealthChecker {
 public:
  HealthChecker(std::vector<PoolSettings> pools, Random random);
  // Checks that are due, and the consequences of those that timed out.
  HealthOutcome tick(Instant now);
  // A result that is unknown, late or told twice changes nothing.
  HealthOutcome on_result(CheckId id, bool ok, Instant now);
  Instant next_deadline() const;  // when tick() has something to do

  bool is_up(PoolId pool, BackendId backend) const;
  unsigned up_count(PoolId pool) const;
  std::vector<BackendSnapshot> snapshot() const;

 private:
  struct Backend {
    BackendSettings settings;
    BackendState state = BackendState::unknown;
    Instant since;
    bool last_ok = false;
    unsigned streak = 0;
    uint64_t checks = 0, failures = 0;
    Instant next_check = Instant::min();
    std::optional<CheckId> running;
    Instant give_up = kNever;
  };
  struct Pool {
    PoolSettings settings;
    std::vector<Backend> backends;
    bool told_empty = false;
  };

  void judge(Pool& pool, size_t index, bool ok, const char* how, Instant now, HealthOutcome& outcome);
  void start_check(Pool& pool, size_t index, Instant now, HealthOutcome& outcome);
  static unsigned up_in(const Pool& pool);
  const Pool* find(PoolId id) const;

  std::vector<Pool> pools_;
  Random random_;
  uint64_t checks_started_ = 0;
};

}  // namespace understudy::health
