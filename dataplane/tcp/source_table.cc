#include "dataplane/tcp/source_table.h"

#include <algorithm>
#include <bit>

#include "common/check.h"

namespace understudy::tcp {
namespace {

IpAddress network_of(const IpAddress& source) {
  if (source.is_v4()) return source;
  auto bytes = source.bytes();
  std::fill(bytes.begin() + 8, bytes.end(), uint8_t{0});
  return IpAddress(bytes);
}

}  // namespace

SourceTable::SourceTable(uint32_t connections_most, const Secret& secret)
    : secret_(secret), entries_(std::bit_ceil(size_t{2} * connections_most + 2)) {}

size_t SourceTable::home_of(const IpAddress& network) const {
  return siphash(secret_, network.bytes().data(), network.bytes().size()) & (entries_.size() - 1);
}

size_t SourceTable::find(const IpAddress& network) const {
  size_t at = home_of(network);
  while (!entries_[at].is_free() && entries_[at].source != network) at = (at + 1) & (entries_.size() - 1);
  return at;
}

uint32_t SourceTable::count(const IpAddress& source, Burden burden) const {
  return entries_[find(network_of(source))].counts[static_cast<size_t>(burden)];
}

void SourceTable::add(const IpAddress& source, Burden burden) {
  const IpAddress network = network_of(source);
  Entry& entry = entries_[find(network)];
  if (entry.is_free()) {
    invariant(2 * size_t{++used_} <= entries_.size(), "source table: more sources than connections");
    entry.source = network;
  }
  ++entry.counts[static_cast<size_t>(burden)];
}

void SourceTable::remove(const IpAddress& source, Burden burden) {
  const size_t at = find(network_of(source));
  uint32_t& count = entries_[at].counts[static_cast<size_t>(burden)];
  invariant(count > 0, "source table: a source is taken back that was not added");
  --count;
  if (!entries_[at].is_free()) return;
  --used_;
  close_gap(at);
}

// Entries behind the gap that could have stood there move up (Knuth, volume 3, algorithm 6.4R): no tombstones
// that would fill the table.
void SourceTable::close_gap(size_t free) {
  const size_t mask = entries_.size() - 1;
  for (size_t at = (free + 1) & mask; !entries_[at].is_free(); at = (at + 1) & mask) {
    const size_t home = home_of(entries_[at].source);
    if (((at - home) & mask) < ((at - free) & mask)) continue;  // its home lies behind the gap
    entries_[free] = entries_[at];
    entries_[at] = Entry();
    free = at;
  }
}

}  // namespace understudy::tcp
