#include "dataplane/mirror/greeting.h"

#include "common/check.h"
#include "dataplane/mirror/cluster_bytes.h"

namespace understudy::mirror {

std::vector<uint8_t> encode_greeting(std::span<const GreetingEntry> entries) {
  invariant(entries.size() <= kGreetingEntriesMax, "greeting: more entries than one carries");
  ByteWriter out;
  for (const GreetingEntry& entry : entries) {
    out.u16(entry.node.value());
    out.u64(entry.boot.value());
    out.boolean(entry.is_answer);
    out.u64(entry.number);
  }
  return out.take();
}

std::vector<GreetingEntry> decode_greeting(std::span<const uint8_t> bytes) {
  ByteReader in(bytes);
  std::vector<GreetingEntry> entries;
  while (in.remaining() > 0 && entries.size() < kGreetingEntriesMax) {
    GreetingEntry entry;
    entry.node = NodeId(in.u16());
    entry.boot = BootId(in.u64());
    entry.is_answer = in.boolean();
    entry.number = in.u64();
    if (!in.ok()) break;
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace understudy::mirror
