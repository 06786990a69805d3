#include "tests/support/mbuf_pool.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <unistd.h>

#include "common/check.h"

namespace understudy {
namespace {

int first_allowed_processor(const cpu_set_t& allowed) {
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &allowed)) return i;
  return 0;
}

// The EAL pins its first thread; the tests of a run would all sit on one processor, so that is undone.
void start_eal() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  invariant(pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) == 0,
            "tests: no affinity to read");
  std::vector<std::string> words = {"test",
                                    "--no-huge",
                                    "--no-shconf",
                                    "--no-pci",
                                    "--no-telemetry",
                                    "--iova-mode=va",
                                    "--log-level=error",
                                    "-m",
                                    "256",
                                    "--lcores",
                                    "0@" + std::to_string(first_allowed_processor(allowed)),
                                    "--file-prefix=test" + std::to_string(getpid())};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  invariant(rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) >= 0,
            "tests: the EAL does not start");
  // Even without files DPDK leaves an empty directory behind.
  rmdir(rte_eal_get_runtime_dir());
  pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
}

rte_mempool* create_pool() {
  start_eal();
  rte_mempool* pool =
      rte_pktmbuf_pool_create("test", 8191, 250, 0, RTE_PKTMBUF_HEADROOM + kTestMbufRoom, SOCKET_ID_ANY);
  invariant(pool != nullptr, "tests: no memory for the mbuf pool");
  return pool;
}

}  // namespace

rte_mempool* test_mbuf_pool() {
  static rte_mempool* const pool = create_pool();
  return pool;
}

unsigned test_mbufs_in_use() {
  return rte_mempool_in_use_count(test_mbuf_pool());
}

rte_mbuf* mbuf_from(std::span<const uint8_t> bytes) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(test_mbuf_pool());
  invariant(mbuf != nullptr, "tests: the mbuf pool is empty");
  invariant(bytes.size() <= kTestMbufRoom, "tests: more bytes than an mbuf holds");
  char* data = rte_pktmbuf_append(mbuf, static_cast<uint16_t>(bytes.size()));
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  return mbuf;
}

std::vector<uint8_t> bytes_of(const rte_mbuf* mbuf) {
  std::vector<uint8_t> bytes;
  for (; mbuf != nullptr; mbuf = mbuf->next) {
    const uint8_t* data = rte_pktmbuf_mtod(mbuf, const uint8_t*);
    bytes.insert(bytes.end(), data, data + mbuf->data_len);
  }
  return bytes;
}

}  // namespace understudy
