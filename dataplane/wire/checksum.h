#pragma once

#include <cstdint>
#include <span>

#include "common/address.h"

namespace understudy::wire {

// RFC 1071 one's-complement sums. A sum is carried unfolded in 64 bits; finish() folds and complements.
// Bytes are summed as if they began at an even offset.
uint64_t checksum_add(uint64_t sum, std::span<const uint8_t> bytes);
uint64_t checksum_pseudo_header(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                                uint32_t length);
uint16_t checksum_finish(
    uint64_t sum);  // host order value to store big-endian; 0 of a received whole means good
// The same for a sum of 16-bit words, or pairs of them, that were added up as numbers in host order.
uint16_t checksum_finish_host_order(uint64_t sum);

}  // namespace understudy::wire
