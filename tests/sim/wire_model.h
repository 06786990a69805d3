#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace understudy::sim {

// Frames as the simulator's hosts and its oracle read and write them. Nothing here comes from the product:
// what one side wrote wrongly, the other is not to misread likewise. IPv4 only; all numbers in host order.

using Mac = std::array<uint8_t, 6>;
constexpr Mac kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

enum Flag : uint8_t { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32 };

struct Tcp {
  Mac to_mac{}, from_mac{};
  uint32_t source = 0, destination = 0;
  uint16_t source_port = 0, destination_port = 0;
  uint32_t seq = 0, ack = 0;
  uint16_t window = 0;
  uint8_t flags = 0;
  std::optional<uint16_t> mss;
  std::optional<uint8_t> scale;
  std::optional<std::pair<uint32_t, uint32_t>> timestamps;  // value, echo
  bool sack_permitted = false;
  std::vector<std::pair<uint32_t, uint32_t>> sack;  // at most 4
  std::vector<uint8_t> payload;
  bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

struct Arp {
  Mac to_mac{}, from_mac{};
  uint16_t operation = 1;  // 1 request, 2 reply
  Mac sender_mac{}, target_mac{};
  uint32_t sender = 0, target = 0;
};

// Empty when the frame is not one, is cut short, or a checksum is wrong.
std::optional<Tcp> read_tcp(std::span<const uint8_t> frame);
bool is_reset(std::span<const uint8_t> frame);  // looks at no checksum
std::optional<Arp> read_arp(std::span<const uint8_t> frame);
std::vector<uint8_t> write(const Tcp& segment);
std::vector<uint8_t> write(const Arp& packet);

}  // namespace understudy::sim
