#include "dataplane/neighbour/neighbour_table.h"

#include <algorithm>
#include <bit>

#include "dataplane/neighbour/address_hash.h"

namespace understudy::neighbour {

NeighbourTable::NeighbourTable(const NeighbourLimits& limits, NeighbourEvents& events)
    : limits_(limits),
      events_(events),
      entries_(limits.entries),
      buckets_(std::bit_ceil(std::max(2 * limits.entries, 2U)), kNone) {}

NeighbourTable::~NeighbourTable() {
  for (uint32_t i = 0; i < entries_.capacity(); ++i) {
    if (entries_.is_taken(i))
      for (uint8_t frame = 0; frame < entries_[i].queued; ++frame) rte_pktmbuf_free(entries_[i].queue[frame]);
  }
}

NeighbourState NeighbourTable::state_in(Stage stage) {
  if (is_incomplete(stage)) return NeighbourState::incomplete;
  if (is_probe(stage)) return NeighbourState::probe;
  return stage == reachable ? NeighbourState::reachable : NeighbourState::stale;
}

Duration NeighbourTable::duration_of(Stage stage) const {
  if (is_incomplete(stage)) return limits_.answer_within[stage - incomplete_1];
  if (is_probe(stage)) return limits_.answer_within[stage - probe_1];
  return stage == reachable ? limits_.reachable : limits_.stale;
}

uint32_t& NeighbourTable::bucket_of(uint16_t port, const IpAddress& ip) {
  return buckets_[address_hash(ip, port) & (buckets_.size() - 1)];
}

uint32_t NeighbourTable::find(uint16_t port, const IpAddress& ip) const {
  uint32_t index = buckets_[address_hash(ip, port) & (buckets_.size() - 1)];
  while (index != kNone && (entries_[index].ip != ip || entries_[index].port != port))
    index = entries_[index].next_in_bucket;
  return index;
}

// Who may go when the table is full: whoever never answered, the longest asked first, then the longest
// stale. Reachable and probed ones are in use.
uint32_t NeighbourTable::oldest_expendable() const {
  for (const Stage stage : {incomplete_3, incomplete_2, incomplete_1, stale})
    if (stages_[stage].first != kNone) return stages_[stage].first;
  return kNone;
}

uint32_t NeighbourTable::create(uint16_t port, const IpAddress& ip, Stage stage, Instant now) {
  if (entries_.taken() == entries_.capacity()) {
    const uint32_t victim = oldest_expendable();
    if (victim == kNone) return kNone;
    remove(victim);
  }
  const uint32_t index = entries_.take();
  if (index == kNone) return kNone;
  Entry& entry = entries_[index];
  entry.ip = ip;
  entry.port = port;
  uint32_t& bucket = bucket_of(port, ip);
  entry.next_in_bucket = bucket;
  bucket = index;
  link(index, stage, now);
  return index;
}

void NeighbourTable::remove(uint32_t index) {
  Entry& entry = entries_[index];
  for (uint8_t i = 0; i < entry.queued; ++i) events_.drop(DropReason::neighbour_unresolved, entry.queue[i]);
  queued_frames_ -= entry.queued;
  unlink(index);
  uint32_t* from = &bucket_of(entry.port, entry.ip);
  while (*from != index) from = &entries_[*from].next_in_bucket;
  *from = entry.next_in_bucket;
  entries_.release(index);
}

void NeighbourTable::link(uint32_t index, Stage stage, Instant now) {
  Entry& entry = entries_[index];
  List& list = stages_[stage];
  entry.stage = stage;
  entry.deadline = now + duration_of(stage);
  entry.earlier = list.last;
  entry.later = kNone;
  (list.last == kNone ? list.first : entries_[list.last].later) = index;
  list.last = index;
}

void NeighbourTable::unlink(uint32_t index) {
  const Entry& entry = entries_[index];
  List& list = stages_[entry.stage];
  (entry.earlier == kNone ? list.first : entries_[entry.earlier].later) = entry.later;
  (entry.later == kNone ? list.last : entries_[entry.later].earlier) = entry.earlier;
}

void NeighbourTable::enter(uint32_t index, Stage stage, Instant now) {
  unlink(index);
  link(index, stage, now);
}

// A known neighbour is asked at its own address, which disturbs nobody else; the last time everybody is
// asked, for its MAC may have changed.
void NeighbourTable::ask(uint32_t index) {
  const Entry& entry = entries_[index];
  const bool alone = entry.stage == probe_1 || entry.stage == probe_2;
  events_.ask(entry.port, entry.ip, alone ? entry.mac : MacAddress::broadcast(), entry.source);
}

// The latest is kept (RFC 1122 section 2.3.2.2): what waits for long is data, which is sent again, and behind
// it may come a reset, which is not.
void NeighbourTable::enqueue(Entry& entry, rte_mbuf* frame) {
  if (entry.queued == kQueueLength || queued_frames_ >= limits_.queued_frames) {
    if (entry.queued == 0) return events_.drop(DropReason::neighbour_queue_full, frame);
    events_.drop(DropReason::neighbour_queue_full, entry.queue[0]);
    std::copy(entry.queue.begin() + 1, entry.queue.begin() + entry.queued, entry.queue.begin());
    entry.queue[entry.queued - 1] = frame;
    return;
  }
  entry.queue[entry.queued++] = frame;
  ++queued_frames_;
}

void NeighbourTable::drain(Entry& entry) {
  for (uint8_t i = 0; i < entry.queued; ++i) events_.forward(entry.port, entry.mac, entry.queue[i]);
  queued_frames_ -= entry.queued;
  entry.queued = 0;
}

void NeighbourTable::send(uint16_t port, const IpAddress& ip, const IpAddress& source, rte_mbuf* frame,
                          Instant now) {
  uint32_t index = find(port, ip);
  if (index == kNone) {
    index = create(port, ip, incomplete_1, now);
    if (index == kNone) {
      events_.drop(DropReason::neighbour_unresolved, frame);
      return;
    }
    entries_[index].source = source;
    enqueue(entries_[index], frame);
    ask(index);
    return;
  }
  Entry& entry = entries_[index];
  if (is_incomplete(entry.stage)) {
    enqueue(entry, frame);
    return;
  }
  entry.used = true;
  events_.forward(port, entry.mac, frame);
  if (entry.stage == stale) {
    entry.source = source;
    enter(index, probe_1, now);
    ask(index);
  }
}

bool NeighbourTable::warm(uint16_t port, const IpAddress& ip, const IpAddress& source, Instant now) {
  uint32_t index = find(port, ip);
  if (index == kNone) {
    index = create(port, ip, incomplete_1, now);
    if (index == kNone) return false;
  } else if (entries_[index].stage == stale) {
    enter(index, probe_1, now);
  } else {
    entries_[index].used = true;
    return false;
  }
  entries_[index].source = source;
  ask(index);
  return true;
}

// Only an answer proves that the neighbour hears us too; all else that is new makes the entry usable and
// leaves the proof to the probe on its next use. News that are none change nothing.
void NeighbourTable::heard(uint16_t port, const IpAddress& ip, const MacAddress& mac, Heard how,
                           Instant now) {
  uint32_t index = find(port, ip);
  if (index == kNone) {
    if (how != Heard::request_to_us) return;
    index = create(port, ip, stale, now);
    if (index == kNone) return;
    entries_[index].mac = mac;
    return;
  }
  Entry& entry = entries_[index];
  const bool is_new = is_incomplete(entry.stage) || entry.mac != mac;
  entry.mac = mac;
  if (how == Heard::answer) {
    entry.used = entry.queued > 0;
    enter(index, reachable, now);
  } else if (is_new) {
    enter(index, stale, now);
  }
  drain(entry);
}

void NeighbourTable::doubt(uint16_t port, const IpAddress& ip, Instant now) {
  const uint32_t index = find(port, ip);
  if (index != kNone && entries_[index].stage == reachable) enter(index, stale, now);
}

void NeighbourTable::time_out(uint32_t index, Instant now) {
  const Entry& entry = entries_[index];
  switch (entry.stage) {
    case incomplete_1:
    case incomplete_2:
    case probe_1:
    case probe_2:
      enter(index, static_cast<Stage>(entry.stage + 1), now);
      ask(index);
      return;
    case reachable:
      enter(index, entry.used ? probe_1 : stale, now);
      if (is_probe(entry.stage)) ask(index);
      return;
    case incomplete_3:
    case stale:
    case probe_3:
      remove(index);
      return;
  }
}

void NeighbourTable::tick(Instant now) {
  for (const List& list : stages_)
    while (list.first != kNone && entries_[list.first].deadline <= now) time_out(list.first, now);
}

Instant NeighbourTable::next_deadline() const {
  Instant next = kNever;
  for (const List& list : stages_)
    if (list.first != kNone) next = std::min(next, entries_[list.first].deadline);
  return next;
}

std::optional<NeighbourState> NeighbourTable::state_of(uint16_t port, const IpAddress& ip) const {
  const uint32_t index = find(port, ip);
  if (index == kNone) return std::nullopt;
  return state_in(entries_[index].stage);
}

std::optional<MacAddress> NeighbourTable::mac_of(uint16_t port, const IpAddress& ip) const {
  const uint32_t index = find(port, ip);
  if (index == kNone || is_incomplete(entries_[index].stage)) return std::nullopt;
  return entries_[index].mac;
}

}  // namespace understudy::neighbour
