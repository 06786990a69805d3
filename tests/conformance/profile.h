#pragma once

#include <string>
#include <string_view>

#include "common/result.h"
#include "dataplane/tcp/engine.h"

namespace understudy::conformance {

// What the same engine looks like from outside when it is set up as another system is: order of the options
// on SYN, windows, buffers. The rules of TCP are the same in both.
enum class Profile : uint8_t { linux_like, freebsd_like };

// What becomes of the owner while a script runs.
enum class Failover : uint8_t {
  never,
  every_event,  // the connection moves to another engine after each event, as in a planned hand-over
  crash_at,     // the owner dies after one event; another engine carries on from the mirror's log
};

struct AdapterFlags {
  Profile profile = Profile::linux_like;
  Failover failover = Failover::never;
  uint64_t crash_event = 0;
  uint16_t mtu = 1500;
  bool follows_sysctls = true;  // linux_like: what a script sets is the engine's (system_settings.h)
};

// `profile=linux|freebsd`, `failover=never|every_event|crash_at=K`, `sysctls=follow|ignore`, `mtu=BYTES` of
// the link (the tool tells no shared object of its own --mtu), separated by spaces or commas. An empty text
// is the default.
Result<AdapterFlags> parse_flags(std::string_view text);

struct ProfileSettings {
  tcp::EngineSettings engine;
  uint32_t send_buffer = 0;
  uint32_t not_sent_low = UINT32_MAX;  // writable while less than this is not sent
  // As Linux does it: what SO_SNDBUF and SO_RCVBUF are given is doubled, to make up for its own bookkeeping.
  bool doubles_buffers = false;
  // As FreeBSD does it: SO_RCVBUF is rounded up to whole segments once their size is settled, and a socket
  // that is opening has nothing to read yet, where Linux says that it is not connected.
  bool rounds_buffers = false;
  bool reads_while_opening = false;
  tcp::KeepAlive keepalive_named;  // what TCP_KEEPIDLE and its like say until they are set
  bool nagle = true;
  tcp::KeepAlive keepalive;
  Duration user_timeout{0};
  Duration connect_timeout{0};
  uint8_t dscp = 0;
  Duration idle_timeout = Duration::max();
  Failover failover = Failover::never;
  uint64_t crash_event = 0;  // crash_at: the first is 1
};
ProfileSettings settings_of(const AdapterFlags& flags);

}  // namespace understudy::conformance
