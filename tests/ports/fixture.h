#pragma once

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "dataplane/dpdk/eal.h"
#include "dataplane/dpdk/ethdev_port.h"
#include "dataplane/dpdk/pool.h"
#include "tests/ports/peer.h"

namespace understudy::ports {

// What the command line says.
struct Options {
  std::string device;          // the port under test
  std::string interface_name;  // under it; empty for in-process kinds
  std::string peer;            // the kernel's interface at the other end, or a device string
  uint16_t frame_room = kBufferRoom;
};

// One environment, pool, port and peer for the whole run: DPDK starts once per process.
struct Bench {
  Options options;
  std::optional<Eal> eal;
  Pool pool;
  std::unique_ptr<EthdevPort> port, port_at_peer;
  std::unique_ptr<Peer> peer;
};
Bench& bench();

class PortTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;  // every buffer is back in the pool, or in the device

  EthdevPort& port() { return *bench().port; }
  Peer& peer() { return *bench().peer; }
  rte_mempool& pool() { return *bench().pool; }
  bool on_interface() const { return !bench().options.interface_name.empty(); }
  void transmit(const Frame& frame);
  // What is still under way is thrown away at both ends.
  void drain();
  uint64_t transmit_dropped() { return port().statistics().transmit_dropped; }
};

inline constexpr auto kPatience = 1000ms;
inline constexpr auto kShort = 30ms;  // long enough for a frame that should not come

// One line of figures that the run reports beside its verdicts.
void report(const std::string& line);

}  // namespace understudy::ports
