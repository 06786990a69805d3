#include "dataplane/tcp/path_mtu_table.h"

#include <algorithm>

namespace understudy::tcp {

PathMtuTable::PathMtuTable(const Secret& secret) : secret_(secret), buckets_(kBuckets) {}

size_t PathMtuTable::bucket_of(const IpAddress& peer) const {
  return siphash(secret_, peer.bytes().data(), peer.bytes().size()) % kBuckets;
}

uint16_t PathMtuTable::find(const IpAddress& peer, Instant now) const {
  for (const Entry& entry : buckets_[bucket_of(peer)])
    if (entry.mtu != 0 && entry.peer == peer && entry.until > now) return entry.mtu;
  return 0;
}

void PathMtuTable::note(const IpAddress& peer, uint16_t mtu, Instant now) {
  Bucket& bucket = buckets_[bucket_of(peer)];
  auto at = std::ranges::find(bucket, peer, &Entry::peer);
  if (at == bucket.end()) at = std::ranges::min_element(bucket, {}, &Entry::until);
  *at = {peer, mtu, now + kLife};
}

void PathMtuTable::inherit(const IpAddress& peer, uint16_t mtu, Instant now) {
  // Owners look once a second whether theirs has run out.
  constexpr Duration kNotLookedYet = 2s;
  const Bucket& bucket = buckets_[bucket_of(peer)];
  const auto at = std::ranges::find(bucket, peer, &Entry::peer);
  if (at == bucket.end() || at->mtu != mtu || at->until + kNotLookedYet <= now) note(peer, mtu, now);
}

}  // namespace understudy::tcp
