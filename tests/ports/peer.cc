#include "tests/ports/peer.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace understudy::ports {
namespace {

constexpr size_t kHeader = 14;
constexpr size_t kNumbered = kHeader + 4;
using Clock = std::chrono::steady_clock;

class KernelPeer final : public Peer {
 public:
  explicit KernelPeer(const std::string& name) : socket_(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(name.c_str()));
    const int room = 64 << 20, on = 1;
    if (socket_ < 0 || bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        setsockopt(socket_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0 ||
        setsockopt(socket_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0)
      throw std::runtime_error("a packet socket on " + name + ": " + std::strerror(errno));
  }
  ~KernelPeer() override { close(socket_); }

  bool send(const Frame& frame) override {
    return ::send(socket_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size());
  }

  std::optional<Frame> receive(std::chrono::milliseconds patience) override {
    const auto end = Clock::now() + patience;
    Frame frame(70'000);
    do {
      const ssize_t length = recv(socket_, frame.data(), frame.size(), MSG_DONTWAIT);
      if (length >= 0 && is_test_frame(frame.data(), static_cast<size_t>(length))) {
        frame.resize(static_cast<size_t>(length));
        return frame;
      }
      if (length < 0) {
        pollfd entry{socket_, POLLIN, 0};
        poll(&entry, 1, 1);
      }
    } while (Clock::now() < end);
    return std::nullopt;
  }

 private:
  int socket_;
};

class PortPeer final : public Peer {
 public:
  PortPeer(Port& port, rte_mempool& pool) : port_(port), pool_(pool) {}
  bool send(const Frame& frame) override {
    const uint64_t dropped = port_.statistics().transmit_dropped;
    rte_mbuf* mbuf = mbuf_of(pool_, frame);
    port_.transmit({&mbuf, 1});
    return port_.statistics().transmit_dropped == dropped;
  }
  std::optional<Frame> receive(std::chrono::milliseconds patience) override {
    return receive_frame(port_, patience);
  }

 private:
  Port& port_;
  rte_mempool& pool_;
};

}  // namespace

Frame make_frame(uint32_t number, size_t length) {
  // To and from addresses that belong to nobody here: a port that filtered would not see it.
  static constexpr uint8_t kStart[kHeader] = {0x02, 0x99, 0, 0, 0, 1, 0x02, 0x99, 0, 0, 0, 2, 0x88, 0xb5};
  Frame frame(length);
  for (size_t i = 0; i < length; ++i) frame[i] = static_cast<uint8_t>(number * 31 + i * 7);
  std::memcpy(frame.data(), kStart, std::min(length, kHeader));
  const uint32_t big = htonl(number);
  if (length >= kNumbered) std::memcpy(&frame[kHeader], &big, sizeof big);
  return frame;
}

bool is_test_frame(const uint8_t* bytes, size_t length) {
  return length >= kHeader && bytes[12] == 0x88 && bytes[13] == 0xb5;
}

uint32_t frame_number(const Frame& frame) {
  uint32_t big = 0;
  std::memcpy(&big, &frame[kHeader], sizeof big);
  return ntohl(big);
}

rte_mbuf* mbuf_of(rte_mempool& pool, const Frame& frame) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(&pool);
  if (mbuf == nullptr) throw std::runtime_error("the pool is empty");
  char* room = rte_pktmbuf_append(mbuf, static_cast<uint16_t>(frame.size()));
  if (room == nullptr) throw std::runtime_error("the frame is longer than a buffer");
  std::memcpy(room, frame.data(), frame.size());
  return mbuf;
}

Frame bytes_of(const rte_mbuf& frame) {
  const auto* bytes = rte_pktmbuf_mtod(&frame, const uint8_t*);
  return Frame(bytes, bytes + frame.data_len);
}

std::optional<Frame> receive_frame(Port& port, std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  do {
    rte_mbuf* mbuf = nullptr;
    if (port.receive({&mbuf, 1}) == 0) {
      usleep(20);
      continue;
    }
    Frame frame = bytes_of(*mbuf);
    rte_pktmbuf_free(mbuf);
    if (is_test_frame(frame.data(), frame.size())) return frame;
  } while (Clock::now() < end);
  return std::nullopt;
}

void set_interface_up(const std::string& name, bool up) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  bool done = ioctl(descriptor, SIOCGIFFLAGS, &request) == 0;
  request.ifr_flags = static_cast<short>(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  done = done && ioctl(descriptor, SIOCSIFFLAGS, &request) == 0;
  close(descriptor);
  if (!done) throw std::runtime_error(name + " cannot be set up or down");
}

std::unique_ptr<Peer> kernel_peer(const std::string& name) {
  return std::make_unique<KernelPeer>(name);
}

std::unique_ptr<Peer> port_peer(Port& port, rte_mempool& pool) {
  return std::make_unique<PortPeer>(port, pool);
}

}  // namespace understudy::ports
