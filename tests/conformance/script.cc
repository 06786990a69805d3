#include "tests/conformance/script.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "common/check.h"
#include "tests/support/icmp_message.h"
#include "tests/support/plain_pool.h"

namespace understudy::conformance {
namespace {

const IpAddress kEngine = *IpAddress::parse("192.168.0.1");
const IpAddress kPeer = *IpAddress::parse("192.0.2.1");
constexpr std::pair<char, uint8_t> kFlags[] = {{'S', wire::kSyn}, {'F', wire::kFin}, {'R', wire::kRst},
                                               {'P', wire::kPsh}, {'U', wire::kUrg}, {'E', wire::kEce},
                                               {'W', wire::kCwr}, {'.', wire::kAck}};

sockaddr_in socket_address(const IpAddress& address, uint16_t port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(address.v4_host_order());
  return to;
}

std::pair<int64_t, int64_t> range_of(const std::string& text) {
  const size_t colon = text.find(':');
  return {std::stoll(text.substr(0, colon)), std::stoll(text.substr(colon + 1))};
}

void read_option(const std::string& name, std::istringstream& in, wire::TcpOptions& options) {
  std::string range;
  uint32_t number = 0;
  if (name == "sackok") {
    options.sack_permitted = true;
  } else if (name == "mss") {
    in >> number;
    options.mss = static_cast<uint16_t>(number);
  } else if (name == "wscale") {
    in >> number;
    options.window_scale = static_cast<uint8_t>(number);
  } else if (name == "ts") {
    wire::TcpOptions::Timestamps timestamps{};
    in >> timestamps.value >> timestamps.echo_reply;
    options.timestamps = timestamps;
  } else {
    invariant(false, "script: an option that is not known");
  }
}

}  // namespace

ProfileSettings plain_settings() {
  const char* failover = std::getenv("UNDERSTUDY_FAILOVER");
  const auto flags = parse_flags(failover == nullptr ? "" : std::string("failover=") + failover);
  invariant(bool(flags), "UNDERSTUDY_FAILOVER is never, every_event or crash_at=K");
  AdapterFlags plain = flags.value();
  plain.follows_sysctls = false;
  return settings_of(plain);
}

Script::Script(const ProfileSettings& settings)
    : host_(settings, plain_mbuf_pool(), Instant(1000s)), sockets_(host_, settings) {}

Script::~Script() {
  const std::vector<std::string> faults = host_.faults();
  for (const std::string& fault : faults) std::fprintf(stderr, "successor: %s\n", fault.c_str());
  invariant(faults.empty(), "script: a successor breaks what was promised");
}

// As a worker does it, slots are looked at about once a second; in days of silence less often.
void Script::wait(Duration duration) {
  const Instant end = host_.now() + duration;
  const Duration step = duration > 24h ? Duration(1h) : Duration(100ms);
  while (host_.now() < end) {
    host_.advance_to(std::min(end, host_.now() + step));
    host_.engine().upkeep(host_.now(), host_.engine().legs().capacity());
    host_.settle();
  }
}

void Script::arrives(std::string_view text, char fill) {
  std::istringstream in{std::string(text)};
  std::string flags, range, word;
  in >> flags >> range;
  wire::TcpSegmentToSend segment;
  segment.key = {kPeer, kEngine, PortNumber(4000), PortNumber(80)};
  segment.window = 65535;
  for (const auto& [letter, bit] : kFlags)
    if (flags.find(letter) != std::string::npos) segment.flags |= bit;
  const auto [first, last] = range_of(range);
  segment.seq = our_start_ + first;
  while (in >> word) {
    int64_t number = 0;
    if (word == "ack") {
      in >> number;
      segment.ack = engine_start_ + number;
    } else if (word == "win") {
      in >> number;
      segment.window = static_cast<uint16_t>(number);
    } else if (word == "urg") {
      in >> number;
      segment.urgent_pointer = static_cast<uint16_t>(number);
    } else if (word == "ect0") {
      segment.type_of_service = 2;
    } else if (word == "ce") {
      segment.type_of_service = 3;
    } else if (word == "sack") {
      in >> word;
      const auto [left, right] = range_of(word);
      segment.options.sack[segment.options.sack_count++] = {engine_start_ + left, engine_start_ + right};
    } else {
      read_option(word, in, segment.options);
    }
  }
  rte_mbuf* frame = rte_pktmbuf_alloc(plain_mbuf_pool());
  const auto length = static_cast<uint16_t>(last - first);
  if (length > 0) {
    auto* data = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(frame, length));
    const int64_t number =
        (segment.flags & wire::kSyn) != 0 ? first + 1 : first;  // a SYN stands before its text
    for (uint16_t i = 0; i < length; ++i)
      data[i] = fill != 0 ? static_cast<uint8_t>(fill) : byte_at(number + i);
  }
  wire::build_tcp_frame(frame, segment);
  const auto* bytes = rte_pktmbuf_mtod(frame, const uint8_t*);
  host_.inject(
      {bytes + sizeof(wire::EthernetHeader), rte_pktmbuf_data_len(frame) - sizeof(wire::EthernetHeader)});
  rte_pktmbuf_free(frame);
}

void Script::error_arrives(uint8_t type, uint8_t code, std::string_view range, uint16_t mtu) {
  const auto [first, last] = range_of(std::string(range));
  wire::TcpSegmentToSend segment;
  segment.key = {kEngine, kPeer, PortNumber(80), PortNumber(4000)};
  segment.seq = engine_start_ + first;
  segment.flags = wire::kAck;
  rte_mbuf* frame = rte_pktmbuf_alloc(plain_mbuf_pool());
  if (last > first) std::memset(rte_pktmbuf_append(frame, static_cast<uint16_t>(last - first)), 'y', 1);
  wire::build_tcp_frame(frame, segment);
  const std::span<const uint8_t> packet(
      rte_pktmbuf_mtod_offset(frame, const uint8_t*, sizeof(wire::EthernetHeader)),
      rte_pktmbuf_data_len(frame) - sizeof(wire::EthernetHeader));
  host_.inject(icmp_error_about(packet, *IpAddress::parse("198.51.100.1"), type, code, mtu));
  rte_pktmbuf_free(frame);
}

std::string Script::text_of(const VirtualHost::Packet& packet) {
  rte_mbuf* frame = rte_pktmbuf_alloc(plain_mbuf_pool());
  auto* data =
      rte_pktmbuf_append(frame, static_cast<uint16_t>(packet.bytes.size() + sizeof(wire::EthernetHeader)));
  wire::EthernetHeader ethernet{};
  ethernet.type.set(wire::kEtherTypeIpv4);
  std::memcpy(data, &ethernet, sizeof ethernet);
  std::memcpy(data + sizeof ethernet, packet.bytes.data(), packet.bytes.size());
  const auto parsed = wire::parse_frame(frame);
  rte_pktmbuf_free(frame);
  const auto& s = std::get<wire::TcpSegment>(parsed);
  if (s.has(wire::kSyn)) engine_start_ = s.seq;
  std::ostringstream out;
  for (const auto& [letter, bit] : kFlags)
    if (s.has(bit)) out << letter;
  out << ' ' << s.seq - engine_start_ << ':' << s.seq - engine_start_ + s.payload_length;
  if (s.has(wire::kAck)) out << " ack " << s.ack - our_start_;
  if (s.has(wire::kUrg)) out << " urg " << s.urgent_pointer;
  if (s.options.mss) out << " mss " << *s.options.mss;
  if (s.options.sack_permitted) out << " sackok";
  if (s.options.window_scale) out << " wscale " << unsigned{*s.options.window_scale};
  if (s.options.timestamps) out << " ts " << s.options.timestamps->echo_reply;
  for (uint8_t i = 0; i < s.options.sack_count; ++i)
    out << " sack " << s.options.sack[i].left - our_start_ << ':' << s.options.sack[i].right - our_start_;
  if ((s.type_of_service & 3) == 2) out << " ect0";
  return out.str();
}

std::string Script::left() {
  std::string text;
  for (const auto& packet : host_.sent()) {
    if (!text.empty()) text += '\n';
    text += text_of(packet);
  }
  host_.sent().clear();
  return text;
}

void Script::connect() {
  const sockaddr_in here = socket_address(kEngine, 80);
  const sockaddr_in there = socket_address(kPeer, 4000);
  socket_ = static_cast<int>(sockets_.open(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0).value);
  sockets_.bind(socket_, reinterpret_cast<const sockaddr*>(&here), sizeof here);
  invariant(sockets_.connect(socket_, reinterpret_cast<const sockaddr*>(&there), sizeof there).would_block(),
            "script: no connection could be opened");
}

void Script::listen() {
  if (listener_ >= 0) return;
  const sockaddr_in address = socket_address(kEngine, 80);
  listener_ = static_cast<int>(sockets_.open(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0).value);
  sockets_.bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  sockets_.listen(listener_, 4);
}

void Script::close_listener() {
  sockets_.close(listener_);
  listener_ = -1;
}

void Script::establish(std::string_view options) {
  listen();
  read_ = 0;
  arrives("S 0:0 win 65535 " + std::string(options));
  invariant(left().starts_with("S. 0:0 ack 1"), "script: no SYN-ACK");
  wait(10ms);
  const bool timestamps = options.find("ts ") != std::string_view::npos;
  arrives(std::string(". 1:1 ack 1") + (timestamps ? " ts 100 0" : ""));
  accept();
}

void Script::accept() {
  socket_ = static_cast<int>(sockets_.accept(listener_, nullptr, nullptr).value);
  invariant(socket_ > 0, "script: the connection was not accepted");
}

void Script::write(uint32_t bytes) {
  const std::vector<uint8_t> data(bytes, 'y');
  invariant(sockets_.send(socket_, data, 0).value == bytes, "script: a write was not taken whole");
}

void Script::write_urgent(uint32_t bytes) {
  auto& legs = host_.engine().legs();
  const std::vector<uint8_t> data(bytes, 'y');
  for (uint32_t leg = 0; leg < legs.capacity(); ++leg) {
    if (!legs.is_live(leg)) continue;
    invariant(host_.write(leg, data), "script: a write was not taken whole");
    host_.engine().mark_urgent(leg);
  }
  host_.settle();
}

size_t Script::read_into(std::vector<uint8_t>& bytes) {
  const iovec into{bytes.data(), bytes.size()};
  const int64_t got = sockets_.receive(socket_, {&into, 1}, 0).value;
  read_ += std::max<int64_t>(got, 0);
  return static_cast<size_t>(std::max<int64_t>(got, 0));
}

size_t Script::read(size_t bytes) {
  std::vector<uint8_t> data(bytes);
  return read_into(data);
}

size_t Script::read_right(size_t bytes) {
  std::vector<uint8_t> data(bytes);
  const int64_t first = read_ + 1;
  const size_t got = read_into(data);
  for (size_t i = 0; i < got; ++i)
    if (data[i] != byte_at(first + static_cast<int64_t>(i))) return i;
  return got;
}

int Script::error() {
  int error = 0;
  socklen_t length = sizeof error;
  sockets_.get_option(socket_, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

bool Script::try_write(uint32_t bytes) {
  const std::vector<uint8_t> data(bytes, 'y');
  return socket_ >= 0 && sockets_.send(socket_, data, 0).value == bytes;
}

void Script::close() {
  sockets_.close(socket_);
}

void Script::shutdown() {
  sockets_.shutdown(socket_, SHUT_WR);
}

void Script::abort() {
  auto& legs = host_.engine().legs();
  for (uint32_t leg = 0; leg < legs.capacity(); ++leg)
    if (legs.is_live(leg)) host_.abort(leg);
  host_.settle();
}

std::string_view Script::where() {
  if (const tcp::Connection* c = connection()) return name_of(c->state);
  return listener_ >= 0 ? "LISTEN" : "CLOSED";
}

tcp::SendReport Script::report() {
  const tcp::Connection* c = connection();
  return c == nullptr ? tcp::SendReport{} : host_.engine().report(*c);
}

tcp::Connection* Script::connection() {
  auto& legs = host_.engine().legs();
  for (uint32_t leg = 0; leg < legs.capacity(); ++leg)
    if (legs.is_live(leg)) return &legs[leg];
  return nullptr;
}

}  // namespace understudy::conformance
