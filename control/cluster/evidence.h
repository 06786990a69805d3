#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/instant.h"
#include "common/strong.h"
#include "control/cluster/ownership.h"
#include "dataplane/mirror/heartbeat.h"

namespace understudy::cluster {

// What a node knew of an owner at the moment in which it began to suspect it, or heard that it gives the
// group up. Spans reach back from that moment.
struct Evidence {
  struct Link {
    std::string name;
    std::optional<Duration> silent;  // nothing: the owner was never heard on it
  };
  std::vector<Link> links;
  Duration without_progress{0};  // of that worker of the owner which had stood still for the longest time
  mirror::GroupRole said = mirror::GroupRole::idle;  // of itself, in its last heartbeat
  uint32_t legs = 0;                                 // likewise
  uint32_t unprotected = 0;                          // likewise
  std::vector<std::string> others;                   // names of the other nodes that were heard then
};

// Why a node was free to claim once it wanted the group.
enum class Consent : uint8_t {
  handed,     // the former owner handed the group over, with everything in it
  released,   // the former owner gave it up
  witnessed,  // a gateway or a backend answered after the suspicion began: it is not this node that is cut
              // off
  alone,      // nobody answered, no other node either: at boot that is enough after a while
  unasked,    // neither a gateway nor a backend is configured
  voted,      // the arbiter granted it
};

// A change of a group's owner, as the node saw it that took the group: evidence, decision and timeline.
// Instants are those of its clock; a worker's are the beginnings of the rounds in which it acted.
struct Takeover {
  NodeId from;  // nobody at a first claim
  std::string from_name;
  Epoch epoch;
  std::string why;
  Instant last_heartbeat;  // of the old owner; equal to `suspected` when there was none
  Instant suspected;
  std::optional<Instant> witnessed;
  std::optional<Instant> asked;  // the arbiter, for the last time; nothing without one
  Instant decided;               // Promote was issued
  std::optional<Instant> announced;
  std::optional<Instant> first_packet;  // to a client or a backend
  bool handed = false;                  // planned, by the old owner's own hand
  bool cold = false;                    // without the old connections
  uint32_t legs_lost = 0;
  Consent consent = Consent::unasked;
  std::string verdict;  // voted: what the arbiter said
  Readiness held = Readiness::none;
  uint32_t legs_held = 0;  // here, when it was claimed
  Evidence evidence;
};

// The parts of a takeover. Together they reach from the last sign of life of the old owner to the first
// packet of the new one, without gaps and without overlaps.
struct TakeoverSplit {
  Duration detection{0};                 // last sign of life to suspicion
  Duration decision{0};                  // to the claim
  std::optional<Duration> claim;         // to the announcement of the addresses
  std::optional<Duration> first_packet;  // to the first packet to a client or a backend
};
TakeoverSplit split(const Takeover& takeover);

// Sentences for people, in the words of the events.
std::string tell_what(const Takeover& takeover);  // "takeover from n1", "handed over by n1", "first claim"
std::string tell_signs_of_life(const Takeover& takeover);  // of the old owner; empty at a first claim
std::string tell_consent(const Takeover& takeover);
std::string tell_holdings(const Takeover& takeover);  // what was held here
std::string tell_losses(const Takeover& takeover);

}  // namespace understudy::cluster
