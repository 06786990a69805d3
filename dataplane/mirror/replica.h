#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "dataplane/mirror/channel.h"
#include "dataplane/mirror/record.h"
#include "dataplane/tcp/engine.h"

namespace understudy::mirror {

// The standby's end of one mirror stream: keeps the owner's legs in this worker's table, in the same
// hard-state struct, with their voice off. One thread.
class Replica : public ChannelReceiver::Consumer {
 public:
  enum class State : uint8_t {
    none,     // no stream yet
    syncing,  // the snapshot has not ended
    synced,
    stale,  // out of date: legs were discarded, and none may be resumed
  };

  // Of a stream of this group.
  Replica(tcp::Engine& engine, tcp::GroupIndex group);

  void on_open(uint32_t generation, Instant now) override;
  bool on_frame(std::span<const uint8_t> records, rte_mbuf* frame, Instant now) override;
  // Legs that found no room here and that the owner has not closed yet: it has to be told. Their records are
  // not applied any more.
  std::span<const RefusedLeg> refused() const { return refused_; }

  // Out of date, by our own judgement or the owner's word: forgets its legs.
  void mark_stale();
  // The group is ours now: its legs leave this replica's hands. Sessions that had not arrived whole are
  // dropped.
  void release(tcp::GroupIndex group);

  // Planned hand-over (inheritance.cc). The owner has written its last record for the group, which is ours to
  // claim; false again if it writes another one after all.
  bool is_released(tcp::GroupIndex group) const {
    return std::ranges::find(released_, group) != released_.end();
  }
  // Said with the release: the owner will not be there to be our standby.
  bool owner_leaves() const { return owner_leaves_; }
  // Instead of release(): takes the legs over with the soft state that came along.
  void receive_hand_over(tcp::GroupIndex group, Instant now);
  // We were the owner and have released the group: our own legs, which lie down, are the mirror of our
  // successor's, which its stream adopts one by one. Those of shards with `shard % streams == index`.
  void inherit(tcp::GroupIndex group, uint32_t index, uint32_t streams);

  // While the successor's stream adopts what was inherited, nothing is missing here.
  bool is_inheriting() const { return inheriting_; }

  State state() const { return state_; }
  uint32_t legs() const { return held_.legs; }
  uint64_t records() const { return records_; }
  DropCounters& drops() { return drops_; }

 private:
  bool apply(std::span<const uint8_t> record, Instant now);
  bool apply_heard(std::span<const uint8_t> record, Instant now);
  bool apply_open(const OpenRecord& r, bool is_bind, Instant now);
  bool apply_agreed(std::span<const uint8_t> record, Instant now);
  bool apply_segment(std::span<const uint8_t> record, Instant now);
  bool apply_output(std::span<const uint8_t> record);
  bool apply_close(std::span<const uint8_t> record);
  bool apply_soft(std::span<const uint8_t> record, Instant now);
  bool apply_sent(std::span<const uint8_t> record, Instant now);
  bool apply_early(std::span<const uint8_t> record);
  bool apply_adopt(std::span<const uint8_t> record);
  bool apply_digest(std::span<const uint8_t> record);
  bool apply_release(std::span<const uint8_t> record, Instant now);
  bool is_sound(uint32_t leg) const;
  void forget_inherited();
  void forget_handed();
  void apply_state(tcp::Connection& c, uint32_t leg, const LegState& state);
  void forget_all();
  void forget_mapped();
  void erase(uint32_t owner_leg);
  void refuse(uint32_t owner_leg, Seq iss);
  void refuse_session(uint32_t owner_leg);
  bool is_refused(uint32_t owner_leg) const;
  void accept_refusal(uint32_t owner_leg);
  uint32_t& mapped(uint32_t owner_leg);

  tcp::Engine& engine_;
  const tcp::GroupIndex group_;
  State state_ = State::none;
  std::vector<uint32_t> by_owner_leg_;  // our leg for the owner's, tcp::kNone if there is none
  std::vector<uint32_t> incomplete_;    // owner's legs that have not arrived whole
  std::vector<RefusedLeg> refused_;
  std::vector<tcp::LegId> handed_;     // our legs whose soft state has come
  std::vector<tcp::LegId> inherited_;  // our own legs, until the owner's stream has adopted each
  bool awaits_heir_ = false;           // the next stream continues what we inherited
  bool inheriting_ = false;            // until that stream's snapshot has ended
  std::vector<tcp::GroupIndex> released_;
  bool owner_leaves_ = false;
  Digest held_;                                // all that is mapped
  std::array<uint32_t, 256> held_by_group_{};  // by the engine's group index
  uint64_t records_ = 0;
  DropCounters drops_;
};

}  // namespace understudy::mirror
