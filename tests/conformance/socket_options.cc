// getsockopt and setsockopt, and the Linux form of TCP_INFO.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include "tests/conformance/sockets.h"

namespace understudy::conformance {
namespace {

std::vector<uint8_t> bytes_of_int(int value) {
  std::vector<uint8_t> bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// Linux's numbers for the states (include/net/tcp_states.h).
uint8_t linux_state(tcp::State state) {
  switch (state) {
    case tcp::State::established:
      return 1;
    case tcp::State::syn_sent:
      return 2;
    case tcp::State::syn_received:
      return 3;
    case tcp::State::fin_wait_1:
      return 4;
    case tcp::State::fin_wait_2:
      return 5;
    case tcp::State::time_wait:
      return 6;
    case tcp::State::close_wait:
      return 8;
    case tcp::State::last_ack:
      return 9;
    case tcp::State::closing:
      return 11;
  }
  return 7;
}

uint32_t in_segments(uint32_t bytes, uint32_t segment) {
  return segment == 0 ? 0 : bytes / segment;
}

uint32_t micros(Duration d) {
  return static_cast<uint32_t>(to_us(d));
}

constexpr uint32_t kLinuxInfiniteThreshold = 0x7fffffff;

}  // namespace

void Sockets::apply_options(Socket& s) {
  if (!is_live(s)) return;
  tcp::Connection& c = connection(s);
  c.nagle = !s.nodelay;
  // What is doubled for bookkeeping is not offered to the peer.
  if (s.receive_buffer != 0) c.receive_buffer = s.receive_buffer / (profile_.doubles_buffers ? 2 : 1);
}

std::vector<uint8_t> Sockets::tcp_information(Socket& s) {
  tcp_info info{};
  info.tcpi_state = s.kind == Socket::Kind::listening ? 10 : 7;
  if (is_live(s)) {
    const tcp::Connection& c = connection(s);
    const tcp::SendReport r = host_.engine().report(c);
    const tcp::Pipe& tx = host_.engine().pipes()[c.tx];
    info.tcpi_state = linux_state(c.state);
    info.tcpi_ca_state = r.after_timeout && r.in_recovery ? TCP_CA_Loss
                         : r.in_recovery                  ? TCP_CA_Recovery
                         : r.segments_sacked > 0          ? TCP_CA_Disorder
                                                          : TCP_CA_Open;
    info.tcpi_retransmits = r.retransmissions;
    info.tcpi_probes = r.window_probes;
    info.tcpi_backoff = r.backoff;
    info.tcpi_options =
        static_cast<uint8_t>((c.timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (c.sack ? TCPI_OPT_SACK : 0) |
                             (c.window_scaling ? TCPI_OPT_WSCALE : 0) | (c.ecn ? TCPI_OPT_ECN : 0));
    info.tcpi_snd_wscale = c.snd_scale & 0xf;
    info.tcpi_rcv_wscale = c.rcv_scale & 0xf;
    info.tcpi_rto = micros(r.rto);
    info.tcpi_snd_mss = r.payload_max;
    info.tcpi_rcv_mss = c.mss;
    info.tcpi_unacked = r.segments_out;
    info.tcpi_sacked = r.segments_sacked;
    info.tcpi_lost = r.segments_lost;
    info.tcpi_retrans = r.segments_retransmitted;
    info.tcpi_pmtu = r.payload_max + (c.timestamps ? 12 : 0) + 40;
    info.tcpi_rtt = micros(r.srtt);
    info.tcpi_rttvar = micros(r.rttvar);
    info.tcpi_snd_ssthresh = r.slow_start_threshold == UINT32_MAX
                                 ? kLinuxInfiniteThreshold
                                 : in_segments(r.slow_start_threshold, r.payload_max);
    info.tcpi_snd_cwnd = in_segments(r.congestion_window, r.payload_max);
    info.tcpi_advmss = host_.engine().mss_to_offer(c);
    info.tcpi_min_rtt = micros(r.rtt_min);
    info.tcpi_reordering = std::max(3U, in_segments(r.reordering_bytes, r.payload_max));
    info.tcpi_bytes_acked = tx.head;
    info.tcpi_bytes_received = host_.engine().pipes()[c.rx].tail;
    info.tcpi_notsent_bytes =
        static_cast<uint32_t>(tx.tail - std::min(tx.tail, tcp::send_offset_of(c, c.snd.nxt, tx.tail)));
  }
  std::vector<uint8_t> bytes(sizeof info);
  std::memcpy(bytes.data(), &info, sizeof info);
  return bytes;
}

std::vector<uint8_t> Sockets::memory_information(const Socket& s) {
  std::array<uint32_t, SK_MEMINFO_VARS> info{};
  info[SK_MEMINFO_RCVBUF] = s.receive_buffer != 0 ? s.receive_buffer : profile_.engine.receive_buffer;
  info[SK_MEMINFO_SNDBUF] = s.send_buffer != 0 ? s.send_buffer : profile_.send_buffer;
  info[SK_MEMINFO_RMEM_ALLOC] = static_cast<uint32_t>(readable(s));
  std::vector<uint8_t> bytes(sizeof info);
  std::memcpy(bytes.data(), info.data(), sizeof info);
  return bytes;
}

bool Sockets::get_tcp_option(Socket& s, int name, std::vector<uint8_t>& value, int& error) {
  switch (name) {
    case TCP_INFO:
      value = tcp_information(s);
      return true;
    case TCP_NODELAY:
      value = bytes_of_int(s.nodelay);
      return true;
    case TCP_CORK:
      value = bytes_of_int(s.cork);
      return true;
    case TCP_MAXSEG:
      value = bytes_of_int(static_cast<int>(is_live(s) ? host_.engine().segment_payload_max(connection(s))
                                            : s.max_segment != 0 ? s.max_segment
                                                                 : 536));
      return true;
    case TCP_CONGESTION: {
      constexpr std::string_view kName = "cubic";
      value.assign(kName.begin(), kName.end());
      value.push_back(0);
      return true;
    }
    case TCP_NOTSENT_LOWAT:
      value = bytes_of_int(static_cast<int>(s.not_sent_low));
      return true;
    case TCP_KEEPIDLE:
      value = bytes_of_int(static_cast<int>(profile_.keepalive_named.idle / 1s));
      return true;
    case TCP_KEEPINTVL:
      value = bytes_of_int(static_cast<int>(profile_.keepalive_named.interval / 1s));
      return true;
    case TCP_KEEPCNT:
      value = bytes_of_int(profile_.keepalive_named.probes);
      return true;
    case kTcpKeepInit:
      value = bytes_of_int(static_cast<int>(connect_timeout_of(s) / 1s));
      return true;
    case TCP_CC_INFO:  // CUBIC has none: no bytes
      value.clear();
      return true;
    default:
      error = ENOPROTOOPT;
      return false;
  }
}

bool Sockets::get_socket_option(Socket& s, int name, std::vector<uint8_t>& value) {
  switch (name) {
    case SO_ERROR:
      value = bytes_of_int(take_error(s));
      return true;
    case SO_TYPE:
      value = bytes_of_int(SOCK_STREAM);
      return true;
    case SO_ACCEPTCONN:
      value = bytes_of_int(s.kind == Socket::Kind::listening);
      return true;
    case SO_RCVBUF:
      value = bytes_of_int(
          static_cast<int>(s.receive_buffer != 0 ? s.receive_buffer : profile_.engine.receive_buffer));
      return true;
    case SO_SNDBUF:
      value = bytes_of_int(static_cast<int>(s.send_buffer != 0 ? s.send_buffer : profile_.send_buffer));
      return true;
    case SO_KEEPALIVE:
      value = bytes_of_int(s.keepalive);
      return true;
    case SO_REUSEADDR:
      value = bytes_of_int(s.reuse);
      return true;
    case SO_MEMINFO:
      value = memory_information(s);
      return true;
    default:
      return false;
  }
}

Outcome Sockets::get_option(int fd, int level, int name, void* value, socklen_t* length) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  if (value == nullptr || length == nullptr) return Outcome::failed(EFAULT);
  std::vector<uint8_t> answer;
  int error = ENOPROTOOPT;
  const auto kept = s->remembered.find({level, name});
  bool known = false;
  if (kept != s->remembered.end()) {
    answer = bytes_of_int(kept->second);
    known = true;
  } else if (level == IPPROTO_TCP) {
    known = get_tcp_option(*s, name, answer, error);
  } else if (level == SOL_SOCKET) {
    known = get_socket_option(*s, name, answer);
  }
  if (!known) return Outcome::failed(error);
  // Fields that newer systems have and this one does not know read as zero.
  const size_t room = *length;
  std::memset(value, 0, room);
  std::memcpy(value, answer.data(), std::min(room, answer.size()));
  if (name != TCP_INFO || level != IPPROTO_TCP)
    *length = static_cast<socklen_t>(std::min(room, answer.size()));
  return {};
}

int Sockets::set_tcp_option(Socket& s, int name, int value) {
  switch (name) {
    case TCP_NODELAY:
      s.nodelay = value != 0;
      if (s.nodelay) push(s, true);  // corked or not
      break;
    case TCP_CORK:
      s.cork = value != 0;
      if (!s.cork) push(s, true);
      break;
    case TCP_MAXSEG:
      if (value != 0 && (value < 88 || value > 32767)) return EINVAL;
      s.max_segment = static_cast<uint16_t>(value);
      if (s.kind == Socket::Kind::listening) host_.limit_segments(s.service, s.max_segment);
      break;
    case TCP_NOTSENT_LOWAT:
      s.not_sent_low = static_cast<uint32_t>(value);
      break;
    case TCP_CONGESTION:
    case TCP_QUICKACK:
      break;
    case TCP_KEEPIDLE:
    case TCP_KEEPINTVL:
    case TCP_KEEPCNT:
    case TCP_USER_TIMEOUT:
    case TCP_SYNCNT:
    case TCP_LINGER2:
    case TCP_DEFER_ACCEPT:
    case TCP_WINDOW_CLAMP:
    case kTcpKeepInit:
      s.remembered[{IPPROTO_TCP, name}] = value;
      break;
    default:
      return ENOPROTOOPT;
  }
  apply_options(s);
  return 0;
}

int Sockets::set_socket_option(Socket& s, int name, int value, const void* raw, socklen_t length) {
  switch (name) {
    case SO_REUSEADDR:
      s.reuse = value != 0;
      return 0;
    case SO_KEEPALIVE:
      s.keepalive = value != 0;
      return 0;
    case SO_RCVBUF:
      s.receive_buffer = static_cast<uint32_t>(value) * (profile_.doubles_buffers ? 2 : 1);
      apply_options(s);
      return 0;
    case SO_SNDBUF:
      s.send_buffer = static_cast<uint32_t>(value) * (profile_.doubles_buffers ? 2 : 1);
      return 0;
    case SO_LINGER: {
      struct linger wanted {};
      if (length < sizeof wanted) return EINVAL;
      std::memcpy(&wanted, raw, sizeof wanted);
      s.linger = wanted.l_onoff != 0;
      s.linger_seconds = wanted.l_linger;
      return 0;
    }
    default:
      return ENOPROTOOPT;
  }
}

Outcome Sockets::set_option(int fd, int level, int name, const void* value, socklen_t length) {
  Socket* s = find(fd);
  if (s == nullptr) return Outcome::failed(EBADF);
  if (value == nullptr) return Outcome::failed(EFAULT);
  int number = 0;
  std::memcpy(&number, value, std::min<size_t>(length, sizeof number));
  int error = 0;
  if (level == IPPROTO_TCP) {
    error = set_tcp_option(*s, name, number);
  } else if (level == SOL_SOCKET) {
    error = set_socket_option(*s, name, number, value, length);
  } else if (level == IPPROTO_IP || level == IPPROTO_IPV6) {
    s->remembered[{level, name}] = number;
  } else {
    error = ENOPROTOOPT;
  }
  host_.settle();
  return error == 0 ? Outcome{} : Outcome::failed(error);
}

}  // namespace understudy::conformance
