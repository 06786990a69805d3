// Ownership packets, one after the other into the same book: whole ones, parts, old ones, damaged ones.
#include "common/check.h"
#include "control/cluster/ownership.h"
#include "tests/fuzz/input.h"

using namespace understudy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  cluster::OwnershipBook book;
  Instant now{1s};
  for (int packets = 0; packets < 16 && !input.empty(); ++packets) {
    const ExactCopy copy(input.bytes(input.word() % (cluster::kOwnershipPacketMax + 64)));
    now += 1ms;
    const auto part = cluster::decode_ownership_part(copy.span());
    if (part) {
      invariant(part->index < part->count && part->count <= cluster::kOwnershipPartsMax,
                "a part outside its whole");
    }
    if (book.learn(copy.span(), now) != cluster::OwnershipBook::Verdict::news) continue;
    invariant(part.has_value(), "news from a packet that does not parse");
    const auto* entry = book.of(part->node);
    invariant(entry != nullptr && entry->heard == now, "news that nobody can read");
    for (const auto& packet : cluster::encode(entry->ownership))
      invariant(packet.size() <= cluster::kOwnershipPacketMax, "a packet too large");
  }
  return 0;
}
