#include "dataplane/worker/lease.h"

#include <array>
#include <cstring>

#include "dataplane/wire/arp.h"
#include "dataplane/wire/ethernet.h"
#include "dataplane/wire/ipv4.h"
#include "dataplane/wire/ipv6.h"

namespace understudy::worker {

std::optional<IpAddress> speaker_of(const rte_mbuf* frame) {
  const auto* bytes = rte_pktmbuf_mtod(frame, const uint8_t*);
  constexpr size_t kEthernet = sizeof(wire::EthernetHeader);
  if (frame->data_len < kEthernet) return std::nullopt;
  wire::EthernetHeader ethernet;
  std::memcpy(&ethernet, bytes, kEthernet);
  const uint16_t type = ethernet.type.get();
  const auto v4 = [&](size_t at) -> std::optional<IpAddress> {
    if (frame->data_len < kEthernet + at + 4) return std::nullopt;
    const uint8_t* a = bytes + kEthernet + at;
    return IpAddress::v4(static_cast<uint32_t>(a[0]) << 24 | static_cast<uint32_t>(a[1]) << 16 |
                         static_cast<uint32_t>(a[2]) << 8 | a[3]);
  };
  constexpr size_t kIpv4Source = 12, kArpSender = 14, kIpv6Source = 8;
  if (type == wire::kEtherTypeIpv4) return v4(kIpv4Source);
  if (type == wire::kEtherTypeArp) return v4(kArpSender);
  if (type != wire::kEtherTypeIpv6 || frame->data_len < kEthernet + kIpv6Source + 16) return std::nullopt;
  std::array<uint8_t, 16> address;
  std::memcpy(address.data(), bytes + kEthernet + kIpv6Source, address.size());
  return IpAddress(address);
}

bool LeasedPort::may_leave(const rte_mbuf* frame, Instant now) const {
  const auto speaker = speaker_of(frame);
  if (!speaker) return true;  // frames between nodes, above all: they renew the lease
  for (const Address& address : addresses_)
    if (address.address == *speaker) return leases_->until(address.group) > now;
  return true;
}

void LeasedPort::transmit(std::span<rte_mbuf*> frames) {
  const Instant now = clock_();
  bool all = true;
  for (size_t group = 0; group < leases_->groups(); ++group) all = all && leases_->until(group) > now;
  if (all) return real_.transmit(frames);
  size_t kept = 0;
  for (rte_mbuf* frame : frames) {
    if (may_leave(frame, now)) {
      frames[kept++] = frame;
    } else {
      drops_.count(DropReason::lease_over);
      rte_pktmbuf_free(frame);
    }
  }
  if (kept > 0) real_.transmit(frames.first(kept));
}

}  // namespace understudy::worker
