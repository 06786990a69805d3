#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/instant.h"
#include "common/random.h"

namespace understudy::sim {

// What a client and the service behind the virtual address are to say to each other. Byte k of either
// direction is a function of the session and k; nothing that crosses a wire can be wrong unnoticed.
struct Plan {
  enum class Service : uint8_t { proxy, echo, discard, tally };
  Service service = Service::proxy;
  uint32_t request = 1000;   // bytes from the client; its first tells the backend which session this is
  uint32_t response = 1000;  // bytes from the backend; proxied sessions only
  uint32_t rounds = 1;       // request and response take turns this often; 0: both flow at once
  bool client_closes_early = false;   // half-closes after its last byte, without waiting for the answer
  bool backend_closes_early = false;  // the same at the other end
  Duration start{0};
  Duration second_turn_at{0};                        // the client is silent after its first turn until then
  Duration client_deaf_from{0}, client_deaf_for{0};  // does not read: its window closes
  Duration backend_deaf_from{0}, backend_deaf_for{0};
  uint64_t client_resets_at = UINT64_MAX;  // aborts after this many received bytes
  uint64_t backend_resets_at = UINT64_MAX;
  uint16_t client_port =
      0;  // 0: a port of its own; a used one is taken anew when the session before has ended
  Duration backend_thinks{0};  // before each of its turns

  bool expects_reset() const { return client_resets_at != UINT64_MAX || backend_resets_at != UINT64_MAX; }
  bool is_proxied() const { return service == Service::proxy; }
};

std::vector<uint8_t> request_of(const Plan& plan, size_t session);
std::vector<uint8_t> response_of(const Plan& plan, size_t session);
uint16_t port_of(Plan::Service service);
Plan random_plan(Random& random, uint32_t bytes_most);
std::string describe(const Plan& plan);

}  // namespace understudy::sim
