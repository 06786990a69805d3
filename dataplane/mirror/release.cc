// The owner's last words in a planned hand-over: soft state of every active leg, then the release.
#include <algorithm>
#include <cstring>

#include "dataplane/mirror/owner_log.h"
#include "dataplane/mirror/soft_record.h"

namespace understudy::mirror {
// Entries and bytes with their headers, generously: a leg's records leave together or wait for room.
uint64_t OwnerLog::bytes_of_soft(const tcp::Soft& soft) const {
  uint64_t bytes = sizeof(SoftRecord) + sizeof(HeardRecord) + frame_payload_;
  engine_.visit_sent(soft, [&](const tcp::SentSegment&) { bytes += sizeof(SentEntry) + 1; });
  engine_.visit_early(soft, [&](const tcp::Chunk& chunk, std::span<const uint8_t>) {
    bytes += (sizeof(EarlyRecord) + chunk.length) * 2;  // a frame may end half empty before it
  });
  return bytes;
}

bool OwnerLog::write_soft(uint32_t leg, Instant now) {
  const tcp::Connection& c = engine_.legs()[leg];
  const tcp::Soft* soft = engine_.soft_of(c);
  if (soft == nullptr || !c.mirrored) return true;
  // What no window holds at all goes without: such a leg starts as after a crash.
  if (bytes_of_soft(*soft) > capacity_ / 2) return true;
  if (channel_.room() < bytes_of_soft(*soft)) return false;
  uint8_t* at = channel_.append(sizeof(SoftRecord), now);
  if (at == nullptr) return false;
  const SoftRecord r = soft_record_of(c, *soft, leg, now);
  std::memcpy(at, &r, sizeof r);
  return write_heard(leg, now) && write_sent(leg, *soft, now) && write_early(leg, *soft, now);
}

bool OwnerLog::write_sent(uint32_t leg, const tcp::Soft& soft, Instant now) {
  std::vector<SentEntry> entries;
  engine_.visit_sent(soft,
                     [&](const tcp::SentSegment& sent) { entries.push_back(sent_entry_of(sent, now)); });
  const size_t most = (frame_payload_ - sizeof(SentRecord)) / sizeof(SentEntry);
  for (size_t first = 0; first < entries.size(); first += most) {
    const size_t count = std::min(most, entries.size() - first);
    const size_t length = sizeof(SentRecord) + count * sizeof(SentEntry);
    uint8_t* at = channel_.append(static_cast<uint32_t>(length), now);
    if (at == nullptr) return false;
    SentRecord r{};
    r.header = header_of(RecordKind::sent, length);
    r.leg = leg;
    std::memcpy(at, &r, sizeof r);
    std::memcpy(at + sizeof r, &entries[first], count * sizeof(SentEntry));
  }
  return true;
}

bool OwnerLog::write_early(uint32_t leg, const tcp::Soft& soft, Instant now) {
  bool fits = true;
  engine_.visit_early(soft, [&](const tcp::Chunk& chunk, std::span<const uint8_t> bytes) {
    uint64_t offset = chunk.begin;
    while (fits && !bytes.empty()) {
      const size_t take = std::min(bytes.size(), frame_payload_ - sizeof(EarlyRecord));
      uint8_t* at = channel_.append(static_cast<uint32_t>(sizeof(EarlyRecord) + take), now);
      fits = at != nullptr;
      if (!fits) return;
      EarlyRecord r{};
      r.header = header_of(RecordKind::early, sizeof r + take);
      r.leg = leg;
      r.offset = offset;
      std::memcpy(at, &r, sizeof r);
      std::memcpy(at + sizeof r, bytes.data(), take);
      bytes = bytes.subspan(take);
      offset += take;
    }
  });
  return fits;
}

// The former owner has the leg; it needs to hear under which index we speak of it, and what has changed.
bool OwnerLog::write_adopt(uint32_t leg, Instant now) {
  uint8_t* at = channel_.append(sizeof(AdoptRecord), now);
  if (at == nullptr) return false;
  tcp::Connection& c = engine_.legs()[leg];
  engine_.keep_unlogged(c);
  AdoptRecord r{};
  r.header = header_of(RecordKind::adopt, sizeof r);
  r.leg = leg;
  r.former = c.mirror_leg;
  r.iss = c.snd.iss.raw();
  std::memcpy(at, &r, sizeof r);
  engine_.decide_edge(c);
  c.mirrored = true;
  ++engine_.group(c.group).legs_mirrored;
  enter_digest(leg);
  return true;
}

bool OwnerLog::write_release(tcp::GroupIndex group, bool leaves, Instant now) {
  uint8_t* at = channel_.append(sizeof(ReleaseRecord), now);
  if (at == nullptr) return false;
  ReleaseRecord r{};
  r.header = header_of(RecordKind::release, sizeof r);
  r.group = engine_.group(group).id.value();
  r.leaves = leaves ? 1 : 0;
  r.clock_us = engine_.group(group).clock.micros(now);
  std::memcpy(at, &r, sizeof r);
  release_sequence_ = channel_.current_sequence();
  return true;
}

}  // namespace understudy::mirror
