#pragma once

#include <cstdint>

#include "common/instant.h"
#include "dataplane/tcp/congestion.h"
#include "dataplane/wire/tcp.h"

namespace understudy::tcp {

// When a SYN is answered without keeping anything (RFC 4987). Automatic: when too many are half open.
enum class SynCookies : uint8_t { automatic, always, never };

// Explicit congestion notification (RFC 3168): routers mark instead of dropping.
enum class Ecn : uint8_t {
  off,
  accept,   // where the peer asks for it
  request,  // and ask for it where we open
};

struct EngineSettings {
  uint32_t legs = 4096;         // capacity
  uint32_t active_legs = 4096;  // soft states
  uint32_t chunks = 65536;
  uint32_t sent_segments = 65536;
  uint64_t pinned_max = 64ULL << 20;     // bytes of packet buffers that streams may hold
  uint32_t receive_buffer = 512 * 1024;  // bytes per direction
  uint32_t receive_buffer_max = 0;  // the largest that a leg may be given later: its window shift fits this
  uint16_t mtu = 1500;
  uint32_t reassembly_max = 512;  // out-of-order chunks per leg
  Duration delayed_ack = 10ms;
  // Segments at the start of a connection, and after an idle time, that are acknowledged at once: a peer in
  // slow start grows twice as fast. Ends early when acknowledgements ride on data.
  uint32_t quick_acks = 0;
  Duration time_wait = 60s;
  SynCookies syn_cookies = SynCookies::automatic;
  uint32_t half_open_max = 1024;            // of all sources together; no more than half of active_legs
  uint32_t half_open_per_source_max = 256;  // an IPv4 address, an IPv6 /64
  uint32_t resets_per_second = 10'000;      // to segments of no connection
  // Connections that others opened and whose peers do not take what we hold for them: of all sources, and of
  // one. Beyond these, or while less than a quarter of pinned_max is free, those that have been so for longer
  // than stalled_grace are ended.
  uint32_t stalled_max = 2048;
  uint32_t stalled_per_source_max = 256;
  Duration stalled_grace = 10s;
  // Connections whose peers have neither said nor acknowledged anything since they opened them: of all
  // sources, and of one. Beyond these, those that have been so for longer than silent_grace are ended.
  uint32_t silent_max = 65536;  // no more than active_legs, and half of legs
  uint32_t silent_per_source_max = 1024;
  Duration silent_grace = 10s;
  uint8_t syn_retries = 7;     // some three minutes (RFC 9293, MUST-23)
  uint8_t answer_retries = 5;  // of a SYN-ACK: who asked may never have existed
  uint8_t data_retries = 15;
  CongestionAlgorithm congestion = CongestionAlgorithm::cubic;
  Ecn ecn = Ecn::accept;
  uint8_t hop_limit = 64;          // or time to live, of what we send
  bool restart_after_idle = true;  // RFC 5681 section 4.1
  wire::SynOptionOrder syn_options = wire::SynOptionOrder::linux_like;
  // PSH also on each so manieth segment of those that leave together, as a host says it whose card cuts the
  // segments. 0: only where the data ends.
  uint32_t push_every = 0;
  // What we offer on a SYN and accept from one.
  bool timestamps = true;
  bool sack = true;
  bool window_scaling = true;
};

}  // namespace understudy::tcp
