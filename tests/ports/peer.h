#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <rte_mbuf.h>

#include "dataplane/worker/port.h"

namespace understudy::ports {

using Frame = std::vector<uint8_t>;
using namespace std::chrono_literals;

// A frame of `length` bytes that this test recognises: EtherType 0x88b5 (for local experiments, IEEE 802),
// then as far as there is room a number, then bytes that follow from the number.
Frame make_frame(uint32_t number, size_t length);
bool is_test_frame(const uint8_t* bytes, size_t length);
uint32_t frame_number(const Frame& frame);  // of a frame of at least 18 bytes

// What is at the other end of the port's wire.
class Peer {
 public:
  virtual ~Peer() = default;
  virtual bool send(const Frame& frame) = 0;  // false: refused
  // The next test frame; none within `patience`. Other frames are skipped.
  virtual std::optional<Frame> receive(std::chrono::milliseconds patience) = 0;
};

// A packet socket of the kernel on interface `name`. Throws std::runtime_error when it can't be had.
std::unique_ptr<Peer> kernel_peer(const std::string& name);
// Another port, in the same process.
std::unique_ptr<Peer> port_peer(Port& port, rte_mempool& pool);

// Sets an interface up or down, as `ip link set` does. Its veth partner loses or gets its carrier.
void set_interface_up(const std::string& name, bool up);

rte_mbuf* mbuf_of(rte_mempool& pool, const Frame& frame);
Frame bytes_of(const rte_mbuf& frame);
// The next test frame that the port receives; others are skipped and freed.
std::optional<Frame> receive_frame(Port& port, std::chrono::milliseconds patience);

}  // namespace understudy::ports
