#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "common/strong.h"

namespace understudy {

class MacAddress {
 public:
  constexpr MacAddress() = default;
  constexpr explicit MacAddress(std::array<uint8_t, 6> bytes) : bytes_(bytes) {}
  static constexpr MacAddress broadcast() { return MacAddress({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}); }
  static std::optional<MacAddress> parse(std::string_view text);  // six hex pairs joined by ':'
  constexpr const std::array<uint8_t, 6>& bytes() const { return bytes_; }
  constexpr bool is_multicast() const { return bytes_[0] & 1; }
  constexpr bool is_zero() const { return *this == MacAddress(); }
  std::string to_string() const;
  friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) = default;

 private:
  std::array<uint8_t, 6> bytes_{};
};

// An IPv6 address, or an IPv4 address in its mapped form ::ffff:a.b.c.d. One size for both, so that
// tables and records have one layout.
class IpAddress {
 public:
  constexpr IpAddress() = default;
  constexpr explicit IpAddress(std::array<uint8_t, 16> bytes) : bytes_(bytes) {}
  static constexpr IpAddress v4(uint32_t host_order) {
    IpAddress a;
    a.bytes_[10] = a.bytes_[11] = 0xff;
    for (int i = 0; i < 4; ++i) a.bytes_[15 - i] = static_cast<uint8_t>(host_order >> (8 * i));
    return a;
  }
  static std::optional<IpAddress> parse(std::string_view text);
  constexpr const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  // Two comparisons of words: it is asked for every segment.
  constexpr bool is_v4() const {
    const auto [first, second] = std::bit_cast<std::array<uint64_t, 2>>(bytes_);
    const auto [prefix, host] = std::bit_cast<std::array<uint32_t, 2>>(second);
    constexpr auto kMapped = std::bit_cast<uint32_t>(std::array<uint8_t, 4>{0, 0, 0xff, 0xff});
    return first == 0 && prefix == kMapped;
  }
  constexpr bool is_multicast() const { return is_v4() ? (bytes_[12] & 0xf0) == 0xe0 : bytes_[0] == 0xff; }
  constexpr bool is_loopback() const {
    if (is_v4()) return bytes_[12] == 127;
    IpAddress loopback;
    loopback.bytes_[15] = 1;
    return *this == loopback;
  }
  // fe80::/10 (RFC 4291 section 2.5.6): means something on one link only.
  constexpr bool is_link_local_v6() const { return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80; }
  constexpr bool is_unspecified() const { return *this == IpAddress() || *this == v4(0); }
  constexpr uint32_t v4_host_order() const {
    return static_cast<uint32_t>(bytes_[12]) << 24 | static_cast<uint32_t>(bytes_[13]) << 16 |
           static_cast<uint32_t>(bytes_[14]) << 8 | bytes_[15];
  }
  std::string to_string() const;
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  std::array<uint8_t, 16> bytes_{};
};

// An address and the length of its network part: 10.10.0.10/24. For IPv4 the length counts from 0 to 32.
struct Prefix {
  IpAddress address;
  uint8_t length = 0;
  static std::optional<Prefix> parse(std::string_view text);  // a missing /N means the whole address
  bool contains(const IpAddress& other) const;
  std::string to_string() const;
  friend constexpr auto operator<=>(const Prefix&, const Prefix&) = default;
};

// 10.10.0.10:80 or [fd00:10::10]:80 (RFC 3986 section 3.2.2).
std::string with_port(const IpAddress& address, PortNumber port);

// A TCP connection as this node sees it. Bytes without padding: it is hashed as memory.
struct FlowKey {
  IpAddress local;
  IpAddress remote;
  PortNumber local_port;
  PortNumber remote_port;
  std::string to_string() const;  // remote -> local
  friend constexpr auto operator<=>(const FlowKey&, const FlowKey&) = default;
};
static_assert(sizeof(FlowKey) == 36);

}  // namespace understudy
