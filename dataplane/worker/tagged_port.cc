#include "dataplane/worker/tagged_port.h"

#include <cstring>

#include "dataplane/wire/ethernet.h"

namespace understudy::worker {
namespace {

constexpr uint16_t kIdentifier = 0x0fff;  // the other bits are priority and DEI
constexpr size_t kAddresses = offsetof(wire::EthernetHeader, type);

uint16_t type_of(const rte_mbuf* frame) {
  return rte_pktmbuf_mtod(frame, const wire::EthernetHeader*)->type.get();
}

bool has_second_tag(uint16_t type) {
  return type == wire::kEtherTypeVlan || type == wire::kEtherTypeServiceVlan;
}

// False: it is not of this VLAN.
bool take_off(rte_mbuf* frame, uint16_t vlan) {
  if (frame->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
    frame->ol_flags &= ~(RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_VLAN);
    return (frame->vlan_tci & kIdentifier) == vlan && !has_second_tag(type_of(frame));
  }
  if (type_of(frame) != wire::kEtherTypeVlan ||
      frame->data_len < sizeof(wire::EthernetHeader) + sizeof(wire::VlanTag))
    return false;
  wire::VlanTag tag;
  auto* data = rte_pktmbuf_mtod(frame, uint8_t*);
  std::memcpy(&tag, data + sizeof(wire::EthernetHeader), sizeof tag);
  if ((tag.control.get() & kIdentifier) != vlan || has_second_tag(tag.type.get())) return false;
  std::memmove(data + sizeof tag, data, kAddresses);
  rte_pktmbuf_adj(frame, sizeof tag);
  return true;
}

// Null (and the frame freed): no room, or no buffer.
rte_mbuf* put_on(rte_mbuf* frame, uint16_t vlan) {
  if (rte_mbuf_refcnt_read(frame) > 1) {  // the mirror's channel keeps it and may send it again
    rte_mbuf* own = rte_pktmbuf_copy(frame, frame->pool, 0, UINT32_MAX);
    rte_pktmbuf_free(frame);
    if (own == nullptr) return nullptr;
    frame = own;
  }
  auto* data = reinterpret_cast<uint8_t*>(rte_pktmbuf_prepend(frame, sizeof(wire::VlanTag)));
  if (data == nullptr) {
    rte_pktmbuf_free(frame);
    return nullptr;
  }
  std::memmove(data, data + sizeof(wire::VlanTag), kAddresses);
  be16_t type;
  type.set(wire::kEtherTypeVlan);
  be16_t control;
  control.set(vlan);
  std::memcpy(data + kAddresses, &type, sizeof type);
  std::memcpy(data + kAddresses + sizeof type, &control, sizeof control);
  return frame;
}

}  // namespace

uint16_t TaggedPort::receive(std::span<rte_mbuf*> frames) {
  const uint16_t received = beneath_.receive(frames);
  uint16_t kept = 0;
  for (uint16_t i = 0; i < received; ++i) {
    if (take_off(frames[i], vlan_)) {
      frames[kept++] = frames[i];
      continue;
    }
    ++receive_dropped_;
    rte_pktmbuf_free(frames[i]);
  }
  return kept;
}

void TaggedPort::transmit(std::span<rte_mbuf*> frames) {
  size_t kept = 0;
  for (rte_mbuf* frame : frames) {
    rte_mbuf* tagged = put_on(frame, vlan_);
    if (tagged != nullptr)
      frames[kept++] = tagged;
    else
      ++transmit_dropped_;
  }
  if (kept > 0) beneath_.transmit(frames.first(kept));
}

PortStatistics TaggedPort::statistics() const {
  PortStatistics statistics = beneath_.statistics();
  statistics.receive_dropped += receive_dropped_;
  statistics.transmit_dropped += transmit_dropped_;
  return statistics;
}

}  // namespace understudy::worker
