#include "dataplane/mirror/sealed_frame.h"

#include <cstring>

#include "dataplane/wire/ethernet.h"

namespace understudy::mirror {

rte_mbuf* seal_frame(rte_mempool* pool, const rte_mbuf* plain, FrameSealer& sealer, unsigned link) {
  rte_mbuf* sealed = rte_pktmbuf_alloc(pool);
  if (sealed == nullptr) return nullptr;
  auto* out = reinterpret_cast<uint8_t*>(
      rte_pktmbuf_append(sealed, static_cast<uint16_t>(plain->data_len + sizeof(SealTrailer))));
  if (out == nullptr) {
    rte_pktmbuf_free(sealed);
    return nullptr;
  }
  constexpr size_t kEthernet = sizeof(wire::EthernetHeader);
  const auto* in = rte_pktmbuf_mtod(plain, const uint8_t*);
  std::memcpy(out, in, kEthernet);
  sealer.seal({in + kEthernet, plain->data_len - kEthernet}, link, out + kEthernet);
  return sealed;
}

}  // namespace understudy::mirror
