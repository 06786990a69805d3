#include "tests/conformance/adapter.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace understudy::conformance {
namespace {
constexpr Instant kStart{1000s};
}

Adapter::Adapter(const AdapterFlags& flags, rte_mempool* pool) : flags_(flags), pool_(pool) {
  host_ = std::make_unique<VirtualHost>(settings_of(flags), pool, kStart);
  sockets_ = std::make_unique<Sockets>(*host_, settings_of(flags));
}

void Adapter::take_settings() {
  if (!sockets_->is_empty() || host_->engine().legs().size() > 0) return;
  const Instant now = host_->now();
  sockets_.reset();
  host_ = std::make_unique<VirtualHost>(settings_of(flags_), pool_, now);
  sockets_ = std::make_unique<Sockets>(*host_, settings_of(flags_));
}

void Adapter::await_returning(std::unique_lock<std::mutex>& lock) {
  if (is_main()) changed_.wait(lock, [this] { return !returning_; });
}

Instant Adapter::next_deadline() {
  return std::min(host_->engine().next_deadline(), sockets_->next_deadline());
}

void Adapter::advance_to(Instant until) {
  while (sockets_->next_deadline() <= until) {
    host_->advance_to(std::max(host_->now(), sockets_->next_deadline()));
    sockets_->run_timers();
  }
  host_->advance_to(until);
}

// Something has happened: the call that waits on the second thread may be able to return.
void Adapter::notice_change() {
  sockets_->notice_progress();
  publish_states();
  if (waiting_ == nullptr || waiting_->done) return;
  waiting_->outcome = (*waiting_->attempt)();
  if (waiting_->outcome.would_block() && host_->now() < waiting_->deadline) return;
  waiting_->done = true;
  returning_ = true;
  changed_.notify_all();
}

// For the `sockstat` that scripts for FreeBSD ask (PACKETDRILL.md).
void Adapter::publish_states() {
  static const char* const settings = std::getenv("UNDERSTUDY_SYSCTLS");
  if (settings == nullptr) return;
  const std::string states = sockets_->states();
  if (states == published_) return;
  published_ = states;
  std::ofstream(std::string(settings) + ".states") << states;
}

// To the next timer, or to the deadline of the call that waits. False: neither will ever come.
bool Adapter::pass_time() {
  const Instant deadline = waiting_ == nullptr || waiting_->done ? kNever : waiting_->deadline;
  const Instant next = std::min(deadline, next_deadline());
  if (next == kNever) return false;
  advance_to(std::max(next, host_->now()));
  notice_change();
  return true;
}

// On the main thread nobody else makes time pass.
Outcome Adapter::wait_here(const std::function<Outcome()>& attempt, Instant deadline) {
  while (true) {
    const Instant next = std::min(next_deadline(), deadline);
    if (next == kNever) return attempt();
    advance_to(std::max(next, host_->now()));
    notice_change();
    const Outcome outcome = attempt();
    if (!outcome.would_block() || host_->now() >= deadline) return outcome;
  }
}

Outcome Adapter::call(bool may_block, const std::function<Outcome()>& attempt, Instant deadline) {
  std::unique_lock lock(mutex_);
  await_returning(lock);
  Outcome outcome = attempt();
  notice_change();
  if (outcome.would_block() && may_block && host_->now() < deadline) {
    if (is_main()) return wait_here(attempt, deadline);
    Waiting waiting{.attempt = &attempt, .deadline = deadline};
    waiting_ = &waiting;
    changed_.wait(lock, [&] { return waiting.done; });
    waiting_ = nullptr;
    outcome = waiting.outcome;
  }
  if (!is_main()) returning_ = true;
  return outcome;
}

void Adapter::inject(std::span<const uint8_t> packet) {
  std::unique_lock lock(mutex_);
  await_returning(lock);
  host_->inject(packet);
  notice_change();
}

std::optional<VirtualHost::Packet> Adapter::next_packet() {
  std::unique_lock lock(mutex_);
  await_returning(lock);
  while (host_->sent().empty()) {
    if (!pass_time()) return std::nullopt;
    await_returning(lock);
  }
  VirtualHost::Packet packet = std::move(host_->sent().front());
  host_->sent().pop_front();
  return packet;
}

void Adapter::sleep(Duration duration) {
  std::unique_lock lock(mutex_);
  await_returning(lock);
  const Instant until = host_->now() + duration;
  while (host_->now() < until) {
    Instant stop = std::min(until, next_deadline());
    if (waiting_ != nullptr && !waiting_->done)
      stop = std::min(stop, std::max(waiting_->deadline, host_->now()));
    advance_to(std::max(stop, host_->now()));
    notice_change();
    await_returning(lock);
  }
}

bool Adapter::await_answer(Duration most) {
  const std::unique_lock lock(mutex_);
  const Instant until = host_->now() + most;
  while (waiting_ != nullptr && !waiting_->done && host_->now() < until) {
    const Instant next = std::min({waiting_->deadline, next_deadline(), until});
    advance_to(std::max(next, host_->now()));
    notice_change();
  }
  return waiting_ == nullptr || waiting_->done;
}

Instant Adapter::tick() {
  std::unique_lock lock(mutex_);
  if (!is_main() && returning_) {
    returning_ = false;
    changed_.notify_all();
    return host_->now();
  }
  await_returning(lock);
  advance_to(host_->now() + 1us);
  notice_change();
  return host_->now();
}

}  // namespace understudy::conformance
