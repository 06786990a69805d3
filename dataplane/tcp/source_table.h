#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/address.h"
#include "common/siphash.h"

namespace understudy::tcp {

// What a connection is queued for, and what is counted per source.
enum class Burden : uint8_t {
  embryonic,  // a SYN was answered, its ACK has not come
  stalled,    // data waits for a peer that keeps its window closed, or acknowledges nothing
  silent,     // nothing has come since the handshake, and nothing was acknowledged; counted, not queued
};
constexpr size_t kBurdens = 3;

// How many connections of each burden a source has: an IPv4 address, or the /64 of an IPv6 one, which is what
// one host is given. Only sources that have some are held. One thread; no allocation after construction. The
// hash is keyed, so nobody outside can fill one place of the table.
class SourceTable {
 public:
  // Holds as many different sources as connections can bear burdens at a time.
  SourceTable(uint32_t connections_most, const Secret& secret);

  uint32_t count(const IpAddress& source, Burden burden) const;
  void add(const IpAddress& source, Burden burden);
  void remove(const IpAddress& source, Burden burden);  // must have been added
  uint32_t sources() const { return used_; }

 private:
  struct Entry {
    IpAddress source;
    std::array<uint32_t, kBurdens> counts{};
    bool is_free() const { return counts == std::array<uint32_t, kBurdens>{}; }
  };
  size_t home_of(const IpAddress& network) const;
  size_t find(const IpAddress& network) const;  // its entry, or the free one where it belongs
  void close_gap(size_t free);

  Secret secret_;
  std::vector<Entry> entries_;  // linear probing, at most half full
  uint32_t used_ = 0;
};

}  // namespace understudy::tcp
