#include "dataplane/dpdk/device.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <regex>

#include <fmt/format.h>

namespace understudy {
namespace {

constexpr uint32_t kEthernetHeader = 14;
// A ring slot of af_packet begins with the kernel's header (TPACKET_V2), padded so that the network header is
// aligned: linux/net/packet/af_packet.c, tpacket_rcv().
constexpr uint32_t kSlotOverhead = 80 - kEthernetHeader;
// The kernel cuts what does not fit a slot, silently. This much is kept free, so that a frame that was cut is
// longer than any frame that is allowed, and can be told.
constexpr uint32_t kTruncationMargin = 4;
// What the driver demands of a buffer: the slot without its header (TPACKET2_HDRLEN - sizeof(sockaddr_ll)).
constexpr uint32_t kDriverOverhead = 32;
// The kernel's XDP drivers for virtual links take no more than one page per frame.
constexpr uint32_t kXdpMtuMax = 3500;
constexpr uint32_t kRingBytes = 16u << 20;  // per direction
constexpr uint32_t kRingFrames = 4096;
constexpr uint32_t kPageSize = 4096;

std::optional<uint32_t> number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

DeviceKind kind_of(std::string_view name) {
  if (name.starts_with("net_af_packet") || name.starts_with("eth_af_packet")) return DeviceKind::af_packet;
  if (name.starts_with("net_af_xdp")) return DeviceKind::af_xdp;
  return DeviceKind::other_vdev;
}

Result<uint16_t> complete_af_packet(Device& device, uint32_t interface_mtu, uint16_t frame_room) {
  uint32_t slot = std::bit_ceil(interface_mtu + kEthernetHeader + kSlotOverhead + kTruncationMargin);
  slot = std::clamp(slot, 2048u, std::bit_floor(std::max(2048u, frame_room + kDriverOverhead)));
  device.set_default("framesz", std::to_string(slot));
  const std::optional<uint32_t> frame = number(*device.argument("framesz"));
  if (!frame || *frame < 256 || *frame % 16 != 0)
    return Error{fmt::format("{}: framesz={} is not a multiple of 16 from 256 up", device.name,
                             *device.argument("framesz"))};
  if (*frame - kDriverOverhead > frame_room)
    return Error{fmt::format("{}: framesz={} needs buffers of {} bytes and the port's pool has {}",
                             device.name, *frame, *frame - kDriverOverhead, frame_room)};
  device.set_default("blocksz", std::to_string(std::max(65536u, *frame)));
  const std::optional<uint32_t> block = number(*device.argument("blocksz"));
  if (!block || *block % kPageSize != 0 || *block < *frame || *block % *frame != 0)
    return Error{fmt::format("{}: blocksz={} must be a multiple of {} and of framesz={}", device.name,
                             *device.argument("blocksz"), kPageSize, *frame)};
  const uint32_t per_block = *block / *frame;
  const uint32_t frames = std::min(kRingFrames, kRingBytes / *frame) / per_block * per_block;
  device.set_default("framecnt", std::to_string(std::max(frames, per_block)));
  // Past the queueing discipline a frame that meets a lost carrier stays in the ring, and leaves when the
  // carrier is back (measured: the whole ring). Through it the frame is dropped, and on an interface without
  // queue costs the same.
  device.set_default("qdisc_bypass", "0");
  const uint32_t carried = *frame - kSlotOverhead - kEthernetHeader - kTruncationMargin;
  return static_cast<uint16_t>(std::min({interface_mtu, carried, 65535u}));
}

Result<uint16_t> complete_af_xdp(Device& device, uint32_t interface_mtu, uint16_t frame_room) {
  // Preferring busy polling makes every empty receive a system call; the worker's own wait is cheaper.
  device.set_default("busy_budget", "0");
  const uint32_t carried = std::min<uint32_t>(kXdpMtuMax, frame_room - kEthernetHeader);
  return static_cast<uint16_t>(std::min(interface_mtu, carried));
}

}  // namespace

std::optional<std::string_view> Device::argument(std::string_view key) const {
  for (const auto& [name_of_argument, value] : arguments)
    if (name_of_argument == key) return value;
  return std::nullopt;
}

void Device::set_default(std::string_view key, std::string value) {
  if (!argument(key)) arguments.emplace_back(key, std::move(value));
}

std::string Device::argument_text() const {
  std::string text;
  for (const auto& [key, value] : arguments)
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, value);
  return text;
}

Result<Device> parse_device(std::string_view text) {
  static const std::regex pci_pattern("([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7]");
  static const std::regex vdev_pattern("[a-z][a-z0-9_-]*");
  Device device;
  const size_t comma = text.find(',');
  device.name = text.substr(0, comma);
  std::string_view rest = comma == std::string_view::npos ? "" : text.substr(comma + 1);
  if (std::regex_match(device.name, pci_pattern)) {
    device.kind = DeviceKind::pci;
    if (device.name.size() == 7) device.name = "0000:" + device.name;
  } else if (std::regex_match(device.name, vdev_pattern)) {
    device.kind = kind_of(device.name);
  } else {
    return Error{
        fmt::format("'{}' is neither a PCI address (0000:03:00.0) nor a virtual device "
                    "(net_af_packet0,iface=NAME)",
                    text)};
  }
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    const std::string_view pair = rest.substr(0, end);
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return Error{fmt::format("'{}': '{}' is not of the form KEY=VALUE", text, pair)};
    device.arguments.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (device.is_socket() && device.argument("iface").value_or("").empty())
    return Error{fmt::format("'{}' names no interface: write {},iface=NAME", text, device.name)};
  return device;
}

Result<uint16_t> complete_device(Device& device, uint32_t interface_mtu, uint16_t frame_room) {
  switch (device.kind) {
    case DeviceKind::af_packet:
      return complete_af_packet(device, interface_mtu, frame_room);
    case DeviceKind::af_xdp:
      return complete_af_xdp(device, interface_mtu, frame_room);
    case DeviceKind::pci:
    case DeviceKind::other_vdev:
      break;
  }
  return static_cast<uint16_t>(std::min<uint32_t>(interface_mtu, frame_room - kEthernetHeader));
}

}  // namespace understudy
