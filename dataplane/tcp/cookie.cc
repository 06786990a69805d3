#include "dataplane/tcp/cookie.h"

#include <array>
#include <cstring>

#include "dataplane/tcp/connection.h"

namespace understudy::tcp {
namespace {

// What common path MTUs leave: the minimum, the default, IPv6's minimum, tunnels, PPPoE, Ethernet.
constexpr std::array<uint16_t, 8> kMss = {64, 536, 1220, 1360, 1400, 1440, 1452, 1460};
// Index 0 is a SYN without the option.
constexpr std::array<uint8_t, 8> kShift = {0, 0, 2, 4, 6, 7, 8, 10};

uint8_t index_of_mss(uint16_t mss) {
  uint8_t index = 0;
  while (index + 1U < kMss.size() && kMss[index + 1U] <= mss) ++index;
  return index;
}

uint8_t index_of_shift(uint8_t shift) {
  uint8_t index = 1;
  while (index + 1U < kShift.size() && kShift[index + 1U] <= shift) ++index;
  return index;
}

uint32_t hash_of(const Secret& secret, const FlowKey& key, Seq irs, uint64_t slot, uint8_t options) {
  std::array<uint8_t, sizeof key + 12> bytes;  // another length than what initial sequence numbers hash
  const uint32_t number = irs.raw();
  const uint64_t slot_and_options = slot << 8 | options;
  std::memcpy(bytes.data(), &key, sizeof key);
  std::memcpy(bytes.data() + sizeof key, &number, sizeof number);
  std::memcpy(bytes.data() + sizeof key + sizeof number, &slot_and_options, sizeof slot_and_options);
  return static_cast<uint32_t>(siphash(secret, bytes.data(), bytes.size())) & 0xffffff00U;
}

}  // namespace

Seq make_cookie(const Secret& secret, const FlowKey& key, Seq irs, const wire::TcpOptions& offered,
                uint64_t clock_us) {
  const uint64_t slot = clock_us / kCookieSlotUs;
  const uint8_t shift = offered.window_scale ? index_of_shift(*offered.window_scale) : uint8_t{0};
  const auto options =
      static_cast<uint8_t>((offered.sack_permitted ? 0x80 : 0) | shift << 4 |
                           index_of_mss(offered.mss.value_or(mss_unsaid(key.local))) << 1 | (slot & 1));
  return Seq(hash_of(secret, key, irs, slot, options) | options);
}

std::optional<CookieOptions> read_cookie(const Secret& secret, const FlowKey& key, Seq irs, Seq cookie,
                                         uint64_t clock_us) {
  const auto options = static_cast<uint8_t>(cookie.raw());
  uint64_t slot = clock_us / kCookieSlotUs;
  if ((slot & 1) != (options & 1)) {
    if (slot == 0) return std::nullopt;
    --slot;
  }
  if ((hash_of(secret, key, irs, slot, options) | options) != cookie.raw()) return std::nullopt;
  CookieOptions read;
  read.sack = (options & 0x80) != 0;
  read.mss = kMss[options >> 1 & 7];
  const auto shift = static_cast<size_t>(options >> 4 & 7);
  if (shift > 0) read.window_scale = kShift[shift];
  return read;
}

}  // namespace understudy::tcp
