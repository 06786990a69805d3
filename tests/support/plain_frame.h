#pragma once

#include "dataplane/wire/frame.h"

namespace understudy {

// Completes a frame that the engine hands out where there is no Ethernet: an empty header with the packet's
// type.
inline void put_plain_ethernet(rte_mbuf* frame) {
  auto* ethernet = rte_pktmbuf_mtod(frame, wire::EthernetHeader*);
  *ethernet = wire::EthernetHeader{};
  ethernet->type = wire::ether_type_of_packet(frame);
}

}  // namespace understudy
