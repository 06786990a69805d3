// Addresses and networks of both families as an operator writes them.
#include <algorithm>

#include <fmt/format.h>

#include "control/config/reader.h"

namespace understudy::config {
namespace {

bool is_scalar(Reading& reading, const Value& value) {
  if (value.kind == Value::Kind::scalar) return true;
  const bool bare_brackets = value.kind == Value::Kind::list && value.items.size() == 1 &&
                             value.items[0].text.find(':') != std::string::npos;
  reading.faults.add(value.mark,
                     bare_brackets
                         ? fmt::format("brackets make a list of `{}`; leave them out, or write \"[{}]\" in "
                                       "quotes",
                                       value.items[0].text, value.items[0].text)
                         : fmt::format("an address must stand here, not {}", describe(value)));
  return false;
}

// [fd00::1] and [fd00::1]/64 without the brackets.
std::string without_brackets(const std::string& text) {
  const size_t end = text.find(']');
  if (text.empty() || text.front() != '[' || end == std::string::npos) return text;
  return text.substr(1, end - 1) + text.substr(end + 1);
}

unsigned bits_of(const IpAddress& address) {
  return address.is_v4() ? 32 : 128;
}

// What keeps an address from being that of one host, as the end of a sentence; empty when nothing does.
std::string_view trouble_with(const IpAddress& address) {
  if (address.is_link_local_v6())
    return "means something on one link only; give a global or unique local address";
  const bool first_octet_zero = address.is_v4() && address.v4_host_order() >> 24 == 0;
  const bool reserved = address.is_v4() && address.v4_host_order() >> 28 == 0xf;
  if (address.is_unspecified() || address.is_multicast() || address.is_loopback() || first_octet_zero ||
      reserved)
    return "is not the address of one host; give a unicast address";
  return {};
}

// 0: neither; 1: all host bits are zero; 2: all are one.
int edge_of(const Prefix& prefix) {
  const Prefix network = network_of(prefix);
  if (network.address == prefix.address) return 1;
  const unsigned skipped = 128 - bits_of(prefix.address);
  for (unsigned bit = skipped + prefix.length; bit < 128; ++bit)
    if ((prefix.address.bytes()[bit / 8] & 0x80U >> bit % 8) == 0) return 0;
  return 2;
}

}  // namespace

Prefix network_of(const Prefix& prefix) {
  std::array<uint8_t, 16> bytes = prefix.address.bytes();
  for (unsigned bit = 128 - bits_of(prefix.address) + prefix.length; bit < 128; ++bit)
    bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] & ~(0x80U >> bit % 8));
  return Prefix{IpAddress(bytes), prefix.length};
}

std::optional<IpAddress> read_address(Reading& reading, const Value& value) {
  if (!is_scalar(reading, value)) return std::nullopt;
  const std::string text = without_brackets(value.text);
  const auto address = IpAddress::parse(text);
  if (!address) {
    reading.faults.add(value.mark,
                       fmt::format("`{}` is not an address; write four numbers, as in 10.10.0.1, or an "
                                   "IPv6 address, as in fd00:10::1",
                                   value.text));
    return std::nullopt;
  }
  if (address->is_v4() && text.find(':') != std::string::npos) {
    reading.faults.add(value.mark, fmt::format("`{}` is an IPv4 address written as IPv6; write {}",
                                               value.text, address->to_string()));
    return std::nullopt;
  }
  if (const std::string_view trouble = trouble_with(*address); !trouble.empty()) {
    reading.faults.add(value.mark, fmt::format("`{}` {}", value.text, trouble));
    return std::nullopt;
  }
  return address;
}

std::optional<Prefix> read_host_prefix(Reading& reading, const Value& value) {
  if (!is_scalar(reading, value)) return std::nullopt;
  Value host = value;
  const std::string text = without_brackets(value.text);
  host.text = text.substr(0, text.find('/'));
  const auto address = read_address(reading, host);
  if (!address) return std::nullopt;
  const auto prefix = Prefix::parse(text);
  if (!prefix || text.find('/') == std::string::npos || prefix->length == 0) {
    reading.faults.add(value.mark,
                       fmt::format("`{}` lacks the length of its network; write {}/{} for a network of {}",
                                   value.text, host.text, address->is_v4() ? 24 : 64,
                                   address->is_v4() ? "256 addresses" : "the usual size"));
    return std::nullopt;
  }
  const int edge = prefix->length + 2U <= bits_of(*address) ? edge_of(*prefix) : 0;
  if (edge == 1 || (edge == 2 && address->is_v4())) {
    reading.faults.add(value.mark,
                       fmt::format("`{}` is the {} address of its network; give one between", value.text,
                                   edge == 1 ? "first (network)" : "last (broadcast)"));
    return std::nullopt;
  }
  return prefix;
}

std::optional<Prefix> read_network(Reading& reading, const Value& value) {
  if (!is_scalar(reading, value)) return std::nullopt;
  const std::string text = without_brackets(value.text);
  const auto prefix = Prefix::parse(text);
  const bool mapped = prefix && prefix->address.is_v4() && text.find(':') != std::string::npos;
  if (prefix && !mapped) return prefix;
  reading.faults.add(
      value.mark, fmt::format("`{}` is not a network; write 0.0.0.0/0 or ::/0 for everything, 10.40.0.0/24 "
                              "or fd00:40::/64 for one network",
                              value.text));
  return std::nullopt;
}

}  // namespace understudy::config
