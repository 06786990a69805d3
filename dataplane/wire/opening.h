#pragma once

#include <optional>

#include <rte_mbuf.h>

#include "common/address.h"
#include "common/sequence.h"

namespace understudy::wire {

// What a SYN without ACK says of itself: the same for each time that it is sent.
struct Opening {
  FlowKey key;
  Seq seq;
};

// For turning SYNs away before they cost anything: a look at the flags, without checking lengths beyond what
// is read, or checksums. Nothing for any other frame, nor for a SYN in a fragment or behind IPv6 extension
// headers: those go the ordinary way. The mbuf must be linear.
std::optional<Opening> peek_opening(const rte_mbuf* frame);

}  // namespace understudy::wire
