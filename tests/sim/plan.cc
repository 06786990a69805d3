#include "tests/sim/plan.h"

#include <fmt/format.h>

namespace understudy::sim {
namespace {

uint8_t byte_of(uint64_t stream, uint64_t k) {
  return static_cast<uint8_t>((k * 0x9e3779b97f4a7c15ULL + stream * 0xbf58476d1ce4e5b9ULL) >> 53);
}

std::vector<uint8_t> stream_of(uint64_t stream, uint32_t length) {
  std::vector<uint8_t> bytes(length);
  for (uint32_t k = 0; k < length; ++k) bytes[k] = byte_of(stream, k);
  return bytes;
}

// Each line is answered with the number of bytes received so far.
std::vector<uint8_t> tally_of(const std::vector<uint8_t>& request) {
  std::vector<uint8_t> answer;
  for (size_t k = 0; k < request.size(); ++k) {
    if (request[k] != '\n') continue;
    const std::string line = std::to_string(k + 1) + "\n";
    answer.insert(answer.end(), line.begin(), line.end());
  }
  return answer;
}

}  // namespace

std::vector<uint8_t> request_of(const Plan& plan, size_t session) {
  std::vector<uint8_t> bytes = stream_of(1000 + session, plan.request);
  if (!bytes.empty()) bytes[0] = static_cast<uint8_t>(session);
  return bytes;
}

std::vector<uint8_t> response_of(const Plan& plan, size_t session) {
  switch (plan.service) {
    case Plan::Service::proxy:
      return stream_of(2000 + session, plan.request == 0 ? 0 : plan.response);
    case Plan::Service::echo:
      return request_of(plan, session);
    case Plan::Service::discard:
      return {};
    case Plan::Service::tally:
      return tally_of(request_of(plan, session));
  }
  return {};
}

uint16_t port_of(Plan::Service service) {
  constexpr uint16_t kPorts[] = {80, 7, 9, 1117};
  return kPorts[static_cast<size_t>(service)];
}

Plan random_plan(Random& random, uint32_t bytes_most) {
  Plan plan;
  plan.service = random.chance(2, 3) ? Plan::Service::proxy : static_cast<Plan::Service>(random.below(4));
  plan.request = 1 + random.below(random.chance(1, 2) ? 3000 : bytes_most);
  plan.response = random.below(random.chance(1, 2) ? 3000 : bytes_most);
  plan.rounds = random.below(6);
  plan.client_closes_early = random.chance(1, 4);
  plan.backend_closes_early = random.chance(1, 4) && plan.rounds == 0;
  plan.start = Duration(1us) * random.below(60'000) * random.below(3);
  if (random.chance(1, 8)) plan.client_deaf_for = Duration(1ms) * random.below(500);
  if (random.chance(1, 8)) plan.backend_deaf_for = Duration(1ms) * random.below(500);
  if (random.chance(1, 20)) plan.client_resets_at = random.below(plan.response + 1);
  if (random.chance(1, 20)) plan.backend_resets_at = 1 + random.below(plan.request);
  if (random.chance(1, 10)) plan.backend_thinks = Duration(1ms) * random.below(60);
  return plan;
}

std::string describe(const Plan& p) {
  constexpr const char* kNames[] = {"proxy", "echo", "discard", "tally"};
  return fmt::format("{} {} up {} down {} rounds{}{}{}", kNames[static_cast<size_t>(p.service)], p.request,
                     p.response, p.rounds, p.client_closes_early ? ", client closes early" : "",
                     p.backend_closes_early ? ", backend closes early" : "",
                     p.expects_reset() ? ", reset planned" : "");
}

}  // namespace understudy::sim
