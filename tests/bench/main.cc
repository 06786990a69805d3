// The benchmarks that run in one process: costs of real workers with generators accounted apart. tools/bench
// runs this.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <rte_eal.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include "common/check.h"
#include "tests/bench/measure.h"

namespace {

using namespace understudy;
using namespace understudy::bench;

struct Bench {
  const char* name;
  Metrics (*run)(const Options&);
};
constexpr Bench kBenches[] = {{"throughput", bench_throughput},
                              {"connections", bench_connections},
                              {"memory", bench_memory},
                              {"sealing", bench_sealing},
                              {"takeover", bench_takeover},
                              {"segments", bench_segments},
                              {"resync", bench_resync},
                              {"gate", bench_gate},
                              {"flood", bench_flood}};
constexpr uint32_t kBuffers = 65535;

rte_mempool* start_dpdk() {
  std::vector<std::string> words = {"bench",
                                    "--no-huge",
                                    "--no-shconf",
                                    "--no-pci",
                                    "--no-telemetry",
                                    "--iova-mode=va",
                                    "--log-level=error",
                                    "-m",
                                    "640",
                                    "--lcores",
                                    "0@" + std::to_string(sched_getcpu()),
                                    "--file-prefix=bench" + std::to_string(getpid())};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  invariant(rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) >= 0,
            "bench: the EAL does not start");
  rmdir(rte_eal_get_runtime_dir());  // empty, and DPDK would leave it behind
  rte_mempool* pool =
      rte_pktmbuf_pool_create("bench", kBuffers, 512, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  invariant(pool != nullptr, "bench: no memory for the packet buffers");
  return pool;
}

int usage() {
  std::fprintf(stderr,
               "usage: understudy-bench [--quick | --smoke] [throughput] [connections] [memory] [sealing] "
               "[takeover] [segments] [resync] [gate] [flood]\n");
  return 2;
}

}  // namespace

int main(int count, char** words) {
  Options options;
  std::vector<const Bench*> chosen;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--quick") {
      options.quick = true;
      continue;
    }
    if (word == "--smoke") {
      options.smoke = true;
      continue;
    }
    const size_t before = chosen.size();
    for (const Bench& bench : kBenches)
      if (word == bench.name) chosen.push_back(&bench);
    if (chosen.size() == before) return usage();
  }
  if (chosen.empty())
    for (const Bench& bench : kBenches) chosen.push_back(&bench);
  options.pool = start_dpdk();
  options.buffers = kBuffers;
  Metrics metrics;
  for (const Bench* bench : chosen) {
    std::fprintf(stderr, "%s ...\n", bench->name);
    const Metrics found = bench->run(options);
    metrics.insert(metrics.end(), found.begin(), found.end());
    const unsigned left = rte_mempool_in_use_count(options.pool);
    if (left == 0) continue;
    std::fprintf(stderr, "%s leaves %u packet buffers behind\n", bench->name, left);
    return EXIT_FAILURE;
  }
  std::printf("%s\n", to_json(metrics).c_str());
  return EXIT_SUCCESS;
}
