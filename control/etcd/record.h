#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/strong.h"

namespace understudy::etcd {

// What stands under a group's key: who owns it under which epoch, who holds its connections, and which
// request wrote it. The owner is the node of the epoch.
struct Record {
  Epoch epoch;            // zero: nobody has owned the group yet
  NodeId standby;         // in sync with the owner; zero: nobody is
  bool released = false;  // the owner has fallen silent and will not speak under this epoch again
  std::string request;    // drawn by whoever wrote it; the same one is never written twice
  bool holds(NodeId node) const { return node != NodeId() && (node == standby || node == epoch.node); }
  friend bool operator==(const Record&, const Record&) = default;
};

std::string encode(const Record& record);
// Nothing when the text is not what encode() writes.
std::optional<Record> decode_record(std::string_view text);

// The JSON gateway of etcd's API v3 (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/): bodies of POST
// requests, and what comes back. Keys and values travel in base64, 64-bit numbers as strings.
constexpr const char* kRangePath = "/v3/kv/range";
constexpr const char* kTxnPath = "/v3/kv/txn";

// A linearizable read of one key.
std::string range_request(std::string_view key);
// Puts `value` if the key still has that modification revision (0: it does not exist); else reads it.
std::string swap_request(std::string_view key, int64_t revision, std::string_view value);

struct Answer {
  uint64_t cluster = 0;  // id of the etcd cluster that answers
  bool swapped = false;  // of a swap: it was done
  int64_t revision = 0;  // of the key, after the request; 0: it does not exist
  std::string value;     // of the key; empty after a swap that was done
};
// An error, as a sentence, for what an etcd does not say: another status, no JSON, fields missing or of other
// types, the value of another key. `status` is that of HTTP.
Result<Answer> parse_range_answer(int status, std::string_view body, std::string_view key);
Result<Answer> parse_swap_answer(int status, std::string_view body, std::string_view key);

std::string base64(std::string_view bytes);
std::optional<std::string> from_base64(std::string_view text);

}  // namespace understudy::etcd
