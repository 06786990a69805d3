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

void PathMtuTable::put(const Entry& entry) {
  Bucket& bucket = buckets_[bucket_of(entry.peer)];
  auto at = std::ranges::find(bucket, entry.peer, &Entry::peer);
  if (at == bucket.end()) at = std::ranges::min_element(bucket, {}, &Entry::until);
  *at = entry;
}

void PathMtuTable::note(const IpAddress& peer, uint16_t mtu, Instant now) {
  put({.peer = peer, .mtu = mtu, .guessed = false, .until = now + kLife});
}

bool PathMtuTable::guess(const IpAddress& peer, uint16_t mtu, Instant now) {
  const uint16_t known = find(peer, now);
  if (known != 0 && known <= mtu) return false;
  put({.peer = peer, .mtu = mtu, .guessed = true, .until = now + kLife});
  return true;
}

bool PathMtuTable::take_back_guess(const IpAddress& peer) {
  Bucket& bucket = buckets_[bucket_of(peer)];
  const auto at = std::ranges::find(bucket, peer, &Entry::peer);
  if (at == bucket.end() || !at->guessed) return false;
  *at = {};
  return true;
}

void PathMtuTable::forget(const IpAddress& peer) {
  Bucket& bucket = buckets_[bucket_of(peer)];
  const auto at = std::ranges::find(bucket, peer, &Entry::peer);
  if (at != bucket.end()) *at = {};
}

void PathMtuTable::inherit(const IpAddress& peer, uint16_t mtu, Instant now) {
  // Owners look once a second whether theirs has run out.
  constexpr Duration kNotLookedYet = 2s;
  const Bucket& bucket = buckets_[bucket_of(peer)];
  const auto at = std::ranges::find(bucket, peer, &Entry::peer);
  if (at == bucket.end() || at->mtu != mtu || at->until + kNotLookedYet <= now) note(peer, mtu, now);
}

}  // namespace understudy::tcp
