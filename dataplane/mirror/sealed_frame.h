#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "dataplane/mirror/frame_sealer.h"

namespace understudy::mirror {

// Seals a cluster frame, Ethernet header included, where it stands; its buffer has room for the seal.
void seal_frame(rte_mbuf* frame, FrameSealer& sealer, unsigned link);
// The same frame as seal_frame left it, sealed anew in a buffer of its own. Null when the pool is empty or
// nobody could read it any more (FrameSealer::seal_again).
rte_mbuf* seal_frame_again(rte_mempool* pool, const rte_mbuf* sealed, FrameSealer& sealer, unsigned link);

}  // namespace understudy::mirror
