// Sends forged TCP segments out of an interface as fast as it takes them, for tools/soak flood:
//
//   understudy-flood-generator INTERFACE DESTINATION_MAC DESTINATION_IPV4 PORT KIND
//
// KIND: `syn`, `syn_twice` (each SYN again after a second, as somebody says it who has had no answer), `ack`,
// `fin`. Each has a source address and port of its own in 11.0.0.0/8, so that there is no connection that it
// could belong to, and every answer to a SYN has to be a cookie. Until SIGTERM; prints then how many the
// interface took, and in how many seconds. Needs root.
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>
#include <string_view>

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr size_t kBatch = 64;
constexpr uint32_t kSources = 0x0b000000;  // 11.0.0.0/8

enum class Kind : uint8_t { syn, syn_twice, ack, fin };

std::optional<Kind> kind_of(std::string_view word) {
  if (word == "syn") return Kind::syn;
  if (word == "syn_twice") return Kind::syn_twice;
  if (word == "ack") return Kind::ack;
  if (word == "fin") return Kind::fin;
  return std::nullopt;
}

bool opens(Kind kind) {
  return kind == Kind::syn || kind == Kind::syn_twice;
}

struct [[gnu::packed]] Frame {
  ether_header ethernet;
  iphdr ip;
  tcphdr tcp;
  uint8_t mss[4];  // of those that open
};

uint16_t tcp_length_of(Kind kind) {
  return sizeof(tcphdr) + (opens(kind) ? sizeof(Frame::mss) : 0);
}

uint32_t sum_of(const void* bytes, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i < length; i += 2) {
    uint16_t word;
    std::memcpy(&word, static_cast<const uint8_t*>(bytes) + i, sizeof word);
    sum += word;
  }
  return sum;
}

uint16_t folded(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

void forge(Frame& frame, Kind kind, uint32_t number) {
  frame.ip.saddr = htonl(kSources + (number & 0xffffff));
  frame.ip.check = 0;
  frame.ip.check = folded(sum_of(&frame.ip, sizeof frame.ip));
  frame.tcp.source = htons(static_cast<uint16_t>(1024 + number % 60000));
  frame.tcp.seq = htonl(number * 2654435761U);
  if (!opens(kind)) frame.tcp.ack_seq = htonl(number * 40503U);
  frame.tcp.check = 0;
  const uint16_t length = tcp_length_of(kind);
  const uint32_t pseudo = sum_of(&frame.ip.saddr, 8) + htons(IPPROTO_TCP) + htons(length);
  frame.tcp.check = folded(pseudo + sum_of(&frame.tcp, length));
}

// What is the same in all frames.
void prepare(Frame& frame, Kind kind, const ether_addr& destination, in_addr address, uint16_t port) {
  std::memcpy(frame.ethernet.ether_dhost, &destination, ETH_ALEN);
  const uint8_t source[ETH_ALEN] = {0x02, 0xf1, 0x00, 0xd0, 0, 1};
  std::memcpy(frame.ethernet.ether_shost, source, ETH_ALEN);
  frame.ethernet.ether_type = htons(ETHERTYPE_IP);
  frame.ip.version = 4;
  frame.ip.ihl = sizeof frame.ip / 4;
  frame.ip.tot_len = htons(static_cast<uint16_t>(sizeof frame.ip + tcp_length_of(kind)));
  frame.ip.ttl = 64;
  frame.ip.protocol = IPPROTO_TCP;
  frame.ip.daddr = address.s_addr;
  frame.tcp.dest = htons(port);
  frame.tcp.doff = static_cast<uint8_t>(tcp_length_of(kind) / 4) & 0xf;
  frame.tcp.syn = opens(kind);
  frame.tcp.ack = !opens(kind);
  frame.tcp.fin = kind == Kind::fin;
  frame.tcp.window = htons(64240);
  const uint8_t mss[4] = {2, 4, 1460 >> 8, 1460 & 0xff};
  std::memcpy(frame.mss, mss, sizeof mss);
}

volatile std::sig_atomic_t stopped = 0;

int failed(const char* what) {
  std::perror(what);
  return EXIT_FAILURE;
}

}  // namespace

int main(int count, char** words) {
  ether_addr destination{};
  in_addr address{};
  const unsigned interface = count == 6 ? if_nametoindex(words[1]) : 0;
  const auto kind = count == 6 ? kind_of(words[5]) : std::nullopt;
  if (interface == 0 || !kind || ether_aton_r(words[2], &destination) == nullptr ||
      inet_pton(AF_INET, words[3], &address) != 1) {
    std::fprintf(stderr,
                 "usage: understudy-flood-generator INTERFACE DESTINATION_MAC DESTINATION_IPV4 PORT "
                 "syn|syn_twice|ack|fin\n");
    return 2;
  }
  const int socket = ::socket(AF_PACKET, SOCK_RAW, 0);
  if (socket < 0) return failed("socket");
  const int on = 1;
  setsockopt(socket, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(interface);
  if (bind(socket, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return failed("bind");

  std::array<Frame, kBatch> frames{};
  std::array<iovec, kBatch> vectors{};
  std::array<mmsghdr, kBatch> messages{};
  for (size_t i = 0; i < kBatch; ++i) {
    prepare(frames[i], *kind, destination, address, static_cast<uint16_t>(std::atoi(words[4])));
    vectors[i] = {&frames[i], sizeof(ether_header) + sizeof(iphdr) + tcp_length_of(*kind)};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  using Clock = std::chrono::steady_clock;
  std::signal(SIGTERM, [](int) { stopped = 1; });
  const auto began = Clock::now();
  uint64_t sent = 0;
  const auto send = [&](uint32_t first) {
    for (size_t i = 0; i < kBatch; ++i) forge(frames[i], *kind, first + static_cast<uint32_t>(i));
    const int taken = sendmmsg(socket, messages.data(), kBatch, 0);
    if (taken > 0) sent += static_cast<uint64_t>(taken);
  };
  struct Said {
    Clock::time_point at;
    uint32_t first;
  };
  std::deque<Said> to_repeat;
  for (uint32_t number = 0; stopped == 0; number += kBatch) {
    send(number);
    if (*kind != Kind::syn_twice) continue;
    to_repeat.push_back({Clock::now(), number});
    if (to_repeat.front().at + std::chrono::seconds(1) > Clock::now()) continue;
    send(to_repeat.front().first);
    to_repeat.pop_front();
  }
  close(socket);
  std::printf("%lu %.3f\n", sent, std::chrono::duration<double>(Clock::now() - began).count());
  return EXIT_SUCCESS;
}
