#pragma once

#include <array>
#include <optional>
#include <span>

#include "common/byte_order.h"
#include "common/sequence.h"

namespace understudy::wire {

// RFC 9293 section 3.1.
struct TcpHeader {
  be16_t source_port;
  be16_t destination_port;
  be32_t sequence;
  be32_t acknowledgement;
  uint8_t data_offset;  // upper four bits: header length in 32-bit words
  uint8_t flags;
  be16_t window;
  be16_t checksum;
  be16_t urgent_pointer;
};
static_assert(sizeof(TcpHeader) == 20);

constexpr uint8_t kFin = 0x01;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kRst = 0x04;
constexpr uint8_t kPsh = 0x08;
constexpr uint8_t kAck = 0x10;
constexpr uint8_t kUrg = 0x20;
constexpr uint8_t kEce = 0x40;
constexpr uint8_t kCwr = 0x80;

constexpr size_t kTcpOptionsMax = 40;

// RFC 2018: [left, right).
struct SackBlock {
  Seq left;
  Seq right;
};

// The options that this engine knows, parsed. Unknown ones are skipped by their length.
struct TcpOptions {
  struct Timestamps {  // RFC 7323
    uint32_t value = 0;
    uint32_t echo_reply = 0;
  };
  std::optional<uint16_t> mss;          // RFC 9293 section 3.7.1
  std::optional<uint8_t> window_scale;  // RFC 7323, as sent: may exceed 14
  bool sack_permitted = false;
  std::optional<Timestamps> timestamps;
  std::array<SackBlock, 4> sack{};
  uint8_t sack_count = 0;
};

// False when a length is zero, runs past the end or does not fit its kind; `options` then holds what stood
// before.
bool parse_tcp_options(std::span<const uint8_t> bytes, TcpOptions& options);

// The order of options on a SYN. Receivers do not care; it tells systems apart from outside.
enum class SynOptionOrder : uint8_t {
  linux_like,    // MSS, SACK-permitted, timestamps, NOP, window scale
  freebsd_like,  // MSS, NOP, window scale, SACK-permitted, timestamps
};

// The options in wire order: that of `order` on SYN; NOP NOP timestamps, NOP NOP SACK otherwise. Returns the
// length, a multiple of four, at most kTcpOptionsMax: SACK blocks that do not fit are left out.
size_t build_tcp_options(const TcpOptions& options, std::span<uint8_t, kTcpOptionsMax> out,
                         SynOptionOrder order = SynOptionOrder::linux_like);

}  // namespace understudy::wire
