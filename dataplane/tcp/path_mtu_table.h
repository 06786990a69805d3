#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "common/siphash.h"

namespace understudy::tcp {

// What is known of the paths to peers: the MTUs that routers have named (RFC 1191, RFC 8201), each for a
// while. A bounded table; where it is crowded the oldest entry goes, and its path is found out again. One
// thread; no allocation after construction.
class PathMtuTable {
 public:
  // After this time a larger packet is tried again (RFC 1191 section 6.3, RFC 8201 section 5.3).
  static constexpr Duration kLife = 10min;

  explicit PathMtuTable(const Secret& secret);
  // The MTU of the path to `peer`; 0: not known, or no longer.
  uint16_t find(const IpAddress& peer, Instant now) const;
  void note(const IpAddress& peer, uint16_t mtu, Instant now);
  // As note(), and it can be taken back: nobody has named this MTU. False: a router has named one no larger.
  bool guess(const IpAddress& peer, uint16_t mtu, Instant now);
  bool take_back_guess(const IpAddress& peer);  // false: there was none
  void forget(const IpAddress& peer);
  // What somebody else has learned: the same for a peer that is known already says nothing new.
  void inherit(const IpAddress& peer, uint16_t mtu, Instant now);

 private:
  static constexpr size_t kBuckets = 256;
  struct Entry {
    IpAddress peer;
    uint16_t mtu = 0;
    bool guessed = false;
    Instant until{};
  };
  using Bucket = std::array<Entry, 4>;
  size_t bucket_of(const IpAddress& peer) const;
  void put(const Entry& entry);

  Secret secret_;
  std::vector<Bucket> buckets_;
};

}  // namespace understudy::tcp
