#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include <rte_mbuf.h>

namespace understudy {

// An mbuf header over a heap copy of exactly the given bytes, outside any pool: a sanitizer sees the first
// byte read past the frame. Needs no EAL. Never give it to rte_pktmbuf_free.
class ExactFrame {
 public:
  explicit ExactFrame(std::span<const uint8_t> bytes);
  const rte_mbuf* mbuf() const { return &mbuf_; }
  // For code that frees what it is given: it only gives it back. The frame outlives that code.
  rte_mbuf* lend();
  std::span<const uint8_t> bytes() const { return {bytes_.get(), mbuf_.data_len}; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  rte_mbuf mbuf_;
};

// Runs everything that parses a received frame over `bytes` (at most 65535 count) and ends the process when a
// parser contradicts itself: names bytes outside the frame, or peeks another flow than it parses.
void check_parsers(std::span<const uint8_t> bytes);

}  // namespace understudy
