#include "common/address.h"

#include <charconv>

#include <arpa/inet.h>
#include <fmt/format.h>

namespace understudy {

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
  if (text.size() != 17) return std::nullopt;
  std::array<uint8_t, 6> bytes{};
  for (size_t i = 0; i < 6; ++i) {
    const char* first = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(first, first + 2, bytes[i], 16);
    if (error != std::errc() || end != first + 2) return std::nullopt;
    if (i < 5 && text[3 * i + 2] != ':') return std::nullopt;
  }
  return MacAddress(bytes);
}

std::string MacAddress::to_string() const {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes_[0], bytes_[1], bytes_[2], bytes_[3],
                     bytes_[4], bytes_[5]);
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string copy(text);
  in_addr v4_binary{};
  if (inet_pton(AF_INET, copy.c_str(), &v4_binary) == 1) return v4(ntohl(v4_binary.s_addr));
  std::array<uint8_t, 16> bytes{};
  if (inet_pton(AF_INET6, copy.c_str(), bytes.data()) == 1) return IpAddress(bytes);
  return std::nullopt;
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (is_v4())
    inet_ntop(AF_INET, bytes_.data() + 12, text, sizeof text);
  else
    inet_ntop(AF_INET6, bytes_.data(), text, sizeof text);
  return text;
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const uint8_t longest = address->is_v4() ? 32 : 128;
  if (slash == std::string_view::npos) return Prefix{*address, longest};
  const std::string_view digits = text.substr(slash + 1);
  uint8_t length = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (error != std::errc() || end != digits.data() + digits.size() || length > longest) return std::nullopt;
  return Prefix{*address, length};
}

bool Prefix::contains(const IpAddress& other) const {
  if (address.is_v4() != other.is_v4()) return false;
  const unsigned skipped = address.is_v4() ? 96 : 0;
  for (unsigned bit = 0; bit < skipped + length;) {
    const unsigned take = std::min(8U, skipped + length - bit);
    const auto mask = static_cast<uint8_t>(0xff00U >> take);
    if ((address.bytes()[bit / 8] ^ other.bytes()[bit / 8]) & mask) return false;
    bit += take;
  }
  return true;
}

std::string Prefix::to_string() const {
  return fmt::format("{}/{}", address.to_string(), length);
}

std::string with_port(const IpAddress& address, PortNumber port) {
  return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port.value())
                         : fmt::format("[{}]:{}", address.to_string(), port.value());
}

std::string FlowKey::to_string() const {
  return fmt::format("{} -> {}", with_port(remote, remote_port), with_port(local, local_port));
}

}  // namespace understudy
