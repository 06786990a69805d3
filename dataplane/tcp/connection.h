#pragma once

#include <cstdint>

#include "common/address.h"
#include "common/sequence.h"
#include "common/strong.h"
#include "dataplane/tcp/pipe.h"
#include "dataplane/tcp/state.h"

namespace understudy::tcp {

using GroupIndex = uint8_t;  // position in the node's list of groups

// A leg that outlives its slot is recognised by the generation.
struct LegId {
  uint32_t index = kNone;
  uint32_t generation = 0;
  friend bool operator==(const LegId&, const LegId&) = default;
};

// For how long nothing has come from the peer of a connection.
struct Silence {
  uint32_t unused_ms = 0;     // since the last segment that counts as use; in TIME-WAIT, since that began
  uint16_t unanswered_s = 0;  // since the last segment, or the last keep-alive probe
  uint8_t probes = 0;         // sent since the last segment
  friend bool operator==(const Silence&, const Silence&) = default;
};

// The hard state of one leg: what must survive the death of its owner (ARCHITECTURE.md, "State"). A mirrored
// connection is this same struct at the standby, with its voice off. Names are those of RFC 9293
// section 3.3.1.
//
//          snd.una          snd.nxt      snd.una + snd.wnd
//   ---------|================|-------------|------->   what we send
//            sent, not acked    usable window
//
//   rcv.acked  rcv.committed  rcv.nxt        rcv.edge
//   ---|------------|-----------|===============|--->   what we receive
//      said so       standby     received         the window's right edge
//                    knows
struct Connection {
  FlowKey key;
  uint32_t generation = 0;

  struct Send {
    Seq una;  // oldest unacknowledged; may run ahead of the bytes held after a takeover
    Seq nxt;  // next to be sent
    Seq wl1;  // segment that last updated the window
    Seq wl2;
    Seq iss;
    uint32_t wnd = 0;      // as advertised by the peer, scaled
    uint32_t wnd_max = 0;  // largest seen
  } snd;

  struct Receive {
    Seq nxt;             // next expected in order
    Seq edge;            // right edge that we have decided upon; never moves left
    Seq committed;       // the nxt that the in-sync set holds: the highest acknowledgement we may send
    Seq committed_edge;  // the right edge that the in-sync set knows: the furthest we may advertise
    Seq acked;           // highest acknowledgement sent (Last.ACK.sent of RFC 7323)
    Seq edge_sent;       // right edge last advertised
    Seq irs;
  } rcv;

  uint32_t ts_offset = 0;  // added to the group's clock (RFC 7323 section 5.4)
  uint32_t ts_recent = 0;
  uint32_t rx = kNone;  // pipe that this leg fills
  uint32_t tx = kNone;  // pipe that this leg sends
  uint32_t partner = kNone;
  uint32_t soft = kNone;
  // Engine time of the last segment, for idle timeouts. In TIME-WAIT: when it began, or began anew.
  uint32_t active_ms = 0;
  uint32_t application_word = 0;  // the application's own small state
  uint32_t mirror_leg = kNone;    // at the standby: the owner's index of this leg
  uint32_t receive_buffer = 0;    // bytes that may wait here for the application
  // Largest segment that we may send, options excluded (RFC 9293 section 3.7.1): what the SYNs settled, or
  // what the path takes if that is less.
  uint16_t mss = 536;
  uint16_t mss_agreed = 536;
  uint16_t probed_s = 0;  // engine time, in seconds, when the peer was last heard or sent a keep-alive probe
  ServiceId service;
  BackendId backend;
  State state : 4 = State::syn_sent;
  uint8_t keepalive_probes : 4 = 0;  // sent since the peer was last heard
  uint8_t snd_scale : 4 = 0;         // the peer's window shift (RFC 7323 section 2)
  uint8_t rcv_scale : 4 = 0;         // ours
  GroupIndex group = 0;
  uint8_t shard = 0;

  bool window_scaling : 1 = false;
  bool timestamps : 1 = false;
  bool sack : 1 = false;
  bool ecn : 1 = false;
  bool active_open : 1 = false;
  bool fin_received : 1 = false;
  bool adopted : 1 = false;         // came through a takeover: its peer may acknowledge what we have not got
  bool mirrored : 1 = false;        // its records go to a standby: acknowledgements wait for the commit
  bool resumed : 1 = true;          // false until the resume sweep or a segment has woken an adopted leg
  bool protect : 1 = true;          // the service wants it mirrored
  bool output_pending : 1 = false;  // stands in the engine's output list
  bool log_pending : 1 = false;     // stands in the engine's log list
  bool opened : 1 = false;          // the application has been told
  bool more_follows : 1 = false;    // the application says so: what stands last is not pushed
  bool terms_changed : 1 = false;   // the mirror has to say again what was agreed
  bool nagle : 1 = false;           // small segments wait for acknowledgements (RFC 9293 section 3.7.4)
};
static_assert(sizeof(Connection) <= 152, "an idle proxied session must fit 512 bytes");

// The largest segment that a peer takes which does not say (RFC 9293 section 3.7.1).
constexpr uint16_t mss_unsaid(const IpAddress& address) {
  return address.is_v4() ? 536 : 1220;
}

// Where stream offsets lie in sequence space. SYN takes one number, so offset 0 is iss + 1.
inline Seq send_seq_of(const Connection& c, uint64_t offset) {
  return c.snd.iss + 1 + static_cast<int64_t>(static_cast<uint32_t>(offset));
}
inline Seq receive_seq_of(const Connection& c, uint64_t offset) {
  return c.rcv.irs + 1 + static_cast<int64_t>(static_cast<uint32_t>(offset));
}
// `near` is an offset within 2^31 of the answer.
inline uint64_t send_offset_of(const Connection& c, Seq seq, uint64_t near) {
  return near + static_cast<uint64_t>(static_cast<int64_t>(seq - send_seq_of(c, near)));
}
inline uint64_t receive_offset_of(const Connection& c, Seq seq, uint64_t near) {
  return near + static_cast<uint64_t>(static_cast<int64_t>(seq - receive_seq_of(c, near)));
}

// The furthest that the peer may believe it may send: what was advertised, rounded up to the window's unit.
inline Seq receive_limit(const Connection& c) {
  return later_of(c.rcv.edge, c.rcv.edge_sent);
}

}  // namespace understudy::tcp
