#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>

#include "common/instant.h"
#include "tests/sim/wire_model.h"

namespace understudy::sim {

// Judges the cluster by what it says on the wires of clients and backends, in the world's own time. It reads
// bytes; it includes nothing of the product but the type of an instant.
//
//   promise 1   no acknowledgement number or window runs ahead of what its peer has said, none moves back
//   promise 3   at most one voice for the group's addresses; a late burst of a node that was away is small
//               and holds no RST, FIN or ARP
//   both        timestamps never run backwards; nothing is sent beyond a peer's window
class Oracle {
 public:
  using Complain = std::function<void(const std::string& sentence)>;
  struct Settings {
    std::set<uint32_t> addresses;  // the group's
    bool judges_voices = true;     // false: no arbiter could have prevented two
    // Whether the node runs and takes itself for the owner. While it does not, nobody contradicts it: a node
    // that boots while the owner stands still may claim, and bow to it when it is back.
    std::function<bool(size_t node)> is_speaking;
    // Whether it has a buffer to receive into. While it has none it cannot hear who boots, nor prove to that
    // one who it is; if it does not speak either, it is cut off on every network.
    std::function<bool(size_t node)> can_hear;
  };
  Oracle(const Settings& settings, Complain complain) : settings_(settings), complain_(std::move(complain)) {}

  // A frame goes onto a wire. `node` is the slot of the node it comes from; kHost: a client or a backend. The
  // node gave it to its port at `given`: what a device had held back since before another node began to speak
  // is no word against that one.
  static constexpr size_t kHost = SIZE_MAX;
  void observe(size_t node, std::span<const uint8_t> frame, Instant given, Instant now);
  // The node was killed: what it said until now was its right.
  void note_death(size_t node);
  // What has been said since then in the name of this address was lost with the node that said it.
  void forget(uint32_t address, Instant since);
  void excuse_voices() { settings_.judges_voices = false; }

  struct Counts {
    uint64_t segments = 0;  // of the group
    uint64_t resets = 0;
    uint64_t claims = 0;
    uint64_t late_words = 0;  // frames of a node that had been replaced
    uint64_t changes = 0;     // of the voice
  };
  const Counts& counts() const { return counts_; }

 private:
  using Flow = std::array<uint64_t, 2>;  // (source, port), (destination, port)
  struct Direction {
    bool begun = false;
    bool is_stray = false;  // of a connection that a host opened for the SYN of a former owner
    uint32_t iss = 0;
    uint8_t scale = 0;
    bool scale_applies = false;
    uint64_t said = 0;  // first offset that was not said yet; the SYN is offset 0
    bool has_ack = false;
    uint64_t acked = 0;
    uint64_t edge = 0;  // of the other direction's bytes
    struct Step {
      Instant at;
      uint64_t acked, edge;
    };
    std::deque<Step> steps;  // what they were before they moved, and when; of late only
    bool offers_timestamps = false;
    bool timestamped = false;
    uint32_t timestamp = 0;
  };
  struct Tenure {  // an unbroken run of one node's words
    size_t node = kHost;
    Instant first{}, last{};
    uint64_t frames = 0, forbidden = 0;
    uint64_t contradicting = 0;  // while the node before was speaking
    bool died = false;
  };
  bool is_late(size_t node, Instant given) const;
  bool is_contradicted(const Tenure& before, Instant now) const;
  void take_word(size_t node, bool is_forbidden_late, Instant now);
  void judge(const Tcp& segment, bool from_node, Instant now);
  void judge_timestamp(const Tcp& segment, Direction& d, const Direction& other);
  void judge_acknowledgement(const Tcp& segment, Direction& d, Direction& other, Instant now);
  void complain(const Tcp& segment, const std::string& what);
  static Flow reverse(const Flow& flow) { return {flow[1], flow[0]}; }
  static Flow flow_of(const Tcp& s) {
    return {uint64_t{s.source} << 16 | s.source_port, uint64_t{s.destination} << 16 | s.destination_port};
  }

  Settings settings_;
  Complain complain_;
  std::map<Flow, Direction> directions_;
  std::set<Flow> late_syns_;
  Tenure before_, current_;
  Counts counts_;
};

}  // namespace understudy::sim
