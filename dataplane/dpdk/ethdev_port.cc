#include "dataplane/dpdk/ethdev_port.h"

#include <algorithm>
#include <thread>

#include <fmt/format.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_pause.h>

#include "common/instant.h"
#include "dataplane/dpdk/xdp_rings.h"

namespace understudy {
namespace {

constexpr uint32_t kEthernetHeader = 14;
// A full ring is tried this often in a row before what is left is dropped: a few microseconds, enough for a
// device that is sending, and bounded for one that is not.
constexpr unsigned kTransmitAttempts = 16;
// After an XDP socket was taken out of the interface's program, a frame may be on its way into it for this
// long.
constexpr Duration kXdpQuiet = 10ms;

std::string reason(int error) {
  return rte_strerror(error < 0 ? -error : error);
}

uint16_t frame_room(const rte_mempool& pool) {
  return static_cast<uint16_t>(rte_pktmbuf_data_room_size(const_cast<rte_mempool*>(&pool)) -
                               RTE_PKTMBUF_HEADROOM);
}

}  // namespace

EthdevPort::EthdevPort(EthdevPortSettings settings, Device device)
    : settings_(std::move(settings)), device_(std::move(device)), port_id_(RTE_MAX_ETHPORTS) {}

Result<std::unique_ptr<EthdevPort>> EthdevPort::open(const EthdevPortSettings& settings) {
  Result<Device> device = parse_device(settings.device);
  if (!device) return device.error();
  std::unique_ptr<EthdevPort> port(new EthdevPort(settings, std::move(device).value()));
  uint32_t interface_mtu = RTE_ETHER_MTU;
  if (port->device_.is_socket()) {
    Result<NetworkInterface> interface =
        NetworkInterface::open(std::string(*port->device_.argument("iface")));
    if (!interface) return interface.error();
    port->interface_ = std::move(interface).value();
    interface_mtu = port->interface_->mtu();
    if (Status held = port->interface_->hold_promiscuous(); !held.ok()) return held.error();
  } else if (settings.mtu != 0) {
    interface_mtu = settings.mtu;
  }
  Result<uint16_t> mtu = complete_device(port->device_, interface_mtu, frame_room(*settings.pool));
  if (!mtu) return mtu.error();
  port->mtu_ = settings.mtu == 0 ? mtu.value() : std::min(mtu.value(), settings.mtu);
  port->frame_max_ = port->mtu_ + kEthernetHeader;
  if (Status started = port->start(); !started.ok()) return started.error();
  return port;
}

EthdevPort::~EthdevPort() {
  close();
  if (device_.kind == DeviceKind::pci && port_id_ != RTE_MAX_ETHPORTS) rte_eth_dev_close(port_id_);
}

Status EthdevPort::create_vdev() {
  const std::string& name = device_.name;
  uint16_t existing = 0;
  if (rte_eth_dev_get_port_by_name(name.c_str(), &existing) == 0)
    return Error{fmt::format(
        "{}: a device of this name exists already; give each port's device a name of its own", name)};
  if (int error = rte_eal_hotplug_add("vdev", name.c_str(), device_.argument_text().c_str()); error != 0)
    return Error{
        fmt::format("{} cannot be created with '{}': {}", name, device_.argument_text(), reason(error))};
  return {};
}

Status EthdevPort::start() {
  const std::set<int> descriptors_before = device_.is_socket() ? open_descriptors() : std::set<int>();
  if (device_.kind != DeviceKind::pci) {
    if (Status created = create_vdev(); !created.ok()) return created;
  }
  if (rte_eth_dev_get_port_by_name(device_.name.c_str(), &port_id_) != 0) {
    port_id_ = RTE_MAX_ETHPORTS;
    return Error{
        fmt::format("{} is not an Ethernet device that DPDK can use; a PCI device must be bound to vfio-pci "
                    "and have a driver here ('dpdk-devbind.py --status' shows it)",
                    device_.name)};
  }
  Status ready = set_up_queues();
  if (!ready.ok()) {
    close();
    return ready;
  }
  started_ = true;
  if (device_.is_socket()) {
    const int descriptor = find_port_socket(device_.kind, interface_->index(), descriptors_before);
    if (descriptor >= 0 && device_.kind == DeviceKind::af_packet) ignore_outgoing_frames(descriptor);
    if (device_.kind == DeviceKind::af_xdp) {
      bpf_descriptors_ = new_bpf_descriptors(descriptors_before);
      if (descriptor >= 0) allow_frames_on_the_way(descriptor);
    }
    descriptor_.store(descriptor, std::memory_order_relaxed);
  } else if (int error = rte_eth_promiscuous_enable(port_id_); error != 0 && error != -ENOTSUP) {
    close();
    return Error{fmt::format("{} cannot be made promiscuous: {}", device_.name, reason(error))};
  }
  return {};
}

Status EthdevPort::set_up_queues() {
  auto failed = [&](const char* what, int error) {
    return Error{fmt::format("{}: {}: {}", device_.name, what, reason(error))};
  };
  rte_eth_conf conf{};
  if (device_.kind == DeviceKind::pci) conf.rxmode.mtu = mtu_;
  if (int error = rte_eth_dev_configure(port_id_, 1, 1, &conf); error != 0)
    return failed("it refuses its configuration", error);
  uint16_t receive_ring = settings_.receive_descriptors, transmit_ring = settings_.transmit_descriptors;
  if (int error = rte_eth_dev_adjust_nb_rx_tx_desc(port_id_, &receive_ring, &transmit_ring); error != 0)
    return failed("it refuses the ring sizes", error);
  const auto socket = static_cast<unsigned>(rte_eth_dev_socket_id(port_id_));
  if (int error = rte_eth_rx_queue_setup(port_id_, 0, receive_ring, socket, nullptr, settings_.pool);
      error != 0)
    return failed("its receive queue cannot be set up", error);
  if (int error = rte_eth_tx_queue_setup(port_id_, 0, transmit_ring, socket, nullptr); error != 0)
    return failed("its transmit queue cannot be set up", error);
  if (int error = rte_eth_dev_start(port_id_); error != 0) return failed("it does not start", error);
  rte_ether_addr address{};
  if (int error = rte_eth_macaddr_get(port_id_, &address); error != 0)
    return failed("it has no address", error);
  const MacAddress current(std::to_array(address.addr_bytes));
  if (current != mac_) mac_ = current;  // reopening writes nothing that others read
  return {};
}

void EthdevPort::close() {
  if (port_id_ == RTE_MAX_ETHPORTS) return;
  if (started_) collect_missed();
  const int descriptor = descriptor_.exchange(-1, std::memory_order_relaxed);
  std::optional<XdpRings> rings = XdpRings::of(descriptor);
  if (started_) rte_eth_dev_stop(port_id_);
  started_ = false;
  if (device_.kind == DeviceKind::pci) return;
  rte_eal_hotplug_remove("vdev", device_.name.c_str());
  if (rings) {
    std::this_thread::sleep_for(kXdpQuiet);
    rings->give_back(*settings_.pool);
    close_bpf_descriptors(bpf_descriptors_);
  }
  port_id_ = RTE_MAX_ETHPORTS;
}

Status EthdevPort::reopen() {
  const std::lock_guard lock(device_mutex_);
  close();
  if (device_.kind == DeviceKind::pci) {
    const int error = rte_eth_dev_reset(port_id_);
    if (error != 0 && error != -ENOTSUP)  // a driver without it has emptied its rings when it stopped
      return Error{fmt::format("{} cannot be reset: {}", device_.name, reason(error))};
  }
  return device_.kind == DeviceKind::af_xdp ? start_when_free() : start();
}

Status EthdevPort::start_when_free() {
  constexpr int kAttempts = 100;
  constexpr uint32_t kFirstQueue = 0;
  for (int attempt = 0; attempt < kAttempts && !xdp_queue_free(interface_->index(), kFirstQueue); ++attempt)
    std::this_thread::sleep_for(kXdpQuiet);
  return start();
}

bool EthdevPort::carrier() const {
  const std::lock_guard lock(device_mutex_);
  if (!started_) return false;
  if (interface_) return interface_->carrier();
  rte_eth_link link{};
  return rte_eth_link_get_nowait(port_id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

rte_mbuf* EthdevPort::admit_received(rte_mbuf* frame) {
  // A frame longer than the MTU is one that the kernel has merged or cut to its ring's slots; neither is a
  // frame of the wire.
  const bool good = frame->pkt_len >= kEthernetHeader && frame->pkt_len <= frame_max_ &&
                    (frame->nb_segs == 1 || rte_pktmbuf_linearize(frame) == 0);
  if (good) [[likely]]
    return frame;
  rte_pktmbuf_free(frame);
  receive_dropped_.add(1);
  return nullptr;
}

uint16_t EthdevPort::receive(std::span<rte_mbuf*> frames) {
  if (!started_) [[unlikely]]
    return 0;
  const uint16_t count = rte_eth_rx_burst(port_id_, 0, frames.data(), static_cast<uint16_t>(frames.size()));
  uint16_t kept = 0;
  uint64_t bytes = 0;
  for (uint16_t i = 0; i < count; ++i) {
    rte_mbuf* frame = admit_received(frames[i]);
    if (frame == nullptr) continue;
    bytes += frame->pkt_len;
    frames[kept++] = frame;
  }
  if (kept != 0) {
    received_frames_.add(kept);
    received_bytes_.add(bytes);
  }
  return kept;
}

rte_mbuf* EthdevPort::admit_transmitted(rte_mbuf* frame) {
  if (frame->pkt_len < kEthernetHeader || frame->pkt_len > frame_max_) [[unlikely]] {
    rte_pktmbuf_free(frame);
    return nullptr;
  }
  if (frame->nb_segs == 1 && RTE_MBUF_DIRECT(frame)) [[likely]]
    return frame;
  // af_xdp sends garbage after the first segment, and computes a wrong address for a buffer that borrows its
  // bytes.
  rte_mbuf* copy = rte_pktmbuf_copy(frame, settings_.pool, 0, UINT32_MAX);
  rte_pktmbuf_free(frame);
  if (copy != nullptr && copy->nb_segs != 1) {
    rte_pktmbuf_free(copy);
    return nullptr;
  }
  return copy;
}

void EthdevPort::transmit(std::span<rte_mbuf*> frames) {
  uint16_t count = 0;
  uint64_t bytes = 0;
  for (rte_mbuf* candidate : frames) {
    rte_mbuf* frame = admit_transmitted(candidate);
    if (frame == nullptr) continue;
    bytes += frame->pkt_len;
    frames[count++] = frame;
  }
  uint16_t sent = 0;
  for (unsigned attempt = 0; sent < count && started_ && attempt < kTransmitAttempts; ++attempt) {
    const uint16_t taken = rte_eth_tx_burst(port_id_, 0, &frames[sent], static_cast<uint16_t>(count - sent));
    sent = static_cast<uint16_t>(sent + taken);
    if (taken != 0) attempt = 0;
    if (sent < count) rte_pause();
  }
  for (uint16_t i = sent; i < count; ++i) {
    bytes -= frames[i]->pkt_len;
    rte_pktmbuf_free(frames[i]);
  }
  transmitted_frames_.add(sent);
  transmitted_bytes_.add(bytes);
  if (sent < frames.size()) transmit_dropped_.add(frames.size() - sent);
}

// Adds what the device counted before it is stopped and its counters vanish. Under device_mutex_, or alone.
void EthdevPort::collect_missed() const {
  rte_eth_stats statistics{};
  if (rte_eth_stats_get(port_id_, &statistics) == 0)
    missed_before_ += statistics.imissed + statistics.rx_nombuf;
  if (device_.kind == DeviceKind::af_packet && poll_descriptor() >= 0)
    missed_before_ += take_dropped_frames(poll_descriptor());
}

PortStatistics EthdevPort::statistics() const {
  PortStatistics result;
  result.received_frames = received_frames_.get();
  result.received_bytes = received_bytes_.get();
  result.transmitted_frames = transmitted_frames_.get();
  result.transmitted_bytes = transmitted_bytes_.get();
  result.receive_dropped = receive_dropped_.get();
  result.transmit_dropped = transmit_dropped_.get();
  const std::lock_guard lock(device_mutex_);
  if (started_) {
    if (device_.kind == DeviceKind::af_packet && poll_descriptor() >= 0)
      missed_before_ += take_dropped_frames(poll_descriptor());
    rte_eth_stats statistics{};
    if (rte_eth_stats_get(port_id_, &statistics) == 0)
      result.receive_missed = statistics.imissed + statistics.rx_nombuf;
  }
  result.receive_missed += missed_before_;
  return result;
}

}  // namespace understudy
