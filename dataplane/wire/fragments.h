#pragma once

#include <array>
#include <vector>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "common/address.h"
#include "common/instant.h"

namespace understudy::wire {

// Puts IPv4 and IPv6 packets together again from their fragments (RFC 791 section 3.2, RFC 8200 section 4.5),
// within bounds: so many packets at a time, so many fragments each, so long, and no larger than a buffer.
// Fragments that overlap end their packet, and all that follow of it (RFC 5722; for IPv4 alike); one that
// came twice, byte for byte, is let be. What does not fit is dropped, and every drop is counted. One thread.
class FragmentTable {
 public:
  struct Settings {
    uint32_t packets = 64;   // the oldest makes way
    Duration timeout = 15s;  // from the first fragment on
  };
  struct Counters {  // fragments that were dropped; whole packets
    uint64_t reassembled = 0;
    uint64_t malformed = 0;
    uint64_t overlapping = 0;
    uint64_t late = 0;   // their packet was not whole in time, or made way
    uint64_t large = 0;  // of a packet with too many of them, or that no buffer holds
    uint64_t dropped() const { return malformed + overlapping + late + large; }
  };
  FragmentTable(const Settings& settings, rte_mempool* pool);
  ~FragmentTable();
  FragmentTable(const FragmentTable&) = delete;
  FragmentTable& operator=(const FragmentTable&) = delete;

  // `frame` begins with its Ethernet header. An IPv6 packet counts as a fragment when its fragment header
  // follows the fixed one; elsewhere nobody puts it, and parse_frame drops it.
  static bool is_fragment(const rte_mbuf* frame);
  // Takes a fragment. The whole packet when it is the last one that was missing, as a frame of its own with
  // the Ethernet header of its first fragment; null otherwise.
  rte_mbuf* add(rte_mbuf* frame, Instant now);
  void expire(Instant now);

  const Counters& counters() const { return counters_; }
  uint32_t packets() const;  // that are being put together

 private:
  static constexpr size_t kFragmentsMost = 16;
  static constexpr uint32_t kUnknown = UINT32_MAX;
  struct Key {
    IpAddress source, destination;
    uint32_t identification = 0;
    uint8_t protocol = 0;  // IPv4; an IPv6 packet is known by the rest
    bool is_v4 = true;
    bool operator==(const Key&) const = default;
  };
  struct Piece {
    rte_mbuf* frame = nullptr;
    uint16_t data = 0;  // where its bytes begin in the frame
    uint16_t length = 0;
    uint32_t offset = 0;  // in the packet
    bool more = false;
    uint32_t end() const { return offset + length; }
  };
  struct Packet {
    bool taken = false;
    bool refused = false;  // an overlap was seen: the rest of it is dropped, too
    Key key;
    Instant since{};
    uint32_t total = kUnknown;
    size_t count = 0;
    std::array<Piece, kFragmentsMost> pieces;
  };
  static bool read(const rte_mbuf* frame, Key& key, Piece& piece);
  Packet& packet_of(const Key& key, Instant now);
  void forget(Packet& packet, uint64_t& reason);
  void refuse(Packet& packet, const Piece& piece, uint64_t& reason);
  rte_mbuf* put_together(Packet& packet);

  Settings settings_;
  rte_mempool* pool_;
  std::vector<Packet> packets_;
  Counters counters_;
};

}  // namespace understudy::wire
