#include "dataplane/wire/checksum.h"

#include <bit>
#include <cstring>

namespace understudy::wire {
namespace {

// Sums run over words in memory order: one's-complement addition does not care about the byte order until
// the end (RFC 1071 section 2 B), and checksum_finish() turns the result.
constexpr uint16_t in_memory_order(uint16_t host) {
  return std::endian::native == std::endian::little ? __builtin_bswap16(host) : host;
}

uint64_t add_address(uint64_t sum, const IpAddress& address) {
  const std::span<const uint8_t> bytes = address.bytes();
  return checksum_add(sum, address.is_v4() ? bytes.last(4) : bytes);
}

}  // namespace

// 32-bit words in 64-bit lanes: no carry to look after (2^32 words fit), which is what lets the compiler
// make vector code of the loop.
uint64_t checksum_add(uint64_t sum, std::span<const uint8_t> bytes) {
  const uint8_t* at = bytes.data();
  const size_t words = bytes.size() / sizeof(uint32_t);
  for (size_t i = 0; i < words; ++i) {
    uint32_t word = 0;
    std::memcpy(&word, at + i * sizeof word, sizeof word);
    sum += word;
  }
  const size_t rest = bytes.size() % sizeof(uint32_t);
  if (rest != 0) {
    uint32_t word = 0;
    std::memcpy(&word, at + words * sizeof word, rest);
    sum += word;
  }
  return sum;
}

// RFC 9293 section 3.1 for IPv4, RFC 8200 section 8.1 for IPv6: both sum to the same words.
uint64_t checksum_pseudo_header(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                                uint32_t length) {
  uint64_t sum = add_address(0, source);
  sum = add_address(sum, destination);
  sum += in_memory_order(protocol);
  sum += in_memory_order(static_cast<uint16_t>(length >> 16));
  sum += in_memory_order(static_cast<uint16_t>(length));
  return sum;
}

uint16_t checksum_finish(uint64_t sum) {
  return in_memory_order(checksum_finish_host_order(sum));
}

uint16_t checksum_finish_host_order(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace understudy::wire
