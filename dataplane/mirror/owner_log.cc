#include "dataplane/mirror/owner_log.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace understudy::mirror {
namespace {

// The state in which a leg was before its peer's FIN, for records that end before it.
tcp::State without_fin(tcp::State state) {
  switch (state) {
    case tcp::State::close_wait:
    case tcp::State::last_ack:
      return tcp::State::established;
    case tcp::State::closing:
      return tcp::State::fin_wait_1;
    case tcp::State::time_wait:
      return tcp::State::fin_wait_2;
    default:
      return state;
  }
}

// Bytes of a pipe that a snapshot still has to carry begin here.
uint64_t content_begin(const tcp::Pipe& pipe) {
  return pipe.held() > 0 ? pipe.head : pipe.tail;
}

constexpr Duration kDigestEvery = 1s;

// A record is not worth starting at the end of a frame for fewer payload bytes than this.
constexpr uint32_t kPieceMin = 64;

}  // namespace

OwnerLog::OwnerLog(const ChannelSender::Settings& settings, tcp::GroupIndex group, uint32_t index,
                   tcp::Engine& engine, rte_mempool* pool, FrameSink& sink)
    : group_(group),
      index_(index),
      frame_payload_(settings.frame_payload),
      capacity_(uint64_t{settings.window} * settings.frame_payload),
      engine_(engine),
      channel_(settings, pool, sink, drops_),
      gates_(std::bit_ceil(static_cast<size_t>(settings.window) * 32)),
      closes_((engine.legs().capacity() + 63) / 64),
      shares_(engine.legs().capacity()) {}

void OwnerLog::open(const ChannelAddress& address, uint32_t streams, uint32_t generation, Instant now,
                    Beginning beginning) {
  drop(now);  // a stream before this one
  channel_.open(address, generation, now);
  streams_ = streams;
  state_ = State::syncing;
  gate_head_ = gate_tail_ = 0;
  snapshot_next_ = snapshot_legs_ = snapshot_end_sequence_ = release_sequence_ = 0;
  inherited_ = beginning == Beginning::inherited;
  output_ = {};
  full_until_ = Instant::min();
  std::ranges::fill(closes_, 0);
  closes_waiting_ = 0;
  refusals_.clear();
  digest_ = {};
  std::ranges::fill(shares_, 0);
  digest_at_ = now + kDigestEvery;
  write_mark(false, now);
}

void OwnerLog::drop(Instant) {
  if (state_ == State::closed) return;
  auto& legs = engine_.legs();
  for (uint32_t leg = 0; leg < legs.capacity(); ++leg) {
    if (!legs.is_live(leg)) continue;
    tcp::Connection& c = legs[leg];
    const bool waits_to_be_adopted = inherited_ && engine_.group(c.group).voice && c.protect && c.resumed;
    if (!carries(c) || (!c.mirrored && !waits_to_be_adopted)) continue;
    if (c.mirrored) --engine_.group(c.group).legs_mirrored;
    c.mirrored = false;
    engine_.commit_all(c);
    engine_.want_output(leg);
  }
  for (const Refusal& refusal : refusals_) {
    if (!legs.is_live(refusal.leg)) continue;
    engine_.commit_all(legs[refusal.leg.index]);
    engine_.want_output(refusal.leg.index);
  }
  refusals_.clear();
  state_ = State::closed;
  channel_.close();
  gate_head_ = gate_tail_ = 0;
}

uint64_t OwnerLog::payload_budget() const {
  if (state_ == State::closed) return UINT64_MAX;
  if (gate_tail_ - gate_head_ > gates_.size() / 2) return 0;
  // A quarter stays free for records without payload; headers of small segments may double what a byte costs.
  return channel_.room() / 2;
}

bool OwnerLog::write(uint32_t leg, Instant now) {
  tcp::Connection& c = engine_.legs()[leg];
  if (!c.protect || engine_.group(c.group).always_local) {
    engine_.commit_all(c);
    engine_.want_output(leg);
    return true;
  }
  if (refusal_of(leg) != nullptr) return true;  // nothing is promised until its CLOSE is committed
  if (!c.mirrored) {
    if (open_session(leg, now)) return true;
    const bool is_orphan = c.partner == tcp::kNone && !stands_alone(c);  // it only has to finish
    const bool is_held = inherited_ && snapshot_end_sequence_ == 0;      // by the standby, as it was
    const bool has_promised_nothing =
        c.mirrored || !after(c.rcv.committed, c.rcv.irs) || c.state == tcp::State::syn_sent;
    if (!is_orphan && (is_held || (has_promised_nothing && !standby_is_full()))) {
      engine_.want_output(leg);
      return false;  // nothing has been promised on it yet: that can wait until there is room
    }
    if (is_orphan) exempt_if_over(leg);
    engine_.commit_all(c);  // unprotected until the snapshot's cursor finds room for it
    engine_.want_output(leg);
    return true;
  }
  engine_.decide_edge(c);
  engine_.want_output(leg);  // ungated payload need not wait
  return (output_.leg != engine_.legs().id_of(leg) || write_output(now)) && write_segments(leg, now);
}

bool OwnerLog::enter(uint32_t leg, RecordKind kind, Instant now) {
  return is_known(engine_.legs()[leg]) ? write_adopt(leg, now) : write_open(leg, kind, now);
}

bool OwnerLog::write_open(uint32_t leg, RecordKind kind, Instant now) {
  tcp::Connection& c = engine_.legs()[leg];
  uint8_t* at = channel_.append(sizeof(OpenRecord), now);
  if (at == nullptr) return false;
  engine_.decide_edge(c);
  tcp::Pipe& rx = engine_.pipes()[c.rx];
  const tcp::Pipe& tx = engine_.pipes()[c.tx];
  rx.keeps_unlogged = true;
  rx.logged = content_begin(rx);
  OpenRecord r{};
  r.header = header_of(kind, sizeof r);
  r.leg = leg;
  r.state = leg_state_of(c, tx.source == tcp::kNone && tx.fin);
  if (c.state != tcp::State::syn_sent) r.state.rcv_nxt = tcp::receive_seq_of(c, rx.logged).raw();
  r.state.state = static_cast<uint8_t>(without_fin(c.state));
  r.state.flags = static_cast<uint8_t>(r.state.flags & ~kLegFinReceived);
  // Without the backend's leg a successor would look for a backend again, which hears nothing of what the
  // former one has acknowledged.
  const bool bind_follows =
      kind == RecordKind::open && c.partner != tcp::kNone && !engine_.legs()[c.partner].mirrored;
  const bool nothing_follows = rx.logged == rx.tail && !c.fin_received && !bind_follows &&
                               (tx.source != tcp::kNone || tx.held() == 0);
  if (nothing_follows) r.state.flags |= kLegComplete;
  r.partner = kind == RecordKind::bind ? c.partner : tcp::kNone;
  r.local = c.key.local.bytes();
  r.remote = c.key.remote.bytes();
  r.local_port = c.key.local_port.value();
  r.remote_port = c.key.remote_port.value();
  r.service = c.service.value();
  r.backend = c.backend.value();
  r.iss = c.snd.iss.raw();
  r.irs = c.rcv.irs.raw();
  r.ts_offset = c.ts_offset;
  r.snd_wnd_max = c.snd.wnd_max;
  r.application_word = c.application_word;
  r.rx_head = rx.head;
  r.rx_tail = rx.logged;
  r.tx_head = tx.head;
  r.tx_tail = content_begin(tx);
  r.mss = c.mss_agreed;
  r.snd_scale = c.snd_scale;
  r.rcv_scale = c.rcv_scale;
  r.options = options_of(c);
  r.path_mtu = engine_.path_mtu(c);
  std::memcpy(at, &r, sizeof r);
  c.terms_changed = rx.has_urgent;
  c.mirrored = true;
  c.mirror_leg = tcp::kNone;  // what a former owner called it
  ++engine_.group(c.group).legs_mirrored;
  enter_digest(leg);
  return true;
}

bool OwnerLog::write_agreed(uint32_t leg, Instant now) {
  uint8_t* at = channel_.append(sizeof(AgreedRecord), now);
  if (at == nullptr) return false;
  const tcp::Connection& c = engine_.legs()[leg];
  AgreedRecord r{};
  r.header = header_of(RecordKind::agreed, sizeof r);
  r.leg = leg;
  r.irs = c.rcv.irs.raw();
  r.mss = c.mss_agreed;
  r.snd_scale = c.snd_scale;
  r.rcv_scale = c.rcv_scale;
  r.options = options_of(c);
  r.path_mtu = engine_.path_mtu(c);
  if (const tcp::Pipe& rx = engine_.pipes()[c.rx]; rx.has_urgent) {
    r.options |= kOptionUrgent;
    r.urgent = rx.urgent;
  }
  std::memcpy(at, &r, sizeof r);
  return true;
}

// The sink sends on what is logged here, in the same round or a little later: where it last read is near.
tcp::ReadCursor OwnerLog::cursor_of_sink(const tcp::Connection& c) const {
  const uint32_t sink = engine_.pipes()[c.rx].sink;
  if (sink == tcp::kNone || engine_.legs()[sink].tx != c.rx) return {};
  const tcp::Soft* soft = engine_.soft_of(engine_.legs()[sink]);
  return soft == nullptr ? tcp::ReadCursor() : soft->cursor;
}

// The payload accepted since the last record, cut to fit frames; the last piece carries the whole state.
bool OwnerLog::write_segments(uint32_t leg, Instant now) {
  tcp::Connection& c = engine_.legs()[leg];
  tcp::Pipe& rx = engine_.pipes()[c.rx];
  const tcp::Pipe& tx = engine_.pipes()[c.tx];
  // BIND was written before the answer to our SYN came. Until something is committed it is said again: that
  // is rare.
  const bool newly_agreed =
      c.active_open && c.state != tcp::State::syn_sent && !after(c.rcv.committed, c.rcv.irs);
  if ((newly_agreed || (c.terms_changed && c.state != tcp::State::syn_sent)) && !write_agreed(leg, now)) {
    engine_.want_log(leg);
    return false;
  }
  c.terms_changed = false;
  // Bytes that the sink acknowledged to a former owner before they came are held by nobody.
  rx.logged = std::min(std::max(rx.logged, engine_.pipes().begin_of(rx)), rx.tail);
  tcp::ReadCursor cursor = cursor_of_sink(c);
  while (true) {
    const uint64_t remaining = rx.tail - rx.logged;
    constexpr auto kHeader = static_cast<uint32_t>(sizeof(SegmentRecord));
    uint32_t room = channel_.room_in_frame();
    if (room < kHeader + std::min<uint64_t>(remaining, kPieceMin)) room = frame_payload_;
    const auto take = static_cast<uint32_t>(std::min<uint64_t>(remaining, room - kHeader));
    // Before the frame that is full now is sealed, which takes as long as the bytes need to come.
    engine_.pipes().prefetch(rx, rx.logged, take, cursor);
    uint8_t* at = gate_has_room() ? channel_.append(kHeader + take, now) : nullptr;
    if (at == nullptr) {
      engine_.want_log(leg);
      return false;
    }
    const bool last = take == remaining;
    SegmentRecord r{};
    r.header = header_of(RecordKind::segment, kHeader + take);
    r.leg = leg;
    r.state = leg_state_of(c, tx.source == tcp::kNone && tx.fin);
    r.state.payload_length = static_cast<uint16_t>(take);
    Seq nxt = c.rcv.nxt;
    if (!last) {
      nxt = tcp::receive_seq_of(c, rx.logged + take);
      r.state.rcv_nxt = nxt.raw();
      r.state.state = static_cast<uint8_t>(without_fin(c.state));
      // Neither FIN stands where this piece ends: what an application wrote last may answer a later piece.
      r.state.flags = static_cast<uint8_t>(r.state.flags & ~(kLegFinReceived | kLegSendFin));
    } else {
      r.state.flags |= kLegComplete;
    }
    std::memcpy(at, &r, sizeof r);
    engine_.pipes().copy_out(rx, rx.logged, take, at + kHeader, cursor);
    engine_.pipes().note_logged(rx, rx.logged + take);
    // Before the peer's SYN there is nothing to be acknowledged, and no number to compare with.
    if (c.state == tcp::State::syn_sent) return true;
    if (gate_is_open_)
      engine_.commit(c, nxt, c.rcv.edge, last ? tx.tail : 0);
    else
      gates_[gate_tail_++ % gates_.size()] = {channel_.current_sequence(), engine_.legs().id_of(leg), nxt,
                                              c.rcv.edge, last ? tx.tail : 0};
    if (last) return true;
  }
}

bool OwnerLog::write_heard(uint32_t leg, Instant now) {
  const tcp::Silence silence = engine_.silence_of(engine_.legs()[leg], now);
  if (silence == tcp::Silence()) return true;
  uint8_t* at = channel_.append(sizeof(HeardRecord), now);
  if (at == nullptr) return false;
  HeardRecord r{};
  r.header = header_of(RecordKind::heard, sizeof r);
  r.leg = leg;
  r.unused_ms = silence.unused_ms;
  r.unanswered_s = silence.unanswered_s;
  r.probes = silence.probes;
  std::memcpy(at, &r, sizeof r);
  return true;
}

void OwnerLog::write_close(tcp::LegId leg, Instant now) {
  if (state_ == State::closed) return;
  want_close(leg.index);
  write_closes(now);
}

void OwnerLog::want_close(uint32_t leg) {
  uint64_t& word = closes_[leg / 64];
  const uint64_t bit = uint64_t{1} << leg % 64;
  closes_waiting_ += (word & bit) == 0;
  word |= bit;
}

bool OwnerLog::write_closes(Instant now) {
  for (size_t i = 0; closes_waiting_ > 0 && i < closes_.size(); ++i)
    for (; closes_[i] != 0; closes_[i] &= closes_[i] - 1, --closes_waiting_) {
      const auto leg = static_cast<uint32_t>(i * 64 + static_cast<size_t>(std::countr_zero(closes_[i])));
      // The slot is taken again and its new leg is in the stream already: that record has ended the old one.
      if (engine_.legs().is_live(leg) && engine_.legs()[leg].mirrored) continue;
      uint8_t* at = channel_.append(sizeof(CloseRecord), now);
      if (at == nullptr) return false;
      CloseRecord r{};
      r.header = header_of(RecordKind::close, sizeof r);
      r.leg = leg;
      std::memcpy(at, &r, sizeof r);
      leave_digest(leg);
      if (Refusal* refusal = refusal_of(leg)) refusal->close_sequence = channel_.current_sequence();
    }
  return true;
}

// A standby that finds another sum than its own lets its legs go and is fed anew.
void OwnerLog::write_digest(Instant now) {
  if (state_ != State::synced || now < digest_at_) return;
  uint8_t* at = channel_.append(sizeof(DigestRecord), now);
  if (at == nullptr) return;
  DigestRecord r{};
  r.header = header_of(RecordKind::digest, sizeof r);
  r.legs = digest_.legs;
  r.sum = digest_.sum;
  std::memcpy(at, &r, sizeof r);
  digest_at_ = now + kDigestEvery;
}

void OwnerLog::enter_digest(uint32_t leg) {
  leave_digest(leg);  // whoever had the slot before: OPEN ends it
  shares_[leg] = digest_of(leg, engine_.legs()[leg].snd.iss);
  digest_.add(shares_[leg]);
}

void OwnerLog::leave_digest(uint32_t leg) {
  if (shares_[leg] != 0) digest_.remove(shares_[leg]);
  shares_[leg] = 0;
}

bool OwnerLog::write_mark(bool is_end, Instant now) {
  uint8_t* at = channel_.append(sizeof(MarkRecord), now);
  if (at == nullptr) return false;
  MarkRecord r{};
  r.header = header_of(RecordKind::mark, sizeof r);
  r.is_end = is_end;
  r.legs = snapshot_legs_;
  std::memcpy(at, &r, sizeof r);
  return true;
}

void OwnerLog::on_ack(std::span<const uint8_t> payload, Instant now) {
  if (payload.size() < sizeof(MirrorAckHeader)) return drops_.count(DropReason::cluster_malformed);
  MirrorAckHeader ack;
  std::memcpy(&ack, payload.data(), sizeof ack);
  if (state_ == State::closed) return;
  const bool is_ours = channel_.on_ack(ack, now);
  RefusedLeg refused;
  for (auto rest = payload.subspan(sizeof ack); is_ours && load(rest, refused);
       rest = rest.subspan(sizeof refused))
    on_refused(refused, now);
  unprotect_refused();
  commit_up_to(channel_.acknowledged());
  if (state_ == State::syncing && snapshot_end_sequence_ != 0 &&
      channel_.acknowledged() >= snapshot_end_sequence_)
    state_ = State::synced;
}

void OwnerLog::commit_up_to(uint32_t sequence) {
  while (gate_head_ < gate_tail_) {
    const Gate& gate = gates_[gate_head_ % gates_.size()];
    if (gate.sequence > sequence) return;
    ++gate_head_;
    if (!engine_.legs().is_live(gate.leg)) continue;
    if (!refusals_.empty() && refusal_of(gate.leg.index) != nullptr) continue;
    engine_.commit(engine_.legs()[gate.leg.index], gate.nxt, gate.edge, gate.sendable);
    engine_.want_output(gate.leg.index);
  }
}

}  // namespace understudy::mirror
