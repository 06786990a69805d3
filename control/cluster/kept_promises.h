#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "common/strong.h"
#include "control/cluster/votes.h"

namespace understudy::cluster {

// What a member has promised for each group. Nothing: it has promised something, and does not know what.
using Promises = std::map<GroupId, std::optional<KeptPromise>>;

// The file in which a member keeps its promises: a version, an entry for each group, and a checksum, so that
// half a file is not taken for a whole one.
std::vector<uint8_t> encode_promises(const Promises& promises);
// Nothing when the bytes are not what encode_promises() wrote.
std::optional<Promises> decode_promises(std::span<const uint8_t> bytes);

}  // namespace understudy::cluster
