#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/conformance/system.h"

namespace understudy::conformance {

// What becomes of a script's connections when their owner dies at one of its events. A second engine takes
// over what the owner's log says after that event, without soft state, and is given everything that comes
// afterwards: the peer's segments, the application's calls, the time. The owner goes on beside it as the
// reference that the script compares. The successor's segments need not be the same, but each must keep what
// has been promised to the peer:
//
//   it acknowledges no less than was acknowledged, and nothing that the peer did not send
//   right edges do not move left, timestamps do not run back
//   the bytes are those that the application wrote, and it reads those that the peer sent
//   no reset where the reference sends none; no connection is lost that the reference has
//
// and in the end it has received what the reference has. As a peer does, we repeat what it has not
// acknowledged. One thread.
class Successor {
 public:
  Successor(const ProfileSettings& settings, rte_mempool* pool, Instant start, System& reference);

  tcp::Engine& engine() { return system_.engine(); }
  void take_over(Instant now);
  void advance_to(Instant until);
  void after_event(Instant now);

  void peer_says(std::span<const uint8_t> packet, const wire::TcpSegment& segment, const rte_mbuf* frame,
                 Instant now);
  void network_says(const wire::IcmpError& error, Instant now);
  void reference_says(std::span<const uint8_t> packet);
  void writes(const tcp::Connection& c, std::span<const uint8_t> bytes);
  void consumes(const tcp::Connection& c, uint64_t up_to_offset);
  void finishes(const tcp::Connection& c);
  void aborts(const tcp::Connection& c, Instant now);

  // Also compares how both stand now.
  std::vector<std::string> faults();

 private:
  // One connection, by its initial sequence number: a flow may have several in a row.
  struct Story {
    Seq iss;
    Seq irs;
    bool has_peer = false;
    bool is_inherited = false;  // it was there when the owner died
    bool reset_by_reference = false;
    bool reset_by_successor = false;
    bool has_promised = false;
    Seq ack;
    Seq edge;
    bool has_timestamp = false;  // to compare with: not after so long that a newer one looks older
    uint32_t timestamp = 0;
    std::map<int64_t, uint8_t> written;   // by distance from iss
    std::map<int64_t, uint8_t> received;  // by distance from irs
    bool peer_finished = false;
    int64_t peer_end = 0;  // distance from irs
    uint16_t peer_window = 0;
    uint32_t peer_timestamp = 0;
    Instant peer_spoke_at;
    uint8_t scale = 0;
  };
  Story* story_of(const FlowKey& key);
  uint32_t leg_of(const FlowKey& key);  // of the successor
  void says(std::span<const uint8_t> packet, bool is_reference);
  void check(Story& story, const FlowKey& key, const wire::TcpSegment& segment,
             std::span<const uint8_t> payload);
  void repeat_what_is_missing(Instant now);
  void check_received(const FlowKey& key, const Story& story);
  void settle(Instant now);
  void fault(const FlowKey& key, const std::string& what);

  rte_mempool* pool_;
  System& reference_;
  System system_;
  bool lives_ = false;
  std::map<FlowKey, Story> stories_;
  std::vector<std::string> faults_;
};

}  // namespace understudy::conformance
