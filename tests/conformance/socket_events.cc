// What the engine tells the sockets, and what the sockets tell those who poll.
#include <algorithm>
#include <cerrno>

#include <poll.h>

#include "common/check.h"
#include "tests/conformance/sockets.h"

namespace understudy::conformance {
namespace {

int error_of(tcp::CloseReason reason) {
  switch (reason) {
    case tcp::CloseReason::finished:
      return 0;
    case tcp::CloseReason::reset_by_peer:
      return ECONNRESET;
    case tcp::CloseReason::refused:
      return ECONNREFUSED;
    case tcp::CloseReason::timed_out:
    case tcp::CloseReason::idle:
      return ETIMEDOUT;
    case tcp::CloseReason::unreachable:
      return EHOSTUNREACH;
    case tcp::CloseReason::aborted:
      return ECONNABORTED;
  }
  return 0;
}

}  // namespace

Socket* Sockets::of_leg(uint32_t leg) {
  const auto at = by_flow_.find(host_.engine().legs()[leg].key);
  return at == by_flow_.end() ? nullptr : sockets_[at->second].get();
}

bool Sockets::give_pipes(Socket& s, uint32_t leg) {
  tcp::Engine& engine = host_.engine();
  s.rx = engine.create_pipe();
  s.tx = engine.create_pipe();
  if (s.rx == tcp::kNone || s.tx == tcp::kNone) return false;
  engine.pipes().add_reference(s.rx);
  engine.pipes().add_reference(s.tx);
  engine.set_receive_pipe(leg, s.rx);
  engine.set_send_pipe(leg, s.tx);
  s.kind = Socket::Kind::connection;
  s.leg = engine.legs().id_of(leg);
  return true;
}

// The connection is about to move to this engine, or a successor's.
bool Sockets::attach_copy(tcp::Engine& engine, uint32_t leg) {
  tcp::Connection& c = engine.legs()[leg];
  const auto at = by_flow_.find(c.key);
  const uint32_t rx = engine.create_pipe();
  const uint32_t tx = engine.create_pipe();
  if (at == by_flow_.end() || rx == tcp::kNone || tx == tcp::kNone) return false;
  engine.set_receive_pipe(leg, rx);
  engine.set_send_pipe(leg, tx);
  const tcp::Connection& original = connection(*sockets_[at->second]);
  c.nagle = original.nagle;
  c.more_follows = original.more_follows;
  c.receive_buffer = original.receive_buffer;
  return true;
}

// Everything has moved on from there.
void Sockets::move_from(tcp::Engine& from) {
  tcp::Engine& to = host_.engine();
  for (auto& [fd, socket] : sockets_) {
    Socket& s = *socket;
    if (s.kind != Socket::Kind::connection || s.rx == tcp::kNone) continue;
    const uint32_t old_rx = s.rx;
    const uint32_t old_tx = s.tx;
    if (from.legs().is_live(s.leg)) {
      const uint32_t leg = to.legs().find(s.key);
      invariant(leg != tcp::kNone, "sockets: a connection was lost on the way");
      s.leg = to.legs().id_of(leg);
      s.rx = to.legs()[leg].rx;
      s.tx = to.legs()[leg].tx;
      to.pipes().add_reference(s.rx);
      to.pipes().add_reference(s.tx);
    } else {  // ended; what came can still be read
      s.leg = {};
      s.rx = to.create_pipe();
      s.tx = to.create_pipe();
      const tcp::Pipe& was = from.pipes()[old_rx];
      to.pipes()[s.rx].head = to.pipes()[s.rx].tail = std::min(was.head, was.tail);
      std::vector<uint8_t> bytes(was.held());
      tcp::ReadCursor cursor;
      if (!bytes.empty()) {
        from.pipes().copy_out(was, was.head, static_cast<uint32_t>(bytes.size()), bytes.data(), cursor);
        invariant(to.pipes().append_bytes(to.pipes()[s.rx], bytes), "sockets: no buffers are left");
      }
      to.pipes()[s.rx].fin = was.fin;
    }
    from.pipes().release(old_rx);
    from.pipes().release(old_tx);
  }
}

bool Sockets::attach(tcp::Engine& engine, uint32_t leg) {
  if (&engine != &host_.engine()) return attach_copy(engine, leg);
  const tcp::Connection& c = engine.legs()[leg];
  const auto listener = listener_of_service_.find(c.service.value());
  if (listener == listener_of_service_.end()) return false;
  const Socket& parent = *sockets_[listener->second];
  auto socket = std::make_unique<Socket>();
  socket->family = parent.family;
  socket->key = c.key;
  socket->parent = listener->second;
  socket->nodelay = parent.nodelay;
  socket->cork = parent.cork;
  socket->linger = parent.linger;
  socket->linger_seconds = parent.linger_seconds;
  socket->receive_buffer = parent.receive_buffer;
  socket->send_buffer = parent.send_buffer;
  socket->max_segment = parent.max_segment;
  socket->keepalive = parent.keepalive;
  socket->remembered = parent.remembered;
  if (!give_pipes(*socket, leg)) return false;
  by_flow_[socket->key] = next_fd_;
  apply_options(*socket);
  add(std::move(socket));
  return true;
}

void Sockets::on_open(tcp::Engine& engine, uint32_t leg, Instant) {
  if (&engine != &host_.engine()) return;
  const int fd = by_flow_[host_.engine().legs()[leg].key];
  Socket& s = *sockets_[fd];
  s.established = s.was_established = true;
  round_buffer(s);
  ++s.out_edges;
  if (s.parent < 0) return;
  Socket& parent = *sockets_[s.parent];
  parent.accept_queue.push_back(fd);
  ++parent.in_edges;
}

// Once the segment size is settled.
void Sockets::round_buffer(Socket& s) {
  if (!profile_.rounds_buffers || s.buffer_rounded || !is_live(s)) return;
  tcp::Connection& c = connection(s);
  if (c.state == tcp::State::syn_sent || (c.state == tcp::State::syn_received && s.parent >= 0)) return;
  s.buffer_rounded = true;
  c.receive_buffer = (c.receive_buffer + c.mss - 1) / c.mss * c.mss;
  s.receive_buffer = c.receive_buffer;
}

// A line for each socket that has been opened to or by somebody, as sockstat(1) of FreeBSD names states.
std::string Sockets::states() {
  constexpr std::string_view kNames[] = {"SYN_SENT",   "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2",
                                         "CLOSE_WAIT", "CLOSING",  "LAST_ACK",    "TIME_WAIT"};
  std::string lines;
  for (const auto& [fd, socket] : sockets_) {
    Socket& s = *socket;
    if (s.kind != Socket::Kind::connection) continue;
    const bool live = is_live(s);
    if (!live && s.orphaned) continue;
    lines += "packetdril tcp" + std::string(s.key.local.is_v4() ? "4" : "6") + " :" +
             std::to_string(s.key.local_port.value()) + " " +
             std::string(live ? kNames[static_cast<size_t>(connection(s).state)] : "CLOSED") + "\n";
  }
  return lines;
}

void Sockets::on_data(tcp::Engine& engine, uint32_t leg, Instant) {
  if (&engine != &host_.engine()) return;
  Socket* s = of_leg(leg);
  if (s == nullptr) return;
  ++s->in_edges;
  // RFC 9293 section 3.6.1: nobody will read this any more.
  if (s->orphaned && readable(*s) > 0) host_.abort(leg);
}

void Sockets::on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant) {
  if (&engine != &host_.engine()) return;
  Socket* s = of_leg(leg);
  if (s == nullptr) return;
  const int fd = by_flow_[s->key];
  s->error = error_of(reason);
  // After the peer's FIN a reset only means that what we send goes nowhere.
  const bool is_linux = !profile_.reads_while_opening;
  if (reason == tcp::CloseReason::reset_by_peer && is_linux && host_.engine().pipes()[s->rx].fin)
    s->error = EPIPE;
  s->established = false;
  ++s->in_edges;
  ++s->out_edges;
  if (s->orphaned || (s->parent >= 0 && !s->was_established)) forget(fd);
}

void Sockets::forget(int fd) {
  const auto at = sockets_.find(fd);
  if (at == sockets_.end()) return;
  const Socket& s = *at->second;
  if (const auto flow = by_flow_.find(s.key); flow != by_flow_.end() && flow->second == fd)
    by_flow_.erase(flow);
  if (s.rx != tcp::kNone) host_.engine().pipes().release(s.rx);
  if (s.tx != tcp::kNone) host_.engine().pipes().release(s.tx);
  for (auto& [number, epoll] : epolls_) epoll.erase(fd);
  sockets_.erase(at);
}

int Sockets::readiness(int fd) {
  Socket* s = find(fd);
  if (s == nullptr) return POLLNVAL;
  if (s->kind == Socket::Kind::listening) return s->accept_queue.empty() ? 0 : POLLIN | POLLRDNORM;
  if (s->kind == Socket::Kind::fresh) return POLLOUT | POLLWRNORM | POLLHUP;
  if (!s->was_established && s->error == 0) return 0;
  int ready = 0;
  const bool ended = at_end(*s);
  if (s->error != 0) ready |= POLLERR;
  if (readable(*s) > 0 || ended) ready |= POLLIN | POLLRDNORM;
  if (ended) ready |= POLLRDHUP;
  if (!is_live(*s) || (ended && s->write_shut)) ready |= POLLHUP;
  const uint64_t most = s->send_buffer != 0 ? s->send_buffer : profile_.send_buffer;
  // Linux says writable while a third of the buffer is free.
  if (s->write_shut || !is_live(*s) || writable(*s) * 3 >= most) ready |= POLLOUT | POLLWRNORM;
  return ready;
}

Outcome Sockets::epoll_create() {
  epolls_[next_fd_];
  return {next_fd_++};
}

Outcome Sockets::epoll_control(int epoll, int operation, int fd, const epoll_event* event) {
  const auto at = epolls_.find(epoll);
  if (at == epolls_.end() || find(fd) == nullptr) return Outcome::failed(EBADF);
  Epoll& watches = at->second;
  if (operation == EPOLL_CTL_DEL) return watches.erase(fd) > 0 ? Outcome{} : Outcome::failed(ENOENT);
  const bool there = watches.contains(fd);
  if (operation == EPOLL_CTL_ADD && there) return Outcome::failed(EEXIST);
  if (operation == EPOLL_CTL_MOD && !there) return Outcome::failed(ENOENT);
  // A watch that begins sees what holds already as an edge.
  const Socket& s = *find(fd);
  watches[fd] = {.wanted = *event, .in_seen = s.in_edges - 1, .out_seen = s.out_edges - 1, .spent = false};
  return {};
}

Outcome Sockets::epoll_collect(int epoll, std::span<epoll_event> out) {
  const auto at = epolls_.find(epoll);
  if (at == epolls_.end()) return Outcome::failed(EBADF);
  size_t count = 0;
  for (auto& [fd, watch] : at->second) {
    if (count == out.size()) break;
    const Socket* s = find(fd);
    if (s == nullptr || watch.spent) continue;
    const uint32_t always = EPOLLERR | EPOLLHUP;
    uint32_t ready = static_cast<uint32_t>(readiness(fd)) & (watch.wanted.events | always);
    if (watch.wanted.events & EPOLLET) {
      const bool in_edge = s->in_edges != watch.in_seen;
      const bool out_edge = s->out_edges != watch.out_seen;
      if (!in_edge && !out_edge) ready = 0;
    }
    if (ready == 0) continue;
    watch.in_seen = s->in_edges;
    watch.out_seen = s->out_edges;
    watch.spent = (watch.wanted.events & EPOLLONESHOT) != 0;
    out[count].events = ready;
    out[count++].data = watch.wanted.data;
  }
  return count == 0 ? Outcome::failed(EAGAIN) : Outcome{static_cast<int64_t>(count)};
}

}  // namespace understudy::conformance
