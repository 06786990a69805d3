#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"

namespace understudy {

enum class DeviceKind { pci, af_packet, af_xdp, other_vdev };

// A device string of the configuration, taken apart: "0000:03:00.0" or
// "net_af_packet0,iface=front,framecnt=512".
struct Device {
  DeviceKind kind = DeviceKind::other_vdev;
  std::string name;  // PCI address with its domain, or the vdev's name
  std::vector<std::pair<std::string, std::string>> arguments;

  std::optional<std::string_view> argument(std::string_view key) const;
  void set_default(std::string_view key, std::string value);  // leaves a value that the operator gave
  std::string argument_text() const;                          // "iface=front,framecnt=512"
  bool is_socket() const { return kind == DeviceKind::af_packet || kind == DeviceKind::af_xdp; }
};

// Pure. Errors: not a device string; a socket device without iface=.
Result<Device> parse_device(std::string_view text);

// Fills in what the operator left open for a socket device, and says how long a frame may be. Pure.
// `interface_mtu`: of the network interface. `frame_room`: bytes that a buffer of the port's pool holds.
// Returns the largest MTU that the device can carry both ways, at most interface_mtu. Errors: a buffer too
// small for the ring's frames; ring sizes that the kernel would refuse.
Result<uint16_t> complete_device(Device& device, uint32_t interface_mtu, uint16_t frame_room);

}  // namespace understudy
