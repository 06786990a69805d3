#pragma once

#include <cstdint>
#include <string_view>

#include "common/instant.h"
#include "dataplane/tcp/state.h"

namespace understudy::tcp {

class Engine;

// What answers a service: a deterministic event handler on one worker. Bytes live in the leg's pipes; an
// application that links its pipe to a sink leg (proxy, echo) is not asked again for every run of bytes.
// Everything it keeps about a leg lives in Connection::application_word and in the pipes, so that the
// standby's copy of the leg is whole.
class Application {
 public:
  virtual ~Application() = default;
  virtual std::string_view name() const = 0;

  // A leg has come into being, at the owner on a SYN or at the standby on its record: give it its pipes
  // (Engine::create_pipe). False when there is no room; the leg is then dropped.
  virtual bool attach(Engine& engine, uint32_t leg) = 0;
  // Output derived from input, at the owner: bytes may leave before their input is committed only if they are
  // a function of the byte stream alone.
  virtual bool output_waits_for_commit() const { return false; }

  // A leg that it opened is a session of its own, and mirrored as such. Otherwise such a leg serves a client
  // leg, or nobody any more.
  virtual bool owns_opened_legs() const { return false; }

  // The leg is established and its peer has been told so, or will be.
  virtual void on_open(Engine& /*engine*/, uint32_t /*leg*/, Instant /*now*/) {}
  // New bytes or the peer's FIN stand in the rx pipe, which has no sink: consume with Engine::consume, answer
  // with Engine::write and Engine::finish_writing. Also called at the standby, which thereby repeats the
  // owner's work.
  virtual void on_data(Engine& /*engine*/, uint32_t /*leg*/, Instant /*now*/) {}
  // The peer calls something urgent (Engine::urgent_bytes), which may not have arrived yet. Not called for
  // legs whose receive pipe has a sink: what they relay is urgent there too.
  virtual void on_urgent(Engine& /*engine*/, uint32_t /*leg*/, Instant /*now*/) {}
  // The leg is about to go; it is still readable. Not called at the standby.
  virtual void on_closed(Engine& /*engine*/, uint32_t /*leg*/, CloseReason /*reason*/, Instant /*now*/) {}
};

}  // namespace understudy::tcp
