// The standby's side of a planned hand-over, and the former owner's turn as the mirror of its successor.
#include <algorithm>
#include <iterator>

#include "dataplane/mirror/replica.h"
#include "dataplane/mirror/soft_record.h"

namespace understudy::mirror {

bool Replica::apply_soft(std::span<const uint8_t> record, Instant now) {
  SoftRecord r;
  if (!load_soft(record, r) || r.leg.get() >= by_owner_leg_.size()) return false;
  const uint32_t leg = mapped(r.leg.get());
  if (leg == tcp::kNone) return true;
  tcp::Soft* soft = engine_.take_handed_soft(leg, now);
  if (soft == nullptr) return true;  // none left: this leg starts as after a crash
  restore(r, engine_.legs()[leg], *soft, now);
  handed_.push_back(engine_.legs().id_of(leg));
  return true;
}

bool Replica::apply_sent(std::span<const uint8_t> record, Instant now) {
  SentRecord r;
  if (!load(record, r) || r.leg.get() >= by_owner_leg_.size()) return false;
  const uint32_t leg = mapped(r.leg.get());
  if (leg == tcp::kNone || engine_.legs()[leg].soft == tcp::kNone) return true;
  for (auto rest = record.subspan(sizeof r); !rest.empty(); rest = rest.subspan(sizeof(SentEntry))) {
    SentEntry entry;
    if (!load(rest, entry)) return false;
    if (engine_.add_handed_sent(leg, sent_segment_of(entry, now))) continue;
    engine_.forget_soft(leg);
    return true;
  }
  return true;
}

bool Replica::apply_early(std::span<const uint8_t> record) {
  EarlyRecord r;
  if (!load(record, r) || r.leg.get() >= by_owner_leg_.size()) return false;
  const uint32_t leg = mapped(r.leg.get());
  if (leg == tcp::kNone || engine_.legs()[leg].soft == tcp::kNone) return true;
  const auto bytes = record.subspan(sizeof r);
  if (bytes.empty() || engine_.legs()[leg].rx == tcp::kNone) return false;
  // Without room these bytes are lost, and their sender finds out: the peer had only been told that they
  // came.
  engine_.add_handed_early(leg, r.offset.get(), bytes);
  return true;
}

bool Replica::apply_release(std::span<const uint8_t> record, Instant now) {
  ReleaseRecord r;
  if (!load(record, r)) return false;
  for (tcp::GroupIndex group = 0; group < engine_.groups(); ++group) {
    if (engine_.group(group).id != GroupId(r.group.get()) || engine_.group(group).voice) continue;
    engine_.group(group).clock.advance_to(r.clock_us.get(), now);
    owner_leaves_ = r.leaves != 0;
    if (state_ == State::synced && !is_released(group)) released_.push_back(group);
  }
  return true;
}

// What is in flight must be what the leg can send again, without a gap: the engine takes that for granted.
bool Replica::is_sound(uint32_t leg) const {
  const tcp::Connection& c = engine_.legs()[leg];
  if (c.tx == tcp::kNone || c.soft == tcp::kNone) return false;
  const tcp::Pipe& tx = engine_.pipes()[c.tx];
  Seq expected = c.snd.una;
  bool sound = true;
  engine_.visit_sent(*engine_.soft_of(c), [&](const tcp::SentSegment& sent) {
    sound = sound && sent.begin == expected && sent.length > 0;
    expected = sent.end();
  });
  const Seq held_end = tcp::send_seq_of(c, std::max(tx.head, tx.tail)) + (tx.fin ? 1 : 0);
  return sound && expected == c.snd.nxt && at_or_before(c.snd.nxt, held_end) &&
         at_or_before(c.rcv.acked, c.rcv.nxt);
}

void Replica::receive_hand_over(tcp::GroupIndex group, Instant now) {
  std::vector<tcp::LegId> handed;
  handed.swap(handed_);
  std::vector<tcp::GroupIndex> released;
  released.swap(released_);
  release(group);
  std::ranges::copy_if(released, std::back_inserter(released_), [&](auto other) { return other != group; });
  for (const tcp::LegId id : handed) {
    if (!engine_.legs().is_live(id)) continue;
    const uint32_t leg = id.index;
    if (engine_.legs()[leg].group != group) handed_.push_back(id);
    if (engine_.legs()[leg].group != group || engine_.legs()[leg].soft == tcp::kNone) continue;
    if (is_sound(leg))
      engine_.wake_handed(leg, now);
    else
      engine_.forget_soft(leg);
  }
}

// Whoever takes over after a crash begins anew: the owner may have gone on since.
void Replica::forget_handed() {
  for (const tcp::LegId id : handed_)
    if (engine_.legs().is_live(id)) engine_.forget_soft(id.index);
  handed_.clear();
  released_.clear();
}

void Replica::inherit(tcp::GroupIndex group, uint32_t index, uint32_t streams) {
  for (uint32_t leg = 0; leg < engine_.legs().capacity(); ++leg) {
    if (!engine_.legs().is_live(leg)) continue;
    const tcp::Connection& c = engine_.legs()[leg];
    if (c.group == group && c.shard % streams == index) inherited_.push_back(engine_.legs().id_of(leg));
  }
  awaits_heir_ = inheriting_ = true;
  state_ = State::syncing;
}

bool Replica::apply_adopt(std::span<const uint8_t> record) {
  AdoptRecord r;
  if (!load(record, r)) return false;
  const uint32_t leg = r.former.get();
  const tcp::ConnectionTable& legs = engine_.legs();
  if (!inheriting_ || r.leg.get() >= kOwnerLegsMax || !legs.is_live(leg)) return false;
  tcp::Connection& c = engine_.legs()[leg];
  if (engine_.group(c.group).voice || c.mirror_leg != tcp::kNone || c.snd.iss != Seq(r.iss.get()))
    return false;
  erase(r.leg.get());
  mapped(r.leg.get()) = leg;
  c.mirror_leg = r.leg.get();
  held_.add(digest_of(r.leg.get(), c.snd.iss));
  ++held_by_group_[c.group];
  return true;
}

void Replica::forget_inherited() {
  for (const tcp::LegId id : inherited_)
    if (engine_.legs().is_live(id) && engine_.legs()[id.index].mirror_leg == tcp::kNone)
      engine_.erase_mirrored(id.index);
  inherited_.clear();
  awaits_heir_ = inheriting_ = false;
}

}  // namespace understudy::mirror
