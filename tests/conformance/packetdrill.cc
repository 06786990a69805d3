// The functions of packetdrill's table: each turns a system call into one of the adapter.
#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/times.h>

#include "tests/conformance/adapter.h"
#include "tests/conformance/call_redirection.h"
#include "tests/conformance/packetdrill_interface.h"
#include "tests/support/plain_pool.h"

namespace understudy::conformance {
namespace {

// The engine comes into being with the first call: before it the tool runs the script's own set-up commands.
struct Instance {
  AdapterFlags flags;
  std::unique_ptr<Adapter> adapter;
};
Instance* the_instance = nullptr;  // for calls that come without userdata

Adapter& of(void* userdata) {
  auto* instance = static_cast<Instance*>(userdata);
  if (!instance->adapter) {
    // The tool locks all memory, so that a page fault costs its script no time; here it would cost the start
    // of every page that is never used, and faults take no virtual time.
    munlockall();
    instance->adapter = std::make_unique<Adapter>(instance->flags, plain_mbuf_pool_for_any_packet());
  }
  return *instance->adapter;
}

bool is_ours(int fd) {
  return the_instance != nullptr && the_instance->adapter && the_instance->adapter->sockets().is_known(fd);
}

template <class Value = int>
Value as_call(const Outcome& outcome) {
  if (outcome.error != 0) errno = outcome.error;
  return static_cast<Value>(outcome.value);
}

void do_free(void* userdata) {
  the_instance = nullptr;
  const std::unique_ptr<Instance> instance(static_cast<Instance*>(userdata));
  if (!instance->adapter) return;
  std::fprintf(stderr, "understudy: %llu events\n",
               static_cast<unsigned long long>(instance->adapter->events()));
  const std::vector<std::string> faults = instance->adapter->faults();
  for (const std::string& fault : faults) std::fprintf(stderr, "successor: %s\n", fault.c_str());
  std::fflush(nullptr);
  if (!faults.empty()) std::_Exit(1);
}

int do_socket(void* u, int domain, int type, int protocol) {
  return as_call(of(u).locked([&] {
    of(u).take_settings();
    return of(u).sockets().open(domain, type, protocol);
  }));
}

int do_bind(void* u, int fd, const sockaddr* address, socklen_t length) {
  return as_call(of(u).locked([&] { return of(u).sockets().bind(fd, address, length); }));
}

int do_listen(void* u, int fd, int backlog) {
  return as_call(of(u).locked([&] { return of(u).sockets().listen(fd, backlog); }));
}

int do_accept(void* u, int fd, sockaddr* address, socklen_t* length) {
  Sockets& sockets = of(u).sockets();
  return as_call(of(u).call(sockets.is_blocking(fd), [&] { return sockets.accept(fd, address, length); }));
}

int do_connect(void* u, int fd, const sockaddr* address, socklen_t length) {
  Sockets& sockets = of(u).sockets();
  const bool may_block = sockets.is_blocking(fd);
  bool begun = false;
  const auto attempt = [&] {
    Outcome outcome = sockets.connect(fd, address, length);
    if (begun && outcome.error == EISCONN) outcome = Outcome{};
    if (begun && outcome.error == EALREADY) outcome.error = EINPROGRESS;
    begun = true;
    sockets.hold(fd, may_block && outcome.would_block());
    return outcome;
  };
  return as_call(of(u).call(may_block, attempt));
}

ssize_t receive_into(void* u, int fd, std::span<const iovec> pieces, int flags) {
  Sockets& sockets = of(u).sockets();
  const bool may_block = sockets.is_blocking(fd) && (flags & MSG_DONTWAIT) == 0;
  return as_call<ssize_t>(of(u).call(may_block, [&] { return sockets.receive(fd, pieces, flags); }));
}

// Blocks until all has been taken, as write(2) on a blocking socket does.
ssize_t send_all(void* u, int fd, std::span<const uint8_t> bytes, int flags) {
  Sockets& sockets = of(u).sockets();
  const bool may_block = sockets.is_blocking(fd) && (flags & MSG_DONTWAIT) == 0;
  size_t done = 0;
  const auto attempt = [&] {
    const Outcome outcome = sockets.send(fd, bytes.subspan(done), flags);
    if (outcome.error != 0 && !outcome.would_block())
      return done > 0 ? Outcome{static_cast<int64_t>(done)} : outcome;
    if (outcome.error == 0) done += static_cast<size_t>(outcome.value);
    if (done == bytes.size() || (done > 0 && !may_block)) return Outcome{static_cast<int64_t>(done)};
    return Outcome::failed(EAGAIN);
  };
  Outcome outcome = of(u).call(may_block, attempt);
  if (outcome.would_block() && done > 0) outcome = {static_cast<int64_t>(done)};
  return as_call<ssize_t>(outcome);
}

std::vector<uint8_t> gathered(std::span<const iovec> pieces) {
  std::vector<uint8_t> bytes;
  for (const iovec& piece : pieces) {
    const auto* from = static_cast<const uint8_t*>(piece.iov_base);
    bytes.insert(bytes.end(), from, from + piece.iov_len);
  }
  return bytes;
}

std::span<const iovec> pieces_of(const iovec* pieces, int count) {
  return {pieces, static_cast<size_t>(std::max(count, 0))};
}

ssize_t do_readv(void* u, int fd, const iovec* pieces, int count) {
  return receive_into(u, fd, pieces_of(pieces, count), 0);
}

ssize_t do_recv(void* u, int fd, void* buffer, size_t length, int flags) {
  const iovec piece{buffer, length};
  return receive_into(u, fd, {&piece, 1}, flags);
}

ssize_t do_read(void* u, int fd, void* buffer, size_t count) {
  return do_recv(u, fd, buffer, count, 0);
}

ssize_t do_recvfrom(void* u, int fd, void* buffer, size_t length, int flags, sockaddr*, socklen_t*) {
  return do_recv(u, fd, buffer, length, flags);
}

ssize_t do_recvmsg(void* u, int fd, msghdr* message, int flags) {
  message->msg_controllen = 0;
  message->msg_flags = 0;
  return receive_into(u, fd, {message->msg_iov, message->msg_iovlen}, flags);
}

ssize_t do_send(void* u, int fd, const void* buffer, size_t length, int flags) {
  return send_all(u, fd, {static_cast<const uint8_t*>(buffer), length}, flags);
}

ssize_t do_write(void* u, int fd, const void* buffer, size_t count) {
  return do_send(u, fd, buffer, count, 0);
}

ssize_t do_writev(void* u, int fd, const iovec* pieces, int count) {
  return send_all(u, fd, gathered(pieces_of(pieces, count)), 0);
}

ssize_t do_sendto(void* u, int fd, const void* buffer, size_t length, int flags, const sockaddr*, socklen_t) {
  return do_send(u, fd, buffer, length, flags);
}

ssize_t do_sendmsg(void* u, int fd, const msghdr* message, int flags) {
  return send_all(u, fd, gathered({message->msg_iov, message->msg_iovlen}), flags);
}

int do_fcntl(void* u, int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  const long argument = va_arg(arguments, long);
  va_end(arguments);
  return as_call(of(u).locked([&] { return of(u).sockets().file_control(fd, command, argument); }));
}

int do_ioctl(void* u, int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  auto* value = va_arg(arguments, int*);
  va_end(arguments);
  return as_call(of(u).locked([&] { return of(u).sockets().io_control(fd, request, value); }));
}

int do_close(void* u, int fd) {
  return as_call(of(u).locked([&] { return of(u).sockets().close(fd); }));
}

int do_shutdown(void* u, int fd, int how) {
  return as_call(of(u).locked([&] { return of(u).sockets().shutdown(fd, how); }));
}

int do_getsockopt(void* u, int fd, int level, int name, void* value, socklen_t* length) {
  return as_call(of(u).locked([&] { return of(u).sockets().get_option(fd, level, name, value, length); }));
}

int do_setsockopt(void* u, int fd, int level, int name, const void* value, socklen_t length) {
  return as_call(of(u).locked([&] { return of(u).sockets().set_option(fd, level, name, value, length); }));
}

Instant deadline_after(Adapter& adapter, int milliseconds) {
  return milliseconds < 0 ? kNever : adapter.now() + std::chrono::milliseconds(milliseconds);
}

int do_poll(void* u, pollfd* fds, nfds_t count, int timeout) {
  Adapter& adapter = of(u);
  const auto attempt = [&] {
    int ready = 0;
    for (nfds_t i = 0; i < count; ++i) {
      const int always = POLLERR | POLLHUP | POLLNVAL;
      fds[i].revents = static_cast<short>(adapter.sockets().readiness(fds[i].fd) & (fds[i].events | always));
      ready += fds[i].revents != 0;
    }
    return ready > 0 ? Outcome{ready} : Outcome::failed(EAGAIN);
  };
  const Outcome outcome = adapter.call(timeout != 0, attempt, deadline_after(adapter, timeout));
  return outcome.would_block() ? 0 : as_call(outcome);
}

int do_epoll_create(void* u, int) {
  return as_call(of(u).locked([&] { return of(u).sockets().epoll_create(); }));
}

int do_epoll_ctl(void* u, int epoll, int operation, int fd, epoll_event* event) {
  return as_call(of(u).locked([&] { return of(u).sockets().epoll_control(epoll, operation, fd, event); }));
}

int do_epoll_wait(void* u, int epoll, epoll_event* events, int most, int timeout) {
  Adapter& adapter = of(u);
  const auto attempt = [&] {
    return adapter.sockets().epoll_collect(epoll, {events, static_cast<size_t>(std::max(most, 0))});
  };
  const Outcome outcome = adapter.call(timeout != 0, attempt, deadline_after(adapter, timeout));
  return outcome.would_block() ? 0 : as_call(outcome);
}

int do_pipe(void*, int*) {
  errno = ENOSYS;
  return -1;
}

int do_splice(void*, int, loff_t*, int, loff_t*, size_t, unsigned int) {
  errno = ENOSYS;
  return -1;
}

int do_netdev_send(void* u, const void* bytes, size_t count) {
  of(u).inject({static_cast<const uint8_t*>(bytes), count});
  return 0;
}

int do_netdev_receive(void* u, void* buffer, size_t* count, long long* time_usecs) {
  const auto packet = of(u).next_packet();
  if (!packet) {
    *count = 0;
    return 0;
  }
  *count = std::min(*count, packet->bytes.size());
  std::memcpy(buffer, packet->bytes.data(), *count);
  *time_usecs = to_us(packet->at.time_since_epoch());
  return 0;
}

int do_usleep(void* u, useconds_t usec) {
  of(u).sleep(std::chrono::microseconds(usec));
  return 0;
}

int do_gettimeofday(void* u, timeval* now, struct timezone*) {
  const int64_t us = to_us(of(u).tick().time_since_epoch());
  now->tv_sec = us / 1'000'000;
  now->tv_usec = us % 1'000'000;
  return 0;
}

// What the tool calls when a script ends without closing its sockets.
int close_of_program(int fd) {
  if (is_ours(fd)) return do_close(the_instance, fd);
  return ::close(fd);
}

// What the tool calls for its `%{ }%` sections.
int getsockopt_of_program(int fd, int level, int name, void* value, socklen_t* length) {
  if (is_ours(fd)) return do_getsockopt(the_instance, fd, level, name, value, length);
  return ::getsockopt(fd, level, name, value, length);
}

// Before a script the tool waits for ten ticks of the kernel's clock, 0.1 s, in order to run in step with the
// kernel's timers. The engine's run in virtual time, which has a tick whenever it is asked.
clock_t times_of_program(tms* used) {
  static clock_t ticks = 0;
  if (used != nullptr) *used = {};
  return ++ticks;
}

// Before most calls the tool gives one that blocks on its second thread a second to end, and waits for that
// with this. The second is one of virtual time; what comes back sooner needs `mutex` in order to say so.
int timed_wait_of_program(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* until) {
  Adapter* adapter = the_instance == nullptr ? nullptr : the_instance->adapter.get();
  if (adapter != nullptr && !adapter->await_answer(1s)) return ETIMEDOUT;
  return ::pthread_cond_timedwait(condition, mutex, until);
}

void fill(PacketdrillInterface& table) {
  table.free = do_free;
  table.socket = do_socket;
  table.bind = do_bind;
  table.listen = do_listen;
  table.accept = do_accept;
  table.connect = do_connect;
  table.read = do_read;
  table.readv = do_readv;
  table.recv = do_recv;
  table.recvfrom = do_recvfrom;
  table.recvmsg = do_recvmsg;
  table.write = do_write;
  table.writev = do_writev;
  table.send = do_send;
  table.sendto = do_sendto;
  table.sendmsg = do_sendmsg;
  table.fcntl = do_fcntl;
  table.ioctl = do_ioctl;
  table.close = do_close;
  table.shutdown = do_shutdown;
  table.getsockopt = do_getsockopt;
  table.setsockopt = do_setsockopt;
  table.poll = do_poll;
  table.netdev_send = do_netdev_send;
  table.netdev_receive = do_netdev_receive;
  table.usleep = do_usleep;
  table.gettimeofday = do_gettimeofday;
  table.epoll_create = do_epoll_create;
  table.epoll_ctl = do_epoll_ctl;
  table.epoll_wait = do_epoll_wait;
  table.pipe = do_pipe;
  table.splice = do_splice;
}

}  // namespace
}  // namespace understudy::conformance

extern "C" __attribute__((visibility("default"))) void fill_packetdrill_interface(
    const char* flags, PacketdrillInterface* table) {
  using namespace understudy;
  const auto parsed = conformance::parse_flags(flags == nullptr ? "" : flags);
  if (!parsed) {
    std::fprintf(stderr, "%s\n", parsed.message().c_str());
    std::exit(2);
  }
  auto instance = std::make_unique<conformance::Instance>();
  instance->flags = parsed.value();
  conformance::the_instance = instance.get();
  conformance::redirect_calls_of_program("getsockopt",
                                         reinterpret_cast<void*>(conformance::getsockopt_of_program));
  conformance::redirect_calls_of_program("close", reinterpret_cast<void*>(conformance::close_of_program));
  conformance::redirect_calls_of_program("times", reinterpret_cast<void*>(conformance::times_of_program));
  conformance::redirect_calls_of_program("pthread_cond_timedwait",
                                         reinterpret_cast<void*>(conformance::timed_wait_of_program));
  conformance::fill(*table);
  table->userdata = instance.release();
}
