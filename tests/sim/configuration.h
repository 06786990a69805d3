#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "control/config/config.h"

namespace understudy::sim {

// The simulated cluster: one group with a virtual and a source address, and four services.
constexpr uint32_t kVirtualAddress = 0x0a0a000a;  // 10.10.0.10
constexpr uint32_t kSourceAddress = 0x0a140064;   // 10.20.0.100
constexpr uint32_t kClientAddress = 0x0a0a0064;   // 10.10.0.100
constexpr uint32_t kFirstBackend = 0x0a14000b;    // 10.20.0.11

// Parsed once for each combination of numbers and kept.
const config::Config& cluster_configuration(unsigned nodes, unsigned workers, uint32_t receive_buffer,
                                            config::Arbiter arbiter);

// One line for --trace.
std::string describe_frame(std::span<const uint8_t> frame);

}  // namespace understudy::sim
