#pragma once

#include <rte_mbuf.h>

namespace understudy {

// 4095 mbufs of the size that test_mbuf_pool() has, in memory of this process and without the EAL, whose
// start takes a third of a second (it measures its clock and loads every driver). For programs that must
// start fast and need no more of DPDK than mbufs. One thread at a time.
rte_mempool* plain_mbuf_pool();
// Such a pool with buffers that take any packet that IP can carry. What is not used of them is never touched.
rte_mempool* plain_mbuf_pool_for_any_packet();

}  // namespace understudy
