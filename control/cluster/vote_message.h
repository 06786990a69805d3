#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/strong.h"
#include "control/cluster/votes.h"

namespace understudy::cluster {

// What members say to each other about a group, one message in each vote frame (ClusterFrameKind::vote). Who
// says it, and in which life, stands in the frame's header.
struct VoteMessage {
  enum class Kind : uint8_t {
    request = 1,   // TAKEOVER_REQUEST: a candidate asks everybody
    answer = 2,    // GRANT or DENY, for the candidate of answer.ballot
    release = 3,   // request.ballot is over for good: whoever comes next need not wait for it
    record = 4,    // an owner, or a candidate with grants: this is the in-sync set from now on
    recorded = 5,  // confirms that record to its owner
  };
  Kind kind = Kind::request;
  GroupId group;
  // request, answer: which of its questions the candidate's life `asker` means. An answer to a former one
  // says nothing of this one, although both may be about the same ballot.
  BootId asker;
  uint32_t question = 0;
  TakeoverRequest request;   // request; release: the ballot only
  bool never_owned = false;  // release: nor has the sender owned under it
  TakeoverAnswer answer;     // answer
  InSyncRecord record;       // record, recorded; request: the newest that the candidate knows of
};

// In the version-tolerant form of heartbeats: what follows the fields of this version is skipped. Nothing
// when malformed: truncated, an unknown kind or reason, a ballot of node 0.
std::vector<uint8_t> encode(const VoteMessage& message);
std::optional<VoteMessage> decode_vote_message(std::span<const uint8_t> bytes);

}  // namespace understudy::cluster
