#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <rte_mbuf.h>

namespace understudy {

// The pool of all tests of one program: 8191 mbufs with RTE_PKTMBUF_HEADROOM bytes of headroom and room for
// kTestMbufRoom bytes of data. The first call starts the EAL without hugepages, devices or files that outlive
// the program, and leaves the thread's processor affinity as it was. Ends the program when that fails.
constexpr uint16_t kTestMbufRoom = 9216;
rte_mempool* test_mbuf_pool();

// How many mbufs of the pool are out: a test that compares before and after finds leaks.
unsigned test_mbufs_in_use();

// One linear mbuf holding `bytes`, at most kTestMbufRoom. The caller frees it.
rte_mbuf* mbuf_from(std::span<const uint8_t> bytes);

// The data of all segments.
std::vector<uint8_t> bytes_of(const rte_mbuf* mbuf);

}  // namespace understudy
