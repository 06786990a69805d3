// Two mirroring nodes between a client and a backend; the fuzzer chooses the sessions, the networks, and when
// the owner dies. Every protected session goes on, byte by byte, and no promise is broken.
#include <cstdio>

#include "common/check.h"
#include "tests/fuzz/input.h"
#include "tests/support/mbuf_pool.h"
#include "tests/support/mirrored_pair.h"

using namespace understudy;

namespace {

SessionPlan plan_from(FuzzInput& input) {
  SessionPlan plan;
  plan.service = static_cast<SessionPlan::Service>(input.below(4));
  plan.request = 1 + input.word() % 40'000;
  plan.response = 1 + input.word() % 40'000;
  const uint8_t how = input.byte();
  plan.rounds = how & 7;
  plan.client_closes_early = how & 8;
  plan.backend_closes_early = (how & 16) && plan.rounds == 0;
  plan.start = Duration(100us) * input.byte();
  if (how & 32) plan.client_deaf_for = Duration(2ms) * input.byte();
  if (how & 64) plan.backend_deaf_for = Duration(2ms) * input.byte();
  return plan;
}

MirroredPair::Path path_from(FuzzInput& input) {
  MirroredPair::Path path;
  path.delay = Duration(10us) * (1 + input.byte());
  path.loss_per_mille = input.byte() % 64;
  path.duplicate_per_mille = input.byte() % 64;
  path.reorder_per_mille = input.byte() % 128;
  return path;
}

void require(bool holds, MirroredPair& pair) {
  if (holds) return;
  for (const std::string& fault : pair.faults()) std::fprintf(stderr, "%s\n", fault.c_str());
  std::fprintf(stderr, "%s\n", pair.describe().c_str());
  invariant(false, "a session does not go on as it should");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  const unsigned before = test_mbufs_in_use();
  {
    MirroredPair::Settings s;
    s.seed = input.word();
    const uint8_t how = input.byte();
    if (how & 1) s.syn_cookies = tcp::SynCookies::always;
    if (how & 2) s.receive_buffer = 20'000;
    if (how & 4) s.channel_window = 16;
    s.reset_hold = 3s;
    const uint32_t crash_at = input.word() % 2000;
    const auto fate = static_cast<MirroredPair::InFlight>(input.below(3));
    for (auto* path : {&s.client_path, &s.backend_path, &s.peer_path}) *path = path_from(input);
    for (uint32_t sessions = 1 + input.below(4); sessions > 0; --sessions)
      s.plans.push_back(plan_from(input));
    MirroredPair pair(s);
    while (pair.events() < crash_at && !pair.all_done()) pair.step();
    if (!pair.all_done()) pair.crash_owner(fate);
    require(pair.run_until([&] { return pair.all_done(); }, 600s), pair);
    require(pair.faults().empty(), pair);
  }
  invariant(test_mbufs_in_use() == before, "buffers do not come back");
  return 0;
}
