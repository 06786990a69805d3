#include "dataplane/dpdk/port_waiter.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace understudy {

Result<std::unique_ptr<Wakeup>> Wakeup::create() {
  const int descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (descriptor < 0) return Error{fmt::format("an eventfd cannot be made: {}", std::strerror(errno))};
  return std::unique_ptr<Wakeup>(new Wakeup(descriptor));
}

Wakeup::~Wakeup() {
  close(descriptor_);
}

void Wakeup::ring() {
  // Pairs with prepare(): of "work enqueued, asleep read" here and "asleep written, queues read" there, at
  // least one side sees the other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!asleep_.load(std::memory_order_relaxed) || !asleep_.exchange(false)) return;
  const uint64_t one = 1;
  (void)!write(descriptor_, &one, sizeof one);
}

void Wakeup::prepare() {
  asleep_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Wakeup::awake() {
  asleep_.store(false, std::memory_order_relaxed);
}

void Wakeup::drain() {
  uint64_t count = 0;
  (void)!read(descriptor_, &count, sizeof count);
}

PortWaiter::PortWaiter(Wakeup& wakeup) : wakeup_(wakeup) {
  polled_.push_back({wakeup_.descriptor_, POLLIN, 0});
}

void PortWaiter::watch(std::span<const int> descriptors) {
  polled_.resize(1);
  for (int descriptor : descriptors)
    if (descriptor >= 0) polled_.push_back({descriptor, POLLIN, 0});
}

Woken PortWaiter::sleep(Duration timeout) {
  const int64_t nanoseconds = std::max<int64_t>(timeout.count(), 0);
  const timespec limit{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  const int ready = ppoll(polled_.data(), polled_.size(), &limit, nullptr);
  wakeup_.awake();
  if (ready <= 0) return Woken::timeout;
  Woken result = Woken::rung;
  if (polled_[0].revents != 0) wakeup_.drain();
  for (size_t i = 1; i < polled_.size(); ++i) {
    pollfd& entry = polled_[i];
    if (entry.revents == 0) continue;
    result = Woken::frames;
    if (entry.revents & POLLNVAL) entry.fd = -1;  // closed behind our back; ppoll skips it from now on
    if (entry.revents & POLLERR) {
      // The interface went down. Reading the error clears it; nobody else does, and poll would return at once
      // for ever.
      int error = 0;
      socklen_t length = sizeof error;
      (void)getsockopt(entry.fd, SOL_SOCKET, SO_ERROR, &error, &length);
    }
  }
  return result;
}

}  // namespace understudy
