#pragma once

#include <optional>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "common/strong.h"
#include "dataplane/tcp/application.h"

namespace understudy::tcp {

// A clock that all owners of a group share: it travels in heartbeats, and a successor starts ahead of the
// last value that anybody can have seen (RFC 6528 and RFC 7323 numbers must not run backwards over a
// takeover).
class GroupClock {
 public:
  uint64_t micros(Instant now) const {
    return base_us_ + static_cast<uint64_t>(std::max<int64_t>(0, to_us(now - base_at_)));
  }
  uint32_t millis(Instant now) const { return static_cast<uint32_t>(micros(now) / 1000); }
  // Never moves back.
  void advance_to(uint64_t us, Instant now) {
    if (us <= micros(now)) return;
    base_us_ = us;
    base_at_ = now;
  }

 private:
  uint64_t base_us_ = 0;
  Instant base_at_{};
};

// What the engine knows of a group on this worker. Written by the worker between bursts.
struct Group {
  GroupId id;
  bool voice = false;          // this node is the owner: it may send
  bool accepts = true;         // new connections are taken
  bool speaks_again = false;   // what had a voice before is looked at by the sweep
  bool handed_over = false;    // this epoch began with a planned hand-over: its numbers are exact
  bool always_local = false;   // the node's own addresses: no standby, no takeover
  Instant reset_hold_until{};  // unknown connections get no RST before this
  Instant cookies_until{};     // an ACK may bring back a cookie that this node or its predecessor sent
  // A second group with the same addresses and services, and which of the two takes new connections: the one
  // with the later era; of equal ones, the one to which services point.
  std::optional<GroupIndex> twin;
  bool is_spare = false;
  uint32_t era = 0;
  uint32_t legs = 0;           // here, of services that want protection
  uint32_t legs_exempt = 0;    // here, of services that want none
  uint32_t legs_mirrored = 0;  // of those that do, those whose records go to a standby; kept by the mirror
  Epoch epoch;
  GroupClock clock;
};

// Probes to a peer from which nothing has come for long (RFC 9293 section 3.8.4).
struct KeepAlive {
  Duration idle{0};  // before the first probe; 0: there are none
  Duration interval = 75s;
  uint8_t probes = 9;  // unanswered ones end the connection
};

// A listening (address, port range). The service id is the same on every node.
struct Service {
  ServiceId id;
  uint8_t group = 0;
  std::vector<IpAddress> addresses;
  PortNumber first_port;
  PortNumber last_port;
  Application* application = nullptr;
  bool protect = true;
  // Nagle's algorithm. Off: a proxied byte was held back by its own sender already, if at all.
  bool nagle = false;
  // The largest segment that we ask peers for and send to them, where the path's MTU would allow more. 0: no
  // limit.
  uint16_t segment_max = 0;
  uint8_t dscp = 0;  // differentiated services codepoint of what we send
  Duration idle_timeout = 15min;
  KeepAlive keepalive;
  // How long a backend may take to answer a SYN, before the proxy looks for another one.
  Duration connect_timeout = 60s;
  // How long what was sent may stay unacknowledged (RFC 9293 section 3.8.3), whatever the number of
  // retransmissions. 0: that number decides.
  Duration user_timeout{0};
};

}  // namespace understudy::tcp
