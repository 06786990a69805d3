// The conformance test of ports: what every kind of port must do, run against a real device. run.sh makes the
// interfaces; `port-conformance --device DEVICE [--interface NAME] --peer NAME [--frame-room N]` runs it.

#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "tests/ports/fixture.h"

namespace understudy::ports {

Bench& bench() {
  static Bench the_bench;
  return the_bench;
}

void report(const std::string& line) {
  fmt::print("  {}\n", line);
  std::fflush(stdout);
}

void PortTest::SetUp() {
  drain();
}

void PortTest::TearDown() {
  drain();
}

void PortTest::transmit(const Frame& frame) {
  rte_mbuf* mbuf = mbuf_of(pool(), frame);
  port().transmit({&mbuf, 1});
}

void PortTest::drain() {
  while (receive_frame(port(), 2ms)) {
  }
  while (peer().receive(2ms)) {
  }
}

namespace {

constexpr int kSkip = 77;  // what meson takes for "skipped"

int skip(const std::string& why) {
  fmt::print("SKIPPED: {}\n", why);
  return kSkip;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--device") options.device = value;
    if (key == "--interface") options.interface_name = value;
    if (key == "--peer") options.peer = value;
    if (key == "--frame-room") options.frame_room = static_cast<uint16_t>(std::stoi(value));
  }
  return !options.device.empty() && !options.peer.empty();
}

// 0, or the exit code.
int prepare(Bench& bench) {
  EalSettings environment;
  environment.file_prefix = fmt::format("conformance-{}", getpid());
  environment.memory_mb = 256;
  environment.hugepages = HugepageUse::never;
  Result<Eal> eal = Eal::start(environment);
  if (!eal) return skip(eal.message());
  bench.eal = std::move(eal).value();
  PoolSettings buffers;
  buffers.name = "conformance";
  buffers.buffers = bench.options.frame_room > kBufferRoom ? 8192 : 32768;
  buffers.frame_room = bench.options.frame_room;
  Result<Pool> pool = create_pool(buffers);
  if (!pool) return skip(pool.message());
  bench.pool = std::move(pool).value();
  auto port = EthdevPort::open({.device = bench.options.device, .pool = bench.pool.get()});
  if (!port) {
    // Not every kernel has XDP sockets; every one has the others.
    if (bench.options.device.starts_with("net_af_xdp")) return skip(port.message());
    fmt::print("FAILED: {}\n", port.message());
    return 1;
  }
  bench.port = std::move(port).value();
  if (!bench.options.interface_name.empty()) {
    bench.peer = kernel_peer(bench.options.peer);
  } else if (bench.options.peer == "self") {
    bench.peer = port_peer(*bench.port, *bench.pool);
  } else {
    auto other = EthdevPort::open({.device = bench.options.peer, .pool = bench.pool.get()});
    if (!other) return fmt::print("FAILED: {}\n", other.message()), 1;
    bench.port_at_peer = std::move(other).value();
    bench.peer = port_peer(*bench.port_at_peer, *bench.pool);
    usleep(500'000);  // the two ends find each other
  }
  return 0;
}

}  // namespace
}  // namespace understudy::ports

int main(int argc, char** argv) {
  using namespace understudy::ports;
  testing::InitGoogleTest(&argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (!parse(argc, argv, bench().options)) {
    fmt::print("usage: {} --device DEVICE [--interface NAME] --peer NAME|DEVICE|self [--frame-room N]\n",
               argv[0]);
    return 2;
  }
  if (int code = prepare(bench()); code != 0) return code;
  report(fmt::format("{} '{}' mac {} mtu {}", bench().port->device().name,
                     bench().port->device().argument_text(), bench().port->mac().to_string(),
                     bench().port->mtu()));
  const int result = RUN_ALL_TESTS();
  bench().peer.reset();
  bench().port_at_peer.reset();
  // With both ends of a memif in one process the driver's own thread takes the other end down when one is
  // closed. We are not to do the same at that moment.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  bench().port.reset();
  bench().pool.reset();
  bench().eal.reset();
  return result;
}
