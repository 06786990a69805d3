#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "tests/conformance/sockets.h"

namespace understudy::conformance {

// Virtual time and two threads around a VirtualHost and its sockets, as the packetdrill tool needs them. The
// tool's main thread runs the script: its calls make time pass. Calls that the script says to block come on a
// second thread and wait until what the main thread does, or the time that it lets pass, lets them return.
// Every public function may be called from either thread.
class Adapter {
 public:
  Adapter(const AdapterFlags& flags, rte_mempool* pool);

  // Makes a socket call. One that would block and may is tried again after every event, until `deadline`; the
  // last answer counts.
  Outcome call(bool may_block, const std::function<Outcome()>& attempt, Instant deadline = kNever);
  // Without waiting for anything.
  template <class Action>
  auto locked(Action&& action) {
    std::unique_lock lock(mutex_);
    await_returning(lock);
    auto result = action();
    notice_change();
    return result;
  }

  void inject(std::span<const uint8_t> packet);
  // The next packet that leaves, moving time to it. Nothing when none can ever come.
  std::optional<VirtualHost::Packet> next_packet();
  void sleep(Duration duration);
  // Time passes until the call that blocks on the second thread has its answer, but no more than `most`.
  // False: it has none.
  bool await_answer(Duration most);
  // Moves on by a microsecond, so that a caller who waits for a moment sees it come.
  Instant tick();

  // A socket is about to be opened. As long as there is none, what a script sets up anew takes effect.
  void take_settings();
  Sockets& sockets() { return *sockets_; }
  Instant now() const { return host_->now(); }
  uint64_t events() const { return host_->events(); }
  std::vector<std::string> faults() { return host_->faults(); }

 private:
  struct Waiting {
    const std::function<Outcome()>* attempt = nullptr;
    Instant deadline = kNever;
    Outcome outcome;
    bool done = false;
  };
  bool is_main() const { return std::this_thread::get_id() == main_; }
  void await_returning(std::unique_lock<std::mutex>& lock);
  void notice_change();
  void publish_states();
  bool pass_time();
  Instant next_deadline();
  void advance_to(Instant until);
  Outcome wait_here(const std::function<Outcome()>& attempt, Instant deadline);

  const std::thread::id main_ = std::this_thread::get_id();
  std::mutex mutex_;
  std::condition_variable changed_;
  AdapterFlags flags_;
  rte_mempool* pool_;
  std::unique_ptr<VirtualHost> host_;
  std::unique_ptr<Sockets> sockets_;
  Waiting* waiting_ = nullptr;
  // The second thread has its answer but has not looked at the clock yet: time stands still until it has.
  bool returning_ = false;
  std::string published_;
};

}  // namespace understudy::conformance
