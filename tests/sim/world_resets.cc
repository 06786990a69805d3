// Which sessions may wait for ever because the network, or a node without buffers, lost a reset.
#include <fmt/format.h>

#include "tests/sim/configuration.h"
#include "tests/sim/world.h"

namespace understudy::sim {

std::optional<size_t> World::session_of(const Tcp& segment) const {
  for (const auto& host : hosts_)
    if (const Talk* talk = host->talk_of(segment); talk != nullptr && talk->session != SIZE_MAX)
      return talk->session;
  return std::nullopt;
}

void World::note_reset(std::span<const uint8_t> frame) {
  if (start_ == kNever || !is_reset(frame)) return;
  const auto segment = read_tcp(frame);
  if (!segment) return;
  const auto session = session_of(*segment);
  if (!session) return;
  reset_said_.insert(*session);
  // A node without a buffer does not hear it, or cannot tell the other end.
  if (now_ < pools_are_full_until_) reset_lost_.insert(*session);
}

void World::note_frame_lost(std::span<const uint8_t> frame) {
  if (reset_said_.empty()) return;
  const auto segment = read_tcp(frame);
  if (!segment) return;
  const auto session = session_of(*segment);
  if (session && reset_said_.contains(*session) && reset_lost_.insert(*session).second)
    trace(fmt::format("session {}: lost at or after a reset: {}", *session, describe_frame(frame)));
}

// A RST is said once. If it was lost, or the challenge with which it was met (RFC 5961 section 3.2), who has
// nothing to send waits for as long as its application cares to.
bool World::waits_for_a_lost_reset(size_t session) {
  return reset_lost_.contains(session) && hosts_[0]->of_session(session)->tcp->deadline() == kNever;
}

}  // namespace understudy::sim
