// Throughput of the engine over loss, delay and buffer, in virtual time, beside what is published for its
// congestion control. Prints a table; exits 1 when a cell is more than a fifth off (README.md).
#include <cstdio>
#include <cstring>

#include "tests/throughput/link.h"
#include "tests/throughput/model.h"

namespace understudy {
namespace {

constexpr double kPayload = 1448;  // of 1500 bytes of IP, with timestamps
constexpr double kFrame = 1514;
constexpr double kRate = 100e6;
constexpr double kTolerance = 0.2;

struct Cell {
  double measured = 0;  // bit/s
  double model = 0;
  bool is_near() const { return std::abs(measured / model - 1) <= kTolerance; }
};

Cell measure(const LinkPlan& plan, Duration warm_up, Duration time) {
  Link link(plan);
  link.run_for(warm_up);
  const uint64_t before = link.received();
  link.run_for(time);
  const double seconds = std::chrono::duration<double>(time).count();
  const double round_trip = std::chrono::duration<double>(plan.round_trip).count();
  return {.measured = static_cast<double>(link.received() - before) * 8 / seconds,
          .model = 8 * model_throughput(plan.algorithm, plan.loss, round_trip, plan.receive_buffer,
                                        plan.bits_per_second, kPayload, kFrame)};
}

struct Sizes {
  std::vector<double> losses;
  std::vector<int> round_trips_ms;
  std::vector<uint32_t> buffers_kib;
  Duration warm_up;
  Duration time;
};

int print_table(const Sizes& sizes) {
  int far = 0;
  int cells = 0;
  std::printf("| loss | round trip | buffer | CUBIC | model | ratio | NewReno | model | ratio |\n");
  std::printf("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const double loss : sizes.losses) {
    for (const int round_trip : sizes.round_trips_ms) {
      for (const uint32_t buffer : sizes.buffers_kib) {
        std::printf("| %g %% | %d ms | %u KiB |", loss * 100, round_trip, buffer);
        for (const auto algorithm : {tcp::CongestionAlgorithm::cubic, tcp::CongestionAlgorithm::new_reno}) {
          const Cell cell = measure({.loss = loss,
                                     .round_trip = Duration(1ms) * round_trip,
                                     .receive_buffer = buffer * 1024,
                                     .bits_per_second = kRate,
                                     .algorithm = algorithm},
                                    sizes.warm_up, sizes.time);
          ++cells;
          far += !cell.is_near();
          std::printf(" %.2f | %.2f | %.2f%s |", cell.measured / 1e6, cell.model / 1e6,
                      cell.measured / cell.model, cell.is_near() ? "" : " !");
        }
        std::printf("\n");
        std::fflush(stdout);
      }
    }
  }
  std::printf("\n%d cells, %d more than %.0f %% off\n", cells, far, kTolerance * 100);
  return far == 0 ? 0 : 1;
}

}  // namespace
}  // namespace understudy

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  if (argc > 1 && !quick) {
    std::fprintf(stderr, "usage: understudy-throughput [--quick]\n");
    return 2;
  }
  using namespace understudy;
  const Sizes whole{{0, 0.0001, 0.001, 0.01}, {1, 10, 50, 200}, {64, 512, 2048}, 40s, 120s};
  const Sizes small{{0, 0.001, 0.01}, {10, 100}, {512}, 10s, 20s};
  return print_table(quick ? small : whole);
}
