#include "dataplane/dpdk/network_interface.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace understudy {
namespace {

ifreq request_for(const std::string& name) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

bool is_port_socket(int descriptor, DeviceKind kind, int index) {
  int domain = 0;
  socklen_t length = sizeof domain;
  if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return false;
  if (kind == DeviceKind::af_xdp) return domain == AF_XDP;
  if (domain != AF_PACKET) return false;
  sockaddr_ll address{};
  length = sizeof address;
  return getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
         address.sll_ifindex == index && address.sll_protocol != 0;
}

bool is_bpf(int descriptor) {
  std::error_code error;
  const std::string target =
      std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", descriptor), error);
  return target.starts_with("anon_inode:bpf-map") || target.starts_with("anon_inode:bpf-prog");
}

}  // namespace

Result<NetworkInterface> NetworkInterface::open(const std::string& name) {
  if (name.size() >= IFNAMSIZ)
    return Error{fmt::format("'{}' is too long for the name of an interface", name)};
  const int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (descriptor < 0)
    return Error{fmt::format(
        "a packet socket cannot be opened: {}; run as root, or with CAP_NET_RAW and CAP_NET_ADMIN",
        std::strerror(errno))};
  ifreq request = request_for(name);
  if (ioctl(descriptor, SIOCGIFINDEX, &request) != 0) {
    const int error = errno;
    close(descriptor);
    return Error{fmt::format(
        "there is no interface '{}' in this network namespace ({}): correct 'iface=' or create it", name,
        std::strerror(error))};
  }
  return NetworkInterface(name, descriptor, request.ifr_ifindex);
}

NetworkInterface::NetworkInterface(std::string name, int descriptor, int index)
    : name_(std::move(name)), descriptor_(descriptor), index_(index) {}

NetworkInterface::NetworkInterface(NetworkInterface&& other) noexcept
    : name_(std::move(other.name_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      index_(other.index_) {}

NetworkInterface& NetworkInterface::operator=(NetworkInterface&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(index_, other.index_);
  return *this;
}

NetworkInterface::~NetworkInterface() {
  if (descriptor_ >= 0) close(descriptor_);
}

uint32_t NetworkInterface::mtu() const {
  ifreq request = request_for(name_);
  return ioctl(descriptor_, SIOCGIFMTU, &request) == 0 ? static_cast<uint32_t>(request.ifr_mtu) : 0;
}

bool NetworkInterface::carrier() const {
  ifreq request = request_for(name_);
  if (ioctl(descriptor_, SIOCGIFFLAGS, &request) != 0) return false;
  constexpr int kBoth = IFF_UP | IFF_RUNNING;
  return (request.ifr_flags & kBoth) == kBoth;
}

Status NetworkInterface::hold_promiscuous() {
  packet_mreq membership{};
  membership.mr_ifindex = index_;
  membership.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(descriptor_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) != 0)
    return Error{fmt::format("interface '{}' cannot be made promiscuous: {}", name_, std::strerror(errno))};
  return {};
}

std::set<int> open_descriptors() {
  std::set<int> descriptors;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string text = entry.path().filename();
    int descriptor = -1;
    std::from_chars(text.data(), text.data() + text.size(), descriptor);
    descriptors.insert(descriptor);
  }
  // The listing had a descriptor of its own, which is closed again.
  std::erase_if(descriptors, [](int descriptor) { return fcntl(descriptor, F_GETFD) < 0; });
  return descriptors;
}

std::set<int> new_bpf_descriptors(const std::set<int>& before) {
  std::set<int> found;
  for (int descriptor : open_descriptors())
    if (!before.contains(descriptor) && is_bpf(descriptor)) found.insert(descriptor);
  return found;
}

void close_bpf_descriptors(const std::set<int>& descriptors) {
  for (int descriptor : descriptors)
    if (is_bpf(descriptor)) close(descriptor);
}

int find_port_socket(DeviceKind kind, int index, const std::set<int>& before) {
  if (kind != DeviceKind::af_packet && kind != DeviceKind::af_xdp) return -1;
  for (int descriptor : open_descriptors())
    if (!before.contains(descriptor) && is_port_socket(descriptor, kind, index)) return descriptor;
  return -1;
}

void ignore_outgoing_frames(int packet_socket) {
  // Not PACKET_IGNORE_OUTGOING: the driver puts its socket into a fanout group, which has its own idea of
  // that.
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  // Where that is refused the port hears its host, and its frames are dropped as not for us.
  (void)setsockopt(packet_socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

void allow_frames_on_the_way(int xdp_socket) {
  constexpr int kCompletionRing = 2048;  // the driver's, whatever the length of its transmit ring
  constexpr int kChargePerFrame =
      8192;  // the largest frame of such a port is 3500 bytes, and what keeps account of it
  const int bytes = kCompletionRing * kChargePerFrame;
  if (setsockopt(xdp_socket, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) == 0) return;
  // Without CAP_NET_ADMIN as much as net.core.wmem_max allows.
  (void)setsockopt(xdp_socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

uint64_t take_dropped_frames(int packet_socket) {
  tpacket_stats statistics{};
  socklen_t length = sizeof statistics;
  if (getsockopt(packet_socket, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) != 0) return 0;
  return statistics.tp_drops;
}

}  // namespace understudy
