#pragma once

#include <cstdint>
#include <optional>

#include "common/address.h"
#include "common/instant.h"
#include "common/sequence.h"
#include "common/siphash.h"
#include "dataplane/wire/tcp.h"

namespace understudy::tcp {

// SYN cookies (RFC 4987 section 3.6). The initial sequence number of a SYN-ACK says what the connection will
// be made of, so that nothing has to be kept until the ACK brings it back:
//
//    31                      8   7    6    4   3     1     0
//   | keyed hash of the rest  | SACK | shift  | MSS     | slot |
//
// The hash covers the flow, the peer's initial sequence number and the number of the slot, 32 s of the
// group's clock; a cookie holds for the slot that it was made in and the next one. Secret and clock are the
// cluster's: any node can read what another one has sent. That timestamps were agreed upon shows on the ACK
// itself (RFC 7323 section 3.2: once agreed, every segment carries them).
//
// MSS and window shift are rounded down to what a table of eight holds; a smaller shift only makes the peer's
// window look smaller. ECN is not agreed upon in a cookie.
struct CookieOptions {
  uint16_t mss = 536;
  std::optional<uint8_t> window_scale;  // the peer's, if it offered one
  bool sack = false;
};

constexpr uint64_t kCookieSlotUs = 32'000'000;
constexpr Duration kCookieLife = std::chrono::microseconds(2 * kCookieSlotUs);  // the longest that one holds

// `key.local` is ours; `irs` the peer's initial sequence number; `offered` the options of its SYN.
Seq make_cookie(const Secret& secret, const FlowKey& key, Seq irs, const wire::TcpOptions& offered,
                uint64_t clock_us);
// Nothing unless `cookie` was made for this flow and this `irs` lately enough.
std::optional<CookieOptions> read_cookie(const Secret& secret, const FlowKey& key, Seq irs, Seq cookie,
                                         uint64_t clock_us);

}  // namespace understudy::tcp
