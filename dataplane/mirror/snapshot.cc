// How sessions come into the owner's stream: when they begin, when they first change, and by the cursor that
// looks for those that are not there; and how they leave it again when the standby has no room.
#include <algorithm>
#include <cstring>

#include "dataplane/mirror/owner_log.h"

namespace understudy::mirror {
namespace {

// So long nothing is offered to a standby that has no room, and so many slots a round are then looked
// through for legs that it does not have.
constexpr Duration kFullFor = 1s;
constexpr uint32_t kSlotsPerRound = 4096;

}  // namespace

// What the legs of a session that are not in the stream yet will take there.
uint64_t OwnerLog::bytes_to_open(uint32_t client) const {
  const auto& legs = engine_.legs();
  uint64_t received = 0;
  uint64_t written = 0;  // by an application
  uint64_t headers = 512;
  for (const uint32_t leg : {client, legs[client].partner}) {
    if (leg == tcp::kNone || legs[leg].mirrored) continue;
    const tcp::Pipe& tx = engine_.pipes()[legs[leg].tx];
    const tcp::Pipe& rx = engine_.pipes()[legs[leg].rx];
    headers += sizeof(OpenRecord) + sizeof(SegmentRecord) + sizeof(HeardRecord);
    received += is_known(legs[leg]) && rx.keeps_unlogged ? rx.tail - std::min(rx.logged, rx.tail) : rx.held();
    if (tx.source == tcp::kNone && !is_known(legs[leg])) written += tx.held();
  }
  // A session larger than the window goes through it piece by piece.
  return headers + std::min(received + written, capacity_ / 2) * 17 / 16;
}

// A leg that we opened comes with the client leg that it serves, unless it is its application's own.
bool OwnerLog::stands_alone(const tcp::Connection& c) const {
  if (!c.active_open) return true;
  const tcp::Service* service = c.partner == tcp::kNone ? engine_.find_service(c.service) : nullptr;
  return service != nullptr && service->application->owns_opened_legs();
}

// In TIME-WAIT with its client gone: nobody loses anything with it, so it does not count as unprotected.
void OwnerLog::exempt_if_over(uint32_t leg) {
  tcp::Connection& c = engine_.legs()[leg];
  if (c.state != tcp::State::time_wait || c.partner != tcp::kNone || c.mirrored || !c.protect) return;
  c.protect = false;
  --engine_.group(c.group).legs;
  ++engine_.group(c.group).legs_exempt;
}

// Both legs of a proxied session, or one leg, with the bytes between.
bool OwnerLog::open_session(uint32_t leg, Instant now) {
  auto& legs = engine_.legs();
  uint32_t client = leg;
  if (legs[leg].active_open && legs[leg].partner != tcp::kNone) client = legs[leg].partner;
  const uint32_t backend = legs[client].partner;
  if (!stands_alone(legs[client]) ||
      (backend != tcp::kNone && legs[backend].mirrored && legs[client].mirrored))
    return false;
  const bool is_held = is_known(legs[client]);
  // The other half of a session is offered all the same: refused, it takes the first half along.
  if (!is_held && !legs[client].mirrored && standby_is_full()) return false;
  if (!is_held && refusal_of(client) != nullptr) return false;
  if (!write_output(now)) return false;
  if (channel_.room() < bytes_to_open(client) + frame_payload_ || !gate_has_room()) return false;
  if (!legs[client].mirrored && !enter(client, RecordKind::open, now)) return false;
  if (backend != tcp::kNone && !legs[backend].mirrored && !enter(backend, RecordKind::bind, now))
    return false;
  if (!is_held) begin_output(client);
  bool whole = write_output(now) && write_segments(client, now);
  if (backend != tcp::kNone) whole = write_segments(backend, now) && whole;
  whole = whole && write_heard(client, now) && (backend == tcp::kNone || write_heard(backend, now));
  if (!whole) {
    // More than the window takes, or the estimate was short: the rest follows when there is room.
    engine_.want_log(client);
    if (backend != tcp::kNone) engine_.want_log(backend);
  }
  ++snapshot_legs_;
  return true;
}

// What an application has written and its peer has not acknowledged; nobody receives it a second time.
void OwnerLog::begin_output(uint32_t leg) {
  const tcp::Connection& c = engine_.legs()[leg];
  const tcp::Pipe& tx = engine_.pipes()[c.tx];
  if (tx.source != tcp::kNone || c.tx == c.rx || c.partner != tcp::kNone || tx.held() == 0) return;
  output_ = {engine_.legs().id_of(leg), tx.head, tx.tail};
}

// True when nothing is left to write.
bool OwnerLog::write_output(Instant now) {
  if (output_.leg.index == tcp::kNone) return true;
  if (!engine_.legs().is_live(output_.leg) || !engine_.legs()[output_.leg.index].mirrored) {
    output_ = {};
    return true;
  }
  const tcp::Pipe& tx = engine_.pipes()[engine_.legs()[output_.leg.index].tx];
  tcp::ReadCursor cursor;
  while (output_.next < output_.end) {
    // What has been acknowledged while it waited is never read: only its place counts.
    const uint64_t held_from = std::min(engine_.pipes().begin_of(tx), output_.end);
    const bool is_gone = output_.next < held_from;
    const auto take = static_cast<uint32_t>(std::min<uint64_t>(
        (is_gone ? held_from : output_.end) - output_.next, frame_payload_ - sizeof(OutputRecord)));
    uint8_t* at = channel_.append(static_cast<uint32_t>(sizeof(OutputRecord)) + take, now);
    if (at == nullptr) return false;
    OutputRecord r{};
    r.header = header_of(RecordKind::output, sizeof r + take);
    r.leg = output_.leg.index;
    std::memcpy(at, &r, sizeof r);
    if (is_gone)
      std::memset(at + sizeof r, 0, take);
    else
      engine_.pipes().copy_out(tx, output_.next, take, at + sizeof r, cursor);
    output_.next += take;
  }
  output_ = {};
  return true;
}

void OwnerLog::snapshot(uint32_t legs_most, Instant now) {
  if (state_ == State::closed || !write_closes(now)) return;
  if (standby_is_full() && now >= full_until_) {
    full_until_ = Instant::min();
    snapshot_next_ = 0;
  }
  auto& legs = engine_.legs();
  uint32_t slots_most = kSlotsPerRound;
  for (; legs_most > 0 && slots_most > 0 && snapshot_next_ < legs.capacity();
       ++snapshot_next_, --slots_most) {
    const uint32_t leg = snapshot_next_;
    if (!legs.is_live(leg)) continue;
    const tcp::Connection& c = legs[leg];
    const tcp::Group& group = engine_.group(c.group);
    if (c.mirrored || !c.protect || group.always_local || !group.voice || !carries(c)) continue;
    // A backend leg comes with its client leg; one whose client is gone only has to finish.
    if (!stands_alone(c)) {
      exempt_if_over(leg);
      continue;
    }
    if (standby_is_full() && !is_known(c)) continue;
    if (!open_session(leg, now)) return;  // no room: go on here next time
    --legs_most;
  }
  write_digest(now);
  if (state_ != State::syncing || snapshot_end_sequence_ != 0 || snapshot_next_ < legs.capacity()) return;
  // Without a free frame the last session may still be on its way in.
  if (write_output(now) && channel_.room() >= frame_payload_ && write_mark(true, now))
    snapshot_end_sequence_ = channel_.current_sequence();
}

// The standby has no room for a leg. Its session says nothing new until the standby has seen its CLOSE: up to
// then it would take over with what it has.
void OwnerLog::on_refused(const RefusedLeg& refused, Instant now) {
  const tcp::ConnectionTable& legs = engine_.legs();
  const uint32_t leg = refused.leg.get();
  // Otherwise the CLOSE of the leg that was meant is under way, or the OPEN that replaces it.
  if (leg >= legs.capacity() || !legs.is_live(leg) || legs[leg].snd.iss != Seq(refused.iss.get())) return;
  if (!legs[leg].mirrored || !carries(legs[leg])) return;
  full_until_ = now + kFullFor;
  give_up_refused(leg);
  const uint32_t partner = legs[leg].partner;
  if (partner != tcp::kNone && legs[partner].mirrored) give_up_refused(partner);
}

void OwnerLog::give_up_refused(uint32_t leg) {
  tcp::Connection& c = engine_.legs()[leg];
  c.mirrored = false;
  --engine_.group(c.group).legs_mirrored;
  refusals_.push_back({engine_.legs().id_of(leg)});
  want_close(leg);
}

OwnerLog::Refusal* OwnerLog::refusal_of(uint32_t leg) {
  if (refusals_.empty() || !engine_.legs().is_live(leg)) return nullptr;
  const auto at = std::ranges::find(refusals_, engine_.legs().id_of(leg), &Refusal::leg);
  return at == refusals_.end() ? nullptr : &*at;
}

void OwnerLog::unprotect_refused() {
  std::erase_if(refusals_, [&](const Refusal& refusal) {
    if (!engine_.legs().is_live(refusal.leg)) return true;
    if (refusal.close_sequence == 0 || refusal.close_sequence > channel_.acknowledged()) return false;
    engine_.commit_all(engine_.legs()[refusal.leg.index]);
    engine_.want_output(refusal.leg.index);
    return true;
  });
}

}  // namespace understudy::mirror
