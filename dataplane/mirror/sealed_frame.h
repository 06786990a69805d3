#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "dataplane/mirror/frame_sealer.h"

namespace understudy::mirror {

// The sealed copy of a cluster frame, Ethernet header included, for one link. `plain` is only read: the
// channel keeps it, and a repetition is sealed anew. Null when the pool is empty.
rte_mbuf* seal_frame(rte_mempool* pool, const rte_mbuf* plain, FrameSealer& sealer, unsigned link);

}  // namespace understudy::mirror
