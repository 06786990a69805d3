#include "dataplane/mirror/sealed_frame.h"

#include <cstring>

#include "common/check.h"
#include "dataplane/wire/ethernet.h"

namespace understudy::mirror {
namespace {
constexpr size_t kEthernet = sizeof(wire::EthernetHeader);
}

void seal_frame(rte_mbuf* frame, FrameSealer& sealer, unsigned link) {
  const size_t plain = frame->data_len - kEthernet;
  invariant(rte_pktmbuf_append(frame, sizeof(SealTrailer)) != nullptr,
            "a cluster frame without room for its seal");
  auto* at = rte_pktmbuf_mtod_offset(frame, uint8_t*, kEthernet);
  sealer.seal({at, plain}, link, at);
}

rte_mbuf* seal_frame_again(rte_mempool* pool, const rte_mbuf* sealed, FrameSealer& sealer, unsigned link) {
  rte_mbuf* again = rte_pktmbuf_alloc(pool);
  if (again == nullptr) return nullptr;
  auto* out = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(again, sealed->data_len));
  const auto* in = rte_pktmbuf_mtod(sealed, const uint8_t*);
  if (out == nullptr ||
      !sealer.seal_again({in + kEthernet, sealed->data_len - kEthernet}, link, out + kEthernet)) {
    rte_pktmbuf_free(again);
    return nullptr;
  }
  std::memcpy(out, in, kEthernet);
  return again;
}

}  // namespace understudy::mirror
