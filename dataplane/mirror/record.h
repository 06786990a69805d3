#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "common/byte_order.h"
#include "dataplane/tcp/connection.h"

namespace understudy::mirror {

// What the owner's log says (ARCHITECTURE.md, "The log"). Records are length-prefixed; a reader skips
// kinds that it does not know. Legs are named by the owner's slot index: CLOSE, or the OPEN of its next leg,
// ends a leg.
//
//   kind     carries
//   open     a leg as it stands, without its bytes: on a SYN, and at the head of a snapshot
//   bind     the same for a backend leg, with the client leg that it serves
//   segment  what changed in one burst, with the payload that was accepted in order
//   output   bytes in the send queue of a leg whose application writes them (snapshots only)
//   close    the leg is gone
//   mark     begin or end of a snapshot
//   agreed   what the answer to our SYN settled: before the first segment record of a leg that we opened; and
//            again when the path's MTU or the urgent pointer has changed
//   digest   what the stream holds at this point, to be compared
//   heard    for how long the peer has been silent: after the other records of a leg in a snapshot, and with
//   its
//            soft state; without it, a standby takes the arrival of a record for a sign of life
//   soft, sent, early, release, adopt   a planned hand-over: soft_record.h
enum class RecordKind : uint8_t {
  open = 1,
  bind = 2,
  segment = 3,
  output = 4,
  close = 5,
  mark = 6,
  agreed = 7,
  soft = 8,
  sent = 9,
  early = 10,
  release = 11,
  adopt = 12,
  digest = 13,
  heard = 14
};

// No owner has more slots; a larger number is damage.
constexpr uint32_t kOwnerLegsMax = 1U << 26;

struct RecordHeader {
  be16_t length;  // whole record
  uint8_t kind;
  uint8_t reserved;
};
static_assert(sizeof(RecordHeader) == 4);

// The changing part of the hard state.
struct LegState {
  be32_t rcv_nxt;
  be32_t rcv_edge;
  be32_t snd_una;
  be32_t snd_nxt;
  be32_t snd_wnd;
  be32_t ts_recent;
  uint8_t state;
  uint8_t flags;  // LegStateFlag
  be16_t payload_length;
};
static_assert(sizeof(LegState) == 28);
constexpr uint8_t kLegFinReceived = 0x01;
constexpr uint8_t kLegSendFin =
    0x02;  // the send queue ends in a FIN (said by applications; the partner's follows its leg)
constexpr uint8_t kLegOpened =
    0x04;  // and has no partner, or none any more; a partner's BIND says it for the others
constexpr uint8_t kLegComplete =
    0x08;  // with this record the standby holds everything that the owner has promised

struct SegmentRecord {
  RecordHeader header;
  be32_t leg;
  LegState state;  // payload_length bytes follow, which end at rcv_nxt (less one if a FIN was received)
};
static_assert(sizeof(SegmentRecord) == 36);

struct OpenRecord {
  RecordHeader header;
  be32_t leg;
  LegState state;
  be32_t partner;  // bind: the client leg; otherwise kNone
  std::array<uint8_t, 16> local;
  std::array<uint8_t, 16> remote;
  be16_t local_port;
  be16_t remote_port;
  be16_t service;
  be16_t backend;
  be32_t iss;
  be32_t irs;
  be32_t ts_offset;
  be32_t snd_wnd_max;
  be32_t application_word;
  be64_t rx_head;  // stream offsets: what the receive queue holds begins here ...
  be64_t rx_tail;  // ... after everything below this has been received
  be64_t tx_head;
  be64_t tx_tail;
  be16_t mss;  // as the SYNs settled it
  uint8_t snd_scale;
  uint8_t rcv_scale;
  uint8_t options;  // OpenOption
  uint8_t reserved;
  be16_t path_mtu;  // 0: not limited
};
static_assert(sizeof(OpenRecord) == 4 + 4 + 28 + 4 + 32 + 8 + 20 + 32 + 8);
constexpr uint8_t kOptionWindowScaling = 0x01;
constexpr uint8_t kOptionTimestamps = 0x02;
constexpr uint8_t kOptionSack = 0x04;
constexpr uint8_t kOptionActiveOpen = 0x08;
constexpr uint8_t kOptionEcn = 0x10;
constexpr uint8_t kOptionUrgent = 0x20;  // in agreed only

struct OutputRecord {
  RecordHeader header;
  be32_t leg;  // bytes follow, to the end of the record
};

struct CloseRecord {
  RecordHeader header;
  be32_t leg;
};

struct AgreedRecord {
  RecordHeader header;
  be32_t leg;
  be32_t irs;
  be16_t mss;
  uint8_t snd_scale;
  uint8_t rcv_scale;
  uint8_t options;  // OpenOption
  uint8_t reserved;
  be16_t path_mtu;
  be32_t urgent;  // low bits of the stream offset behind the last urgent byte received; with kOptionUrgent
};
static_assert(sizeof(AgreedRecord) == 24);

struct MarkRecord {
  RecordHeader header;
  uint8_t is_end;
  uint8_t reserved[3];
  be32_t legs;  // that the snapshot held
};

struct DigestRecord {
  RecordHeader header;
  be32_t legs;  // that have an OPEN or BIND, or were adopted, and no CLOSE
  be64_t sum;   // of their digest_of
};
static_assert(sizeof(DigestRecord) == 16);

struct HeardRecord {
  RecordHeader header;
  be32_t leg;
  be32_t unused_ms;  // tcp::Silence
  be16_t unanswered_s;
  uint8_t probes;
  uint8_t reserved;
};
static_assert(sizeof(HeardRecord) == 16);

// One leg's share in a digest: the same leg in another life has another.
constexpr uint32_t digest_of(uint32_t owner_leg, Seq iss) {
  const uint64_t mixed = (uint64_t{owner_leg} << 32 | iss.raw()) * 0x9e3779b97f4a7c15ULL;
  return static_cast<uint32_t>(mixed >> 32) | 1;
}

// What a stream holds, kept up as legs come and go.
struct Digest {
  uint32_t legs = 0;
  uint64_t sum = 0;
  void add(uint32_t share) {
    ++legs;
    sum += share;
  }
  void remove(uint32_t share) {
    --legs;
    sum -= share;
  }
  friend bool operator==(const Digest&, const Digest&) = default;
};

RecordHeader header_of(RecordKind kind, size_t length);  // of the whole record
uint8_t options_of(const tcp::Connection& c);            // OpenOption
LegState leg_state_of(const tcp::Connection& c, bool send_fin);

// A fixed part from the front of a record; false if it is not that long.
template <class T>
bool load(std::span<const uint8_t> bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  return true;
}

// Steps through the records of a frame. Nothing at the end; `malformed` tells whether it ended well.
class RecordReader {
 public:
  explicit RecordReader(std::span<const uint8_t> bytes) : rest_(bytes) {}
  std::optional<std::span<const uint8_t>> next();
  bool malformed() const { return malformed_; }

 private:
  std::span<const uint8_t> rest_;
  bool malformed_ = false;
};

}  // namespace understudy::mirror
