// Socket calls: opening, connecting, sending, receiving, closing.
#include "tests/conformance/sockets.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "common/check.h"

namespace understudy::conformance {

std::optional<sockaddr_in6> to_socket_address(const sockaddr* address, socklen_t length) {
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    std::memcpy(&out, address, sizeof out);
    return out;
  }
  if (address->sa_family != AF_INET || length < sizeof(sockaddr_in)) return std::nullopt;
  sockaddr_in in{};
  std::memcpy(&in, address, sizeof in);
  const auto mapped = IpAddress::v4(ntohl(in.sin_addr.s_addr)).bytes();
  std::memcpy(&out.sin6_addr, mapped.data(), mapped.size());
  out.sin6_port = in.sin_port;
  return out;
}

IpAddress address_of(const sockaddr_in6& address) {
  std::array<uint8_t, 16> bytes;
  std::memcpy(bytes.data(), &address.sin6_addr, bytes.size());
  return IpAddress(bytes);
}

void from_flow(const IpAddress& address, PortNumber port, int family, sockaddr* out, socklen_t* length) {
  if (out == nullptr || length == nullptr) return;
  sockaddr_in6 six{};
  sockaddr_in four{};
  const void* from = &six;
  socklen_t size = sizeof six;
  if (family == AF_INET) {
    four.sin_family = AF_INET;
    four.sin_port = htons(port.value());
    four.sin_addr.s_addr = htonl(address.v4_host_order());
    from = &four;
    size = sizeof four;
  } else {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port.value());
    std::memcpy(&six.sin6_addr, address.bytes().data(), 16);
  }
  std::memcpy(out, from, std::min(size, *length));
  *length = size;
}

namespace {

PortNumber port_of(const sockaddr_in6& address) {
  return PortNumber(ntohs(address.sin6_port));
}

// Where a connection comes from when its socket is not bound.
IpAddress default_local(const IpAddress& remote) {
  return remote.is_v4() ? *IpAddress::parse("192.168.0.1") : *IpAddress::parse("fd3d:fa7b:d17d::1");
}

constexpr ServiceId kActiveSockets(1);

}  // namespace

Sockets::Sockets(VirtualHost& host, const ProfileSettings& profile) : host_(host), profile_(profile) {
  host_.on_move([this](tcp::Engine& from) { move_from(from); });
  add_service({}, PortNumber(0), 0, profile_.connect_timeout);
}

// Each listener has a service, and so has an active socket with a segment size or a timeout of its own; the
// other active ones share the first.
ServiceId Sockets::add_service(std::vector<IpAddress> addresses, PortNumber port, uint16_t segment_max,
                               Duration connect_timeout) {
  tcp::Service service;
  service.id = ServiceId(next_service_++);
  service.addresses = std::move(addresses);
  service.first_port = service.last_port = port;
  service.application = this;
  service.nagle = profile_.nagle;
  service.segment_max = segment_max;
  service.idle_timeout = profile_.idle_timeout;
  service.keepalive = profile_.keepalive;
  service.user_timeout = profile_.user_timeout;
  service.connect_timeout = connect_timeout;
  service.dscp = profile_.dscp;
  host_.add_service(service);
  return service.id;
}

Duration Sockets::connect_timeout_of(const Socket& s) const {
  const auto set = s.remembered.find({IPPROTO_TCP, kTcpKeepInit});
  return set == s.remembered.end() ? profile_.connect_timeout : Duration(1s) * set->second;
}

Sockets::~Sockets() {
  while (!sockets_.empty()) forget(sockets_.begin()->first);
}

Socket* Sockets::find(int fd) {
  const auto at = sockets_.find(fd);
  return at == sockets_.end() || at->second->orphaned ? nullptr : at->second.get();
}

int Sockets::add(std::unique_ptr<Socket> socket) {
  sockets_[next_fd_] = std::move(socket);
  return next_fd_++;
}

bool Sockets::is_live(const Socket& s) {
  return s.kind == Socket::Kind::connection && host_.engine().legs().is_live(s.leg);
}

tcp::Connection& Sockets::connection(Socket& s) {
  return host_.engine().legs()[s.leg.index];
}

bool Sockets::is_blocking(int fd) const {
  const auto at = sockets_.find(fd);
  return at != sockets_.end() && (at->second->flags & O_NONBLOCK) == 0;
}

Outcome Sockets::open(int family, int type, int protocol) {
  if (family != AF_INET && family != AF_INET6) return Outcome::failed(EAFNOSUPPORT);
  if ((type & 0xf) != SOCK_STREAM || (protocol != 0 && protocol != IPPROTO_TCP))
    return Outcome::failed(EPROTONOSUPPORT);
  auto socket = std::make_unique<Socket>();
  socket->family = family;
  socket->nodelay = !profile_.nagle;
  if (type & SOCK_NONBLOCK) socket->flags |= O_NONBLOCK;
  return {add(std::move(socket))};
}

Outcome Sockets::bind(int fd, const sockaddr* address, socklen_t length) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  const auto to = to_socket_address(address, length);
  if (!to) return Outcome::failed(EAFNOSUPPORT);
  if (s->bound) return Outcome::failed(EINVAL);
  s->bound = to;
  if (!address_of(*to).is_unspecified()) host_.add_address(address_of(*to));
  return {};
}

Outcome Sockets::listen(int fd, int backlog) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  if (s->kind == Socket::Kind::connection) return Outcome::failed(EINVAL);
  if (!s->bound) return Outcome::failed(EDESTADDRREQ);
  s->backlog = backlog;
  if (s->kind == Socket::Kind::listening) return {};
  s->kind = Socket::Kind::listening;
  s->service =
      add_service({address_of(*s->bound)}, port_of(*s->bound), s->max_segment, profile_.connect_timeout);
  listener_of_service_[s->service.value()] = fd;
  return {};
}

Outcome Sockets::accept(int fd, sockaddr* address, socklen_t* length) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  if (s->kind != Socket::Kind::listening) return Outcome::failed(EINVAL);
  if (s->accept_queue.empty()) return Outcome::failed(EAGAIN);
  const int accepted = s->accept_queue.front();
  s->accept_queue.pop_front();
  Socket& connection = *sockets_[accepted];
  connection.parent = -1;
  from_flow(connection.key.remote, connection.key.remote_port, s->family, address, length);
  return {accepted};
}

Outcome Sockets::connect(int fd, const sockaddr* address, socklen_t length) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  if (s->kind == Socket::Kind::listening) return Outcome::failed(EISCONN);
  if (s->kind == Socket::Kind::connection) {
    if (const int error = take_error(*s)) return Outcome::failed(error);
    if (s->was_established) return Outcome::failed(EISCONN);
    return Outcome::failed(is_live(*s) ? EALREADY : ECONNABORTED);
  }
  const auto to = to_socket_address(address, length);
  if (!to) return Outcome::failed(EAFNOSUPPORT);
  s->key.remote = address_of(*to);
  s->key.remote_port = port_of(*to);
  const bool has_address = s->bound && !address_of(*s->bound).is_unspecified();
  s->key.local = has_address ? address_of(*s->bound) : default_local(s->key.remote);
  s->key.local_port = s->bound && s->bound->sin6_port != 0 ? port_of(*s->bound) : PortNumber(next_port_++);
  host_.add_address(s->key.local);
  tcp::Engine& engine = host_.engine();
  const Duration timeout = connect_timeout_of(*s);
  const bool shares = s->max_segment == 0 && timeout == profile_.connect_timeout;
  const ServiceId service = shares ? kActiveSockets : add_service({}, PortNumber(0), s->max_segment, timeout);
  const uint32_t leg = engine.connect(0, s->key, engine.find_service(service), host_.now());
  if (leg == tcp::kNone || !give_pipes(*s, leg)) return Outcome::failed(ENOBUFS);
  by_flow_[s->key] = fd;
  apply_options(*s);
  host_.settle();
  return Outcome::failed(EINPROGRESS);
}

uint64_t Sockets::readable(const Socket& s) {
  if (s.rx == tcp::kNone) return 0;
  const tcp::Pipe& rx = host_.engine().pipes()[s.rx];
  return rx.tail > s.read_at ? rx.tail - s.read_at : 0;
}

// Nothing more will come.
bool Sockets::at_end(const Socket& s) {
  return s.read_shut || !is_live(s) || (s.rx != tcp::kNone && host_.engine().pipes()[s.rx].fin);
}

uint64_t Sockets::unsent(Socket& s) {
  return is_live(s) ? host_.engine().pipes()[s.tx].held() : 0;
}

uint64_t Sockets::writable(const Socket& s) {
  if (!is_live(s)) return 0;
  const uint64_t most = s.send_buffer != 0 ? s.send_buffer : profile_.send_buffer;
  const uint64_t held = host_.engine().pipes()[s.tx].held() + s.held_back.size();
  return most > held ? most - held : 0;
}

int Sockets::take_error(Socket& s) {
  return std::exchange(s.error, 0);
}

Outcome Sockets::receive(int fd, std::span<const iovec> into, int flags) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  const bool opening = s->kind == Socket::Kind::connection && is_live(*s) && !s->was_established;
  if (opening && profile_.reads_while_opening) return Outcome::failed(EAGAIN);
  if (s->kind != Socket::Kind::connection || (!s->was_established && s->error == 0))
    return Outcome::failed(ENOTCONN);
  const uint64_t there = readable(*s);
  if (there == 0) {
    if (const int error = take_error(*s)) return Outcome::failed(error);
    return at_end(*s) ? Outcome{0} : Outcome::failed(EAGAIN);
  }
  tcp::Engine& engine = host_.engine();
  uint64_t offset = s->read_at;
  uint64_t left = there;
  tcp::ReadCursor cursor;
  for (const iovec& piece : into) {
    const auto take = static_cast<uint32_t>(std::min<uint64_t>(left, piece.iov_len));
    if (take == 0) continue;
    if ((flags & MSG_TRUNC) == 0)
      engine.pipes().copy_out(engine.pipes()[s->rx], offset, take, static_cast<uint8_t*>(piece.iov_base),
                              cursor);
    offset += take;
    left -= take;
  }
  const auto got = static_cast<int64_t>(offset - s->read_at);
  if (flags & MSG_PEEK) return {got};
  s->read_at = offset;
  if (is_live(*s))
    host_.consume(s->leg.index, offset);
  else
    engine.pipes().acknowledge(engine.pipes()[s->rx], offset);
  host_.settle();
  return {got};
}

Outcome Sockets::send(int fd, std::span<const uint8_t> bytes, int flags) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  if (s->kind != Socket::Kind::connection) return Outcome::failed(EPIPE);
  if (const int error = take_error(*s)) return Outcome::failed(error);
  if (s->write_shut || !is_live(*s)) return Outcome::failed(EPIPE);
  if (!s->was_established) return Outcome::failed(EAGAIN);
  const uint64_t room = writable(*s);
  const size_t take = std::min<uint64_t>(room, bytes.size());
  s->wants_space = take < bytes.size();
  if (take == 0 && !bytes.empty()) return Outcome::failed(EAGAIN);
  s->held_back.insert(s->held_back.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(take));
  s->more = (flags & MSG_MORE) != 0;
  connection(*s).more_follows = s->more;
  push(*s, !s->cork && !s->more);
  host_.settle();
  return {static_cast<int64_t>(take)};
}

// Hands held-back bytes to the engine: all, or as many as fill whole segments.
void Sockets::push(Socket& s, bool all) {
  if (!is_live(s)) return s.held_back.clear();
  tcp::Engine& engine = host_.engine();
  const tcp::Connection& c = connection(s);
  size_t take = s.held_back.size();
  if (!all) {
    const tcp::Pipe& tx = engine.pipes()[s.tx];
    const uint32_t whole = engine.segment_payload_max(c);
    const uint64_t queued = tx.tail - tcp::send_offset_of(c, c.snd.nxt, tx.tail);
    take = (queued + take) / whole * whole - std::min<uint64_t>(queued, (queued + take) / whole * whole);
  }
  constexpr size_t kPiece = 65536;  // what the engine copies at a time
  for (size_t done = 0; done < take; done += kPiece) {
    const size_t length = std::min(kPiece, take - done);
    invariant(host_.write(s.leg.index, {s.held_back.data() + done, length}), "sockets: no buffers are left");
  }
  s.held_back.erase(s.held_back.begin(), s.held_back.begin() + static_cast<ptrdiff_t>(take));
  const bool idle = c.snd.una == c.snd.nxt && engine.pipes()[s.tx].held() == 0;
  s.held_until = !s.held_back.empty() && idle ? host_.now() + engine.report(c).rto : kNever;
}

// What was held back leaves, though less than a segment.
void Sockets::release(Socket& s) {
  push(s, true);
  host_.settle();
}

void Sockets::notice_progress() {
  for (auto& [fd, socket] : sockets_) {
    Socket& s = *socket;
    if (!is_live(s) || s.tx == tcp::kNone) continue;
    round_buffer(s);
    const uint64_t acked = host_.engine().pipes()[s.tx].head;
    if (std::exchange(s.acked, acked) == acked) continue;
    if (!s.held_back.empty() && !s.cork && s.nodelay) release(s);
    const uint64_t most = s.send_buffer != 0 ? s.send_buffer : profile_.send_buffer;
    if (!s.wants_space || writable(s) * 3 < most) continue;
    s.wants_space = false;
    ++s.out_edges;
  }
}

Instant Sockets::next_deadline() const {
  Instant next = kNever;
  for (const auto& [fd, socket] : sockets_) next = std::min(next, socket->held_until);
  return next;
}

void Sockets::run_timers() {
  for (auto& [fd, socket] : sockets_) {
    Socket& s = *socket;
    if (s.held_until > host_.now()) continue;
    s.held_until = kNever;
    if (!is_live(s)) continue;
    connection(s).more_follows = false;
    release(s);
  }
}

Outcome Sockets::shutdown(int fd, int how) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  if (s->kind != Socket::Kind::connection || !is_live(*s)) return Outcome::failed(ENOTCONN);
  if (how == SHUT_RD || how == SHUT_RDWR) {
    s->read_shut = true;
    ++s->in_edges;
  }
  if ((how == SHUT_WR || how == SHUT_RDWR) && !s->write_shut) {
    push(*s, true);
    s->write_shut = true;
    ++s->out_edges;
    host_.finish_writing(s->leg.index);
  }
  host_.settle();
  return {};
}

// Those that are not open yet go with it.
void Sockets::close_listener(Socket& s) {
  std::vector<int> opening;
  for (const auto& [fd, socket] : sockets_) {
    const auto parent = sockets_.find(socket->parent);
    if (parent != sockets_.end() && parent->second.get() == &s && !socket->was_established)
      opening.push_back(fd);
  }
  for (const int fd : opening) {
    if (is_live(*sockets_[fd])) host_.abort(sockets_[fd]->leg.index);
    forget(fd);
  }
  host_.stop_listening(s.service);
  listener_of_service_.erase(s.service.value());
  for (const int fd : s.accept_queue) {
    Socket& waiting = *sockets_[fd];
    if (is_live(waiting)) host_.abort(waiting.leg.index);
    forget(fd);
  }
}

// RFC 9293 section 3.6.1: what has come and was not read is lost, and the peer is told so by a reset.
void Sockets::hold(int fd, bool waits) {
  Socket* s = find(fd);
  if (s == nullptr) return;
  s->held = waits;
  if (!waits && std::exchange(s->closes_later, false)) close(fd);
}

Outcome Sockets::close(int fd) {
  if (epolls_.erase(fd) > 0) return {};
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  if (s->held) {
    s->closes_later = true;
    return {};
  }
  for (auto& [number, epoll] : epolls_) epoll.erase(fd);
  if (s->kind == Socket::Kind::listening) close_listener(*s);
  if (!is_live(*s)) {
    forget(fd);
    host_.settle();
    return {};
  }
  const bool abandons = readable(*s) > 0 || (s->linger && s->linger_seconds == 0);
  if (abandons || connection(*s).state == tcp::State::syn_sent) {
    host_.abort(s->leg.index);
    forget(fd);
  } else {
    push(*s, true);
    s->orphaned = true;
    if (!s->write_shut) host_.finish_writing(s->leg.index);
  }
  host_.settle();
  return {};
}

Outcome Sockets::file_control(int fd, int command, long argument) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  switch (command) {
    case F_GETFL:
      return {O_RDWR | s->flags};
    case F_SETFL:
      s->flags = static_cast<int>(argument) & O_NONBLOCK;
      return {};
    case F_GETFD:
    case F_SETFD:
      return {};
    default:
      return Outcome::failed(EINVAL);
  }
}

Outcome Sockets::io_control(int fd, unsigned long request, int* value) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  switch (request) {
    case FIONBIO:
      s->flags = *value != 0 ? O_NONBLOCK : 0;
      return {};
    case SIOCINQ:
      *value = static_cast<int>(readable(*s));
      // As Linux does, a FIN that stands behind unread bytes is not counted among them.
      return {};
    case SIOCOUTQ:
      *value = static_cast<int>(unsent(*s) + s->held_back.size());
      return {};
    case SIOCOUTQNSD: {
      const tcp::Pipe& tx = host_.engine().pipes()[s->tx];
      *value = is_live(*s) ? static_cast<int>(tx.tail - tcp::send_offset_of(connection(*s),
                                                                            connection(*s).snd.nxt, tx.tail))
                           : 0;
      return {};
    }
    default:
      return Outcome::failed(EINVAL);
  }
}

}  // namespace understudy::conformance
