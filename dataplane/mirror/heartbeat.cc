#include "dataplane/mirror/heartbeat.h"

#include "common/check.h"
#include "dataplane/mirror/cluster_bytes.h"

namespace understudy::mirror {
namespace {

// u16 length, fixed fields, u8 number of entries, then per entry u8 length and its fields.

void write_group(ByteWriter& out, const GroupBeat& group) {
  out.u16(group.group.value());
  out.u8(static_cast<uint8_t>(group.role));
  out.epoch(group.epoch);
  out.u64(group.clock_us);
  out.boolean(group.standby_synced);
  out.boolean(group.legs_stale);
  out.u32(group.legs);
  out.u32(group.legs_unprotected);
  out.u16(group.standby.value());
  out.u16(group.dropped_standby.value());
  out.u32(group.dropped_generation);
  out.u32(group.era);
  out.boolean(group.leased);
  out.epoch(group.echoed);
  out.u32(group.echo_number);
}

// False when the entry is shorter than this version's fields. A role that this version does not know leaves
// `known` false: the entry is whole, but not for us.
bool read_group(ByteReader in, GroupBeat& group, bool& known) {
  group.group = GroupId(in.u16());
  const uint8_t role = in.u8();
  known = role <= static_cast<uint8_t>(GroupRole::releasing);
  if (known) group.role = static_cast<GroupRole>(role);
  group.epoch = in.epoch();
  group.clock_us = in.u64();
  group.standby_synced = in.boolean();
  group.legs_stale = in.boolean();
  group.legs = in.u32();
  group.legs_unprotected = in.u32();
  group.standby = NodeId(in.u16());
  group.dropped_standby = NodeId(in.u16());
  group.dropped_generation = in.u32();
  if (in.remaining() > 0) group.era = in.u32();         // a version that knows no pairs does not say it
  if (!in.ok() || in.remaining() == 0) return in.ok();  // of a node that knows no leases
  group.leased = in.boolean();
  group.echoed = in.epoch();
  group.echo_number = in.u32();
  return in.ok();
}

bool read_fixed(ByteReader in, Heartbeat& beat) {
  beat.node = NodeId(in.u16());
  beat.boot = BootId(in.u64());
  beat.worker = in.u16();
  beat.workers = in.u16();
  beat.number = in.u32();
  beat.progress = in.u64();
  beat.reach_front = in.u8();
  beat.reach_back = in.u8();
  return in.ok() && beat.node != NodeId() && beat.worker < beat.workers;
}

}  // namespace

std::vector<uint8_t> encode(const Heartbeat& beat) {
  invariant(beat.groups.size() <= kHeartbeatGroupsMax, "heartbeat: more groups than a heartbeat carries");
  ByteWriter fixed;
  fixed.u16(beat.node.value());
  fixed.u64(beat.boot.value());
  fixed.u16(beat.worker);
  fixed.u16(beat.workers);
  fixed.u32(beat.number);
  fixed.u64(beat.progress);
  fixed.u8(beat.reach_front);
  fixed.u8(beat.reach_back);

  ByteWriter out;
  out.u16(static_cast<uint16_t>(fixed.size()));
  out.raw(fixed.bytes());
  out.u8(static_cast<uint8_t>(beat.groups.size()));
  for (const GroupBeat& group : beat.groups) {
    ByteWriter entry;
    write_group(entry, group);
    out.u8(static_cast<uint8_t>(entry.size()));
    out.raw(entry.bytes());
  }
  return out.take();
}

std::optional<Heartbeat> decode_heartbeat(std::span<const uint8_t> bytes) {
  ByteReader in(bytes);
  Heartbeat beat;
  const uint16_t fixed_length = in.u16();
  if (!read_fixed(ByteReader(in.block(fixed_length)), beat)) return std::nullopt;
  const uint8_t entries = in.u8();
  for (unsigned i = 0; i < entries; ++i) {
    const uint8_t length = in.u8();
    GroupBeat group;
    bool known = false;
    if (!read_group(ByteReader(in.block(length)), group, known)) return std::nullopt;
    if (known && beat.groups.size() < kHeartbeatGroupsMax) beat.groups.push_back(group);
  }
  if (!in.ok()) return std::nullopt;
  return beat;
}

}  // namespace understudy::mirror
