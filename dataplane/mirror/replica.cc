#include "dataplane/mirror/replica.h"

#include <algorithm>
#include <utility>

namespace understudy::mirror {

Replica::Replica(tcp::Engine& engine, tcp::GroupIndex group) : engine_(engine), group_(group) {}

void Replica::on_open(uint32_t, Instant) {
  if (std::exchange(awaits_heir_, false))
    forget_mapped();  // of other groups; what we inherited this stream will name
  else
    forget_all();
  state_ = State::syncing;
}

uint32_t& Replica::mapped(uint32_t owner_leg) {
  if (owner_leg >= by_owner_leg_.size())
    by_owner_leg_.resize(std::max<size_t>(owner_leg + 1, by_owner_leg_.size() * 2), tcp::kNone);
  return by_owner_leg_[owner_leg];
}

void Replica::erase(uint32_t owner_leg) {
  uint32_t& leg = mapped(owner_leg);
  if (leg == tcp::kNone) return;
  --held_by_group_[engine_.legs()[leg].group];
  held_.remove(digest_of(owner_leg, engine_.legs()[leg].snd.iss));
  engine_.erase_mirrored(leg);
  leg = tcp::kNone;
}

// The owner counts a leg as protected until it hears otherwise.
void Replica::refuse(uint32_t owner_leg, Seq iss) {
  drops_.count(DropReason::mirror_no_room);
  accept_refusal(owner_leg);
  refused_.push_back({.leg = owner_leg, .iss = iss.raw()});
}

// Both legs stay as they are: if the owner dies before it has heard of it, they hold all that it has
// promised.
void Replica::refuse_session(uint32_t owner_leg) {
  const tcp::ConnectionTable& legs = engine_.legs();
  const uint32_t partner = legs[mapped(owner_leg)].partner;
  refuse(owner_leg, legs[mapped(owner_leg)].snd.iss);
  if (partner != tcp::kNone && legs[partner].mirror_leg != tcp::kNone)
    refuse(legs[partner].mirror_leg, legs[partner].snd.iss);
}

bool Replica::is_refused(uint32_t owner_leg) const {
  return std::ranges::any_of(refused_,
                             [&](const RefusedLeg& refused) { return refused.leg.get() == owner_leg; });
}

void Replica::accept_refusal(uint32_t owner_leg) {
  std::erase_if(refused_, [owner_leg](const RefusedLeg& refused) { return refused.leg.get() == owner_leg; });
}

void Replica::forget_mapped() {
  for (uint32_t owner_leg = 0; owner_leg < by_owner_leg_.size(); ++owner_leg) erase(owner_leg);
  incomplete_.clear();
  refused_.clear();
  handed_.clear();
  released_.clear();
}

void Replica::forget_all() {
  forget_mapped();
  forget_inherited();
}

void Replica::mark_stale() {
  if (state_ == State::none || state_ == State::stale) return;
  forget_all();
  state_ = State::stale;
}

void Replica::release(tcp::GroupIndex group) {
  forget_handed();
  inherited_.clear();  // ours again, and whole
  awaits_heir_ = inheriting_ = false;
  for (const uint32_t owner_leg : incomplete_) {
    const uint32_t leg = mapped(owner_leg);
    if (leg == tcp::kNone || engine_.legs()[leg].group != group) continue;
    const uint32_t partner = engine_.legs()[leg].partner;
    erase(owner_leg);
    const auto other = std::ranges::find(by_owner_leg_, partner);
    if (partner != tcp::kNone && other != by_owner_leg_.end())
      erase(static_cast<uint32_t>(other - by_owner_leg_.begin()));
  }
  std::erase_if(incomplete_, [&](uint32_t owner_leg) {
    const uint32_t leg = mapped(owner_leg);
    return leg == tcp::kNone || engine_.legs()[leg].group == group;
  });
  // As a rule every leg here is of the group that is taken over: then the map goes as a whole, and promotion
  // takes the same time with ten legs and with a million.
  if (held_by_group_[group] == held_.legs) {
    by_owner_leg_.clear();
    held_by_group_[group] = 0;
    held_ = {};
    return;
  }
  for (uint32_t owner_leg = 0; owner_leg < by_owner_leg_.size(); ++owner_leg) {
    uint32_t& leg = by_owner_leg_[owner_leg];
    if (leg == tcp::kNone || engine_.legs()[leg].group != group) continue;
    held_.remove(digest_of(owner_leg, engine_.legs()[leg].snd.iss));
    leg = tcp::kNone;
    --held_by_group_[group];
  }
}

bool Replica::on_frame(std::span<const uint8_t> records, rte_mbuf*, Instant now) {
  if (state_ == State::stale) return false;
  RecordReader reader(records);
  while (const auto record = reader.next()) {
    ++records_;
    if (apply(*record, now)) continue;
    drops_.count(DropReason::mirror_record_malformed);
    mark_stale();  // the owner's stream and ours no longer agree: nothing of it may be resumed
    return false;
  }
  if (!reader.malformed()) return true;
  drops_.count(DropReason::mirror_record_malformed);
  mark_stale();
  return false;
}

bool Replica::apply(std::span<const uint8_t> record, Instant now) {
  switch (static_cast<RecordKind>(record[offsetof(RecordHeader, kind)])) {
    case RecordKind::open:
    case RecordKind::bind: {
      OpenRecord r;
      return load(record, r) && apply_open(r, r.header.kind == static_cast<uint8_t>(RecordKind::bind), now);
    }
    case RecordKind::agreed:
      return apply_agreed(record, now);
    case RecordKind::segment:
      return apply_segment(record, now);
    case RecordKind::output:
      return apply_output(record);
    case RecordKind::close:
      return apply_close(record);
    case RecordKind::mark: {
      MarkRecord r;
      if (!load(record, r)) return false;
      if (r.is_end) forget_inherited();  // what was not adopted has ended meanwhile
      if (r.is_end && state_ == State::syncing) state_ = State::synced;
      return true;
    }
    case RecordKind::soft:
      return apply_soft(record, now);
    case RecordKind::sent:
      return apply_sent(record, now);
    case RecordKind::early:
      return apply_early(record);
    case RecordKind::release:
      return apply_release(record, now);
    case RecordKind::adopt:
      return apply_adopt(record);
    case RecordKind::digest:
      return apply_digest(record);
    case RecordKind::heard:
      return apply_heard(record, now);
  }
  return true;  // a newer owner's kind
}

bool Replica::apply_open(const OpenRecord& r, bool is_bind, Instant now) {
  const uint32_t owner_leg = r.leg.get();
  if (owner_leg >= kOwnerLegsMax || r.state.state > static_cast<uint8_t>(tcp::State::time_wait)) return false;
  erase(owner_leg);
  accept_refusal(owner_leg);
  released_.clear();  // it goes on after all
  const Seq iss(r.iss.get());
  const FlowKey key{IpAddress(r.local), IpAddress(r.remote), PortNumber(r.local_port.get()),
                    PortNumber(r.remote_port.get())};
  const tcp::Service* service = engine_.find_service(ServiceId(r.service.get()));
  // A service that this node does not know, or a group that it owns itself: configurations or views differ.
  if (service == nullptr || !engine_.serves(group_, *service) || engine_.group(group_).voice) {
    refuse(owner_leg, iss);
    return true;
  }
  if (const uint32_t old = engine_.legs().find(key); old != tcp::kNone) {
    // Of our twin: it is somebody else's record, or a connection of our own, that would have to go.
    if (engine_.legs()[old].group != group_) {
      refuse(owner_leg, iss);
      return true;
    }
    const auto known = std::ranges::find(by_owner_leg_, old);
    if (known != by_owner_leg_.end())
      erase(static_cast<uint32_t>(known - by_owner_leg_.begin()));
    else
      engine_.erase_mirrored(old);  // left over from before a fence
  }
  const uint32_t client =
      is_bind && r.partner.get() < by_owner_leg_.size() ? mapped(r.partner.get()) : tcp::kNone;
  const uint32_t leg = engine_.insert_mirrored(key, service, group_);
  if (leg == tcp::kNone || (is_bind && client == tcp::kNone)) {
    if (leg != tcp::kNone) engine_.erase_mirrored(leg);
    refuse(owner_leg, iss);
    if (client != tcp::kNone) refuse_session(r.partner.get());
    return true;
  }
  tcp::Connection& c = engine_.legs()[leg];
  c.snd.iss = iss;
  c.rcv.irs = Seq(r.irs.get());
  c.ts_offset = r.ts_offset.get();
  c.snd.wnd_max = r.snd_wnd_max.get();
  c.application_word = r.application_word.get();
  c.backend = BackendId(r.backend.get());
  c.mss_agreed = std::max<uint16_t>(r.mss.get(), 64);
  engine_.inherit_path_mtu(c, r.path_mtu.get(), now);
  c.snd_scale = std::min<uint8_t>(r.snd_scale, 14) & 0xf;
  c.rcv_scale = std::min<uint8_t>(r.rcv_scale, 14) & 0xf;
  c.window_scaling = r.options & kOptionWindowScaling;
  c.timestamps = r.options & kOptionTimestamps;
  c.sack = r.options & kOptionSack;
  c.ecn = r.options & kOptionEcn;
  c.active_open = r.options & kOptionActiveOpen;
  engine_.note_heard(c, now);
  c.mirror_leg = owner_leg;
  if (is_bind) {
    // The backend leg that this one replaces; its CLOSE may have found no room in the log.
    const auto former = std::ranges::find(by_owner_leg_, engine_.legs()[client].partner);
    if (engine_.legs()[client].partner != tcp::kNone && former != by_owner_leg_.end())
      erase(static_cast<uint32_t>(former - by_owner_leg_.begin()));
    engine_.link(client, leg);
  } else if (!service->application->attach(engine_, leg)) {
    engine_.erase_mirrored(leg);
    refuse(owner_leg, iss);
    return true;
  } else {
    tcp::Pipe& rx = engine_.pipes()[c.rx];
    tcp::Pipe& tx = engine_.pipes()[c.tx];
    rx.head = r.rx_head.get();
    rx.tail = r.rx_tail.get();
    tx.head = r.tx_head.get();
    tx.tail = r.tx_tail.get();
  }
  mapped(owner_leg) = leg;
  held_.add(digest_of(owner_leg, iss));
  ++held_by_group_[c.group];
  if ((r.state.flags & kLegComplete) == 0) incomplete_.push_back(owner_leg);
  apply_state(c, leg, r.state);
  return true;
}

void Replica::apply_state(tcp::Connection& c, uint32_t, const LegState& s) {
  c.state = static_cast<tcp::State>(s.state);
  c.rcv.nxt = Seq(s.rcv_nxt.get());
  c.rcv.edge = Seq(s.rcv_edge.get());
  c.snd.una = Seq(s.snd_una.get());
  c.snd.nxt = Seq(s.snd_nxt.get());
  c.snd.wnd = s.snd_wnd.get();
  c.snd.wnd_max = std::max(c.snd.wnd_max, c.snd.wnd);
  c.ts_recent = s.ts_recent.get();
  if (s.flags & kLegOpened) c.opened = true;
}

bool Replica::apply_agreed(std::span<const uint8_t> record, Instant now) {
  AgreedRecord r;
  if (!load(record, r) || r.leg.get() >= kOwnerLegsMax) return false;
  const uint32_t leg = mapped(r.leg.get());
  if (leg == tcp::kNone || is_refused(r.leg.get())) return true;
  tcp::Connection& c = engine_.legs()[leg];
  c.rcv.irs = Seq(r.irs.get());
  // The owner's entry has run out, or was a guess that it has taken back.
  if (r.path_mtu.get() == 0 && engine_.path_mtu(c) != 0) engine_.forget_path_mtu(c);
  c.mss_agreed = std::max<uint16_t>(r.mss.get(), 64);
  engine_.inherit_path_mtu(c, r.path_mtu.get(), now);
  c.snd_scale = std::min<uint8_t>(r.snd_scale, 14) & 0xf;
  c.rcv_scale = std::min<uint8_t>(r.rcv_scale, 14) & 0xf;
  c.window_scaling = r.options & kOptionWindowScaling;
  c.timestamps = r.options & kOptionTimestamps;
  c.sack = r.options & kOptionSack;
  c.ecn = r.options & kOptionEcn;
  if ((r.options & kOptionUrgent) && c.rx != tcp::kNone) {
    engine_.pipes()[c.rx].has_urgent = true;
    engine_.pipes()[c.rx].urgent = r.urgent.get();
  }
  return true;
}

bool Replica::apply_segment(std::span<const uint8_t> record, Instant now) {
  SegmentRecord r;
  if (!load(record, r) || r.leg.get() >= kOwnerLegsMax) return false;
  const auto payload = record.subspan(sizeof r);
  const LegState& s = r.state;
  if (payload.size() < s.payload_length.get() || s.state > static_cast<uint8_t>(tcp::State::time_wait))
    return false;
  const uint32_t leg = mapped(r.leg.get());
  if (leg == tcp::kNone || is_refused(r.leg.get())) return true;
  tcp::Connection& c = engine_.legs()[leg];
  tcp::Pipe& rx = engine_.pipes()[c.rx];
  tcp::Pipe& tx = engine_.pipes()[c.tx];
  const bool has_begun = static_cast<tcp::State>(s.state) != tcp::State::syn_sent;
  const bool fin = s.flags & kLegFinReceived;
  if (has_begun) {
    const uint64_t end = tcp::receive_offset_of(c, Seq(s.rcv_nxt.get()), rx.tail) - (fin ? 1 : 0);
    const uint64_t begin = end - s.payload_length.get();
    if (begin > rx.tail) {
      // Bytes that the sink acknowledged before they came were never held by anybody.
      if (begin > rx.head) return false;
      rx.tail = begin;
    }
    if (begin < rx.tail || end < rx.tail) return false;
    if (!engine_.pipes().append_bytes(rx, payload.first(s.payload_length.get()))) {
      refuse_session(r.leg.get());
      return true;
    }
  }
  if (s.flags & kLegComplete) std::erase(incomplete_, r.leg.get());
  released_.clear();
  if (c.soft != tcp::kNone) engine_.forget_soft(leg);  // it goes on after all
  engine_.note_heard(c, now);
  apply_state(c, leg, s);
  if (!has_begun) return true;
  if (c.snd.una != c.snd.iss) {
    if (s.flags & kLegSendFin) tx.fin = true;
    engine_.pipes().acknowledge(tx, engine_.offset_of_ack(c, c.snd.una));
  }
  if (fin && !c.fin_received) {
    c.fin_received = true;
    rx.fin = true;
    if (rx.head > rx.tail) rx.head = rx.tail;
  }
  if (rx.sink == tcp::kNone)
    if (const tcp::Service* service = engine_.find_service(c.service))
      service->application->on_data(engine_, leg, now);
  return true;
}

bool Replica::apply_heard(std::span<const uint8_t> record, Instant now) {
  HeardRecord r;
  if (!load(record, r) || r.leg.get() >= kOwnerLegsMax) return false;
  const uint32_t leg = mapped(r.leg.get());
  if (leg != tcp::kNone && !is_refused(r.leg.get()))
    engine_.set_silence(
        engine_.legs()[leg],
        {.unused_ms = r.unused_ms.get(), .unanswered_s = r.unanswered_s.get(), .probes = r.probes}, now);
  return true;
}

bool Replica::apply_output(std::span<const uint8_t> record) {
  OutputRecord r;
  if (!load(record, r) || r.leg.get() >= kOwnerLegsMax) return false;
  const uint32_t leg = mapped(r.leg.get());
  if (leg == tcp::kNone || is_refused(r.leg.get())) return true;
  if (!engine_.pipes().append_bytes(engine_.pipes()[engine_.legs()[leg].tx], record.subspan(sizeof r)))
    refuse_session(r.leg.get());
  return true;
}

// What was refused is in the stream until the owner has closed it.
bool Replica::apply_digest(std::span<const uint8_t> record) {
  DigestRecord r;
  if (!load(record, r)) return false;
  Digest ours = held_;
  for (const RefusedLeg& refused : refused_)
    if (mapped(refused.leg.get()) == tcp::kNone)
      ours.add(digest_of(refused.leg.get(), Seq(refused.iss.get())));
  if (ours == Digest{r.legs.get(), r.sum.get()}) return true;
  drops_.count(DropReason::mirror_differs);
  return false;
}

bool Replica::apply_close(std::span<const uint8_t> record) {
  CloseRecord r;
  if (!load(record, r) || r.leg.get() >= kOwnerLegsMax) return false;
  std::erase(incomplete_, r.leg.get());
  accept_refusal(r.leg.get());
  // A backend that never answered: another one is chosen, by the owner's next BIND or by whoever takes over.
  if (const uint32_t leg = mapped(r.leg.get()); leg != tcp::kNone) {
    const tcp::Connection& c = engine_.legs()[leg];
    const bool serves_a_client = c.active_open && c.state == tcp::State::syn_sent && c.partner != tcp::kNone;
    if (serves_a_client && engine_.legs()[c.partner].partner == leg) engine_.legs()[c.partner].opened = false;
  }
  erase(r.leg.get());
  return true;
}

}  // namespace understudy::mirror
