#include "tests/sim/model_tcp.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::sim {
namespace {

constexpr Duration kRtoMin = 200ms;
constexpr Duration kRtoMax = 10s;  // short of Linux's two minutes: simulated time costs real time
constexpr unsigned kRetries = 15;
constexpr Duration kDelayedAck = 40ms;

// The 64-bit offset near `near` whose low bits are `seq` counted from `base`.
int64_t unwrap(uint32_t seq, uint32_t base, uint64_t near) {
  return static_cast<int64_t>(near) + static_cast<int32_t>(seq - (base + static_cast<uint32_t>(near)));
}

}  // namespace

std::string name_of(ModelTcp::State state) {
  constexpr const char* kNames[] = {"SYN-SENT",   "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
                                    "CLOSE-WAIT", "CLOSING",      "LAST-ACK",    "TIME-WAIT",  "CLOSED"};
  return kNames[static_cast<size_t>(state)];
}

ModelTcp::ModelTcp(const Settings& settings, const std::vector<uint8_t>* say, Instant now)
    : settings_(settings), say_(say), state_(State::syn_sent) {
  output(now);
  arm(now);
}

ModelTcp::ModelTcp(const Settings& settings, const Tcp& syn, Instant now)
    : settings_(settings), state_(State::syn_received) {
  apply_syn(syn);
  output(now);
  arm(now);
}

void ModelTcp::apply_syn(const Tcp& syn) {
  irs_ = syn.seq;
  rcv_nxt_ = told_nxt_ = 1;
  peer_mss_ = syn.mss.value_or(536);
  timestamps_ = settings_.timestamps && syn.timestamps.has_value();
  sack_ = settings_.sack && syn.sack_permitted;
  if (syn.timestamps) ts_recent_ = syn.timestamps->first;
  const bool scaled = settings_.scale && syn.scale;
  send_scale_ = scaled ? std::min<uint8_t>(*syn.scale, 14) : 0;
  receive_scale_ = scaled ? *settings_.scale : 0;
  edge_ = 1 + syn.window;
  window_seq_ = 0;
  window_ack_ = 0;
  congestion_window_ = 10ULL * std::min(settings_.mss, peer_mss_);
}

uint32_t ModelTcp::clock(Instant now) const {
  return static_cast<uint32_t>(to_ms(now.time_since_epoch())) + settings_.timestamp_offset;
}

Tcp ModelTcp::blank() const {
  Tcp s;
  s.source = settings_.local;
  s.destination = settings_.remote;
  s.source_port = settings_.local_port;
  s.destination_port = settings_.remote_port;
  return s;
}

// The right edge never moves left, but for what the scale cuts off.
uint16_t ModelTcp::window_field(bool is_syn) {
  const uint64_t room = settings_.receive_buffer - std::min<uint64_t>(settings_.receive_buffer, buffered());
  uint64_t edge = std::max(told_edge_, rcv_nxt_ + room);
  // Silly windows (RFC 9293 3.8.6.2.2): open by a segment or half the buffer, or not at all.
  if (edge - told_edge_ < std::min<uint64_t>(settings_.mss, settings_.receive_buffer / 2)) edge = told_edge_;
  const uint64_t window = edge - rcv_nxt_;
  const uint64_t field = std::min<uint64_t>(0xffff, is_syn ? window : window >> receive_scale_);
  told_edge_ = std::max(told_edge_, rcv_nxt_ + (is_syn ? field : field << receive_scale_));
  return static_cast<uint16_t>(field);
}

void ModelTcp::send(uint64_t at, uint32_t length, Instant now) {
  Tcp s = blank();
  s.seq = settings_.iss + static_cast<uint32_t>(at);
  const bool is_syn = at == 0 && length > 0;
  if (is_syn) {
    s.flags |= kSyn;
    s.mss = settings_.mss;
    if (state_ == State::syn_sent || sack_) s.sack_permitted = settings_.sack;
    if (settings_.scale && (state_ == State::syn_sent || receive_scale_ > 0)) s.scale = *settings_.scale;
  }
  if (state_ != State::syn_sent) s.flags |= kAck;
  if (s.has(kAck)) s.ack = irs_ + static_cast<uint32_t>(rcv_nxt_);
  if (timestamps_ || (state_ == State::syn_sent && settings_.timestamps))
    s.timestamps = {clock(now), s.has(kAck) ? ts_recent_ : 0};
  const uint64_t data_from = std::max<uint64_t>(at, 1);
  const uint64_t data_to = std::min(at + length, 1 + written_);
  if (!is_syn && data_to > data_from)
    s.payload.assign(say_->begin() + static_cast<ptrdiff_t>(data_from - 1),
                     say_->begin() + static_cast<ptrdiff_t>(data_to - 1));
  if (finishing_ && length > 0 && at + length == end_of_stream()) s.flags |= kFin;
  if (!s.payload.empty()) s.flags |= kPsh;
  if (sack_ && !out_of_order_.empty() && length == 0) {
    const auto add = [&](uint64_t from, const std::vector<uint8_t>& bytes) {
      s.sack.emplace_back(irs_ + static_cast<uint32_t>(from),
                          irs_ + static_cast<uint32_t>(from + bytes.size()));
    };
    const auto newest = out_of_order_.find(last_out_of_order_);  // RFC 2018: the newest first
    if (newest != out_of_order_.end()) add(newest->first, newest->second);
    for (const auto& [from, bytes] : out_of_order_)
      if (from != last_out_of_order_ && s.sack.size() < 3) add(from, bytes);
  }
  s.window = window_field(is_syn);
  told_nxt_ = rcv_nxt_;
  ack_now_ = false;
  unacknowledged_segments_ = 0;
  delayed_ack_at_ = kNever;
  if (length > 0 && at >= max_ && !timed_) timed_ = {at + length, now};
  max_ = std::max(max_, at + length);
  outbox_.push_back(std::move(s));
}

// Behind all that was ever said, as Linux and BSD do, and not at a SND.NXT that a timeout has pulled back:
// the peer would take it for an old duplicate, and ignore what it acknowledges. Nor beyond what the peer
// takes: a probe of a closed window has said a byte there, and a window update behind it would not be taken.
void ModelTcp::send_ack(Instant now) {
  send(std::min(max_, std::max(edge_, una_)), 0, now);
}

void ModelTcp::send_reset(uint32_t seq) {
  Tcp s = blank();
  s.flags = kRst;
  s.seq = seq;
  outbox_.push_back(std::move(s));
}

void ModelTcp::output(Instant now) {
  if (state_ == State::closed) return;
  if (state_ == State::time_wait) {
    if (ack_now_) send_ack(now);
    return;
  }
  const uint32_t mss = std::min(settings_.mss, peer_mss_) - (timestamps_ ? 12U : 0U);
  if (nxt_ == 0) {
    send(0, 1, now);
    nxt_ = 1;
  } else if (state_ >= State::established) {
    const uint64_t limit =
        std::min({end_of_stream(), edge_, una_ + std::max<uint64_t>(congestion_window_, mss)});
    while (nxt_ < limit) {
      const auto length = static_cast<uint32_t>(std::min<uint64_t>(mss, limit - nxt_));
      send(nxt_, length, now);
      nxt_ += length;
    }
  }
  if (ack_now_) send_ack(now);
}

void ModelTcp::arm(Instant now) {
  const bool outstanding = una_ < max_;
  const bool blocked =
      state_ >= State::established && !outstanding && una_ < end_of_stream() && edge_ <= una_;
  if (!outstanding && !blocked) {
    retransmit_at_ = probe_tail_at_ = kNever;
  } else if (retransmit_at_ == kNever) {
    retransmit_at_ = now + std::min<Duration>(rto_ * (1 << std::min(backoff_, 10U)), kRtoMax);
  }
  if (state_ == State::closed) retransmit_at_ = probe_tail_at_ = delayed_ack_at_ = end_at_ = kNever;
  deadline_ = std::min({retransmit_at_, probe_tail_at_, delayed_ack_at_, end_at_});
}

void ModelTcp::on_timeout(Instant now) {
  retransmit_at_ = kNever;
  probe_tail_at_ = kNever;
  timed_.reset();
  if (++backoff_ > kRetries) return close(End::timed_out);
  if (una_ == max_) {  // a window probe: one byte beyond the edge (RFC 9293 3.8.6.1)
    send(una_, 1, now);
    return;
  }
  slow_start_threshold_ = std::max<uint64_t>((max_ - una_) / 2, 2ULL * settings_.mss);
  congestion_window_ = std::min(settings_.mss, peer_mss_);
  recovering_ = false;
  duplicates_ = 0;
  nxt_ = una_;
  output(now);
  if (nxt_ == una_ && una_ > 0) send(una_, 1, now);  // the window is closed over what was sent
}

void ModelTcp::tick(Instant now) {
  if (end_at_ <= now) close(End::finished);
  if (delayed_ack_at_ <= now) {
    delayed_ack_at_ = kNever;
    send_ack(now);
  }
  if (probe_tail_at_ <= now) {  // RFC 8985 section 7: the last segment again
    probe_tail_at_ = kNever;
    const uint64_t from = std::max(una_, max_ - std::min<uint64_t>(max_, 500));
    if (una_ < max_ && backoff_ == 0 && from > 0) send(from, static_cast<uint32_t>(max_ - from), now);
  }
  if (retransmit_at_ <= now) on_timeout(now);
  arm(now);
}

void ModelTcp::run(Instant now) {
  if (state_ == State::closed) return;
  const uint64_t before = max_;
  output(now);
  if (max_ > before && state_ >= State::established)
    probe_tail_at_ = now + std::max<Duration>(2 * srtt_, 8ms);
  arm(now);
}

void ModelTcp::close(End end) {
  state_ = State::closed;
  if (end_ == End::none) end_ = end;
  deadline_ = retransmit_at_ = probe_tail_at_ = delayed_ack_at_ = end_at_ = kNever;
}

void ModelTcp::receive_in_syn_sent(const Tcp& s, Instant now) {
  const bool good_ack = s.has(kAck) && s.ack == settings_.iss + 1;
  if (s.has(kAck) && !good_ack) {
    if (!s.has(kRst)) send_reset(s.ack);
    return;
  }
  if (s.has(kRst)) {
    if (good_ack) close(End::refused);
    return;
  }
  if (!s.has(kSyn)) return;
  apply_syn(s);
  if (!good_ack) {  // simultaneous open does not occur here
    state_ = State::syn_received;
    return;
  }
  una_ = 1;
  backoff_ = 0;
  retransmit_at_ = kNever;
  state_ = State::established;
  if (timed_) {
    srtt_ = now - timed_->second;
    rttvar_ = srtt_ / 2;
    rto_ = std::max<Duration>(srtt_ + 4 * rttvar_, kRtoMin);
    timed_.reset();
  }
  window_ack_ = 1;
  ack_now_ = true;
}

// False when the segment ends here (RFC 9293 3.10.7.4, first to fourth).
bool ModelTcp::acceptable(const Tcp& s, int64_t at, Instant now) {
  const auto nxt = static_cast<int64_t>(rcv_nxt_);
  const int64_t length =
      static_cast<int64_t>(s.payload.size()) + (s.has(kSyn) ? 1 : 0) + (s.has(kFin) ? 1 : 0);
  const bool stale =
      timestamps_ && s.timestamps && static_cast<int32_t>(s.timestamps->first - ts_recent_) < 0;
  const bool in_window = at + length >= static_cast<int64_t>(told_nxt_) &&
                         at <= static_cast<int64_t>(std::max(told_edge_, rcv_nxt_));
  if ((stale && !s.has(kRst)) || !in_window) {
    if (!s.has(kRst)) send_ack(now);
    return false;
  }
  if (s.has(kRst)) {
    if (at == nxt) {
      close(state_ == State::time_wait      ? End::finished
            : state_ == State::syn_received ? End::refused
                                            : End::reset);
    } else {
      send_ack(now);  // RFC 5961 section 3.2
    }
    return false;
  }
  if (s.has(kSyn)) {
    send_ack(now);
    return false;
  }
  return s.has(kAck);
}

void ModelTcp::receive(const Tcp& s, Instant now) {
  if (state_ == State::closed) return;
  if (state_ == State::syn_sent) {
    receive_in_syn_sent(s, now);
    output(now);
    return arm(now);
  }
  if (state_ == State::syn_received && s.has(kSyn) && !s.has(kAck) && s.seq == irs_) {
    send(0, 1, now);  // the SYN again: so the SYN-ACK again
    return arm(now);
  }
  const int64_t at = unwrap(s.seq, irs_, rcv_nxt_);
  if (acceptable(s, at, now)) {
    if (timestamps_ && s.timestamps && at <= static_cast<int64_t>(told_nxt_))
      ts_recent_ = s.timestamps->first;
    take_ack(s, at, now);
    if (state_ != State::closed) take_data(s, at);
    if (fin_at_ && rcv_nxt_ == *fin_at_) take_fin(now);
    if (state_ == State::time_wait && (s.has(kFin) || !s.payload.empty())) ack_now_ = true;
  }
  run(now);
}

void ModelTcp::take_ack(const Tcp& s, int64_t at, Instant now) {
  const int64_t ack = unwrap(s.ack, settings_.iss, una_);
  if (ack > static_cast<int64_t>(max_)) {
    ack_now_ = true;
    return;
  }
  if (state_ == State::syn_received && ack >= 1) {
    state_ = State::established;
    window_seq_ = at;
    window_ack_ = 1;
  }
  const auto acknowledged = static_cast<uint64_t>(std::max<int64_t>(ack, 0));
  const uint64_t offered = acknowledged + (static_cast<uint64_t>(s.window) << send_scale_);
  const bool fresh = at > window_seq_ || (at == window_seq_ && acknowledged >= window_ack_);
  const bool same_window = offered == edge_;
  if (acknowledged >= una_ && fresh) {
    if (offered > edge_) backoff_ = 0;
    edge_ = offered;
    window_seq_ = at;
    window_ack_ = acknowledged;
  }
  if (acknowledged > una_) return on_new_ack(acknowledged, now);
  if (acknowledged < una_ || una_ == max_ || !s.payload.empty() || !same_window || s.has(kFin)) return;
  if (++duplicates_ != 3 || recovering_) return;
  recovering_ = true;
  recover_ = max_;
  slow_start_threshold_ = std::max<uint64_t>((max_ - una_) / 2, 2ULL * settings_.mss);
  congestion_window_ = slow_start_threshold_;
  const uint32_t mss = std::min(settings_.mss, peer_mss_) - 12U;
  send(una_, static_cast<uint32_t>(std::min<uint64_t>(mss, max_ - una_)), now);
}

void ModelTcp::on_new_ack(uint64_t ack, Instant now) {
  if (timed_ && ack >= timed_->first) {
    const Duration sample = now - timed_->second;
    rttvar_ = srtt_ == Duration::zero() ? sample / 2 : (3 * rttvar_ + std::chrono::abs(srtt_ - sample)) / 4;
    srtt_ = srtt_ == Duration::zero() ? sample : (7 * srtt_ + sample) / 8;
    rto_ = std::max<Duration>(srtt_ + 4 * rttvar_, kRtoMin);
    timed_.reset();
  }
  const uint64_t gained = ack - una_;
  una_ = ack;
  nxt_ = std::max(nxt_, una_);
  duplicates_ = 0;
  backoff_ = 0;
  retransmit_at_ = kNever;
  probe_tail_at_ = una_ < max_ ? now + std::max<Duration>(2 * srtt_, 8ms) : kNever;
  const uint32_t mss = std::min(settings_.mss, peer_mss_) - 12U;
  if (recovering_ && una_ < recover_) {  // RFC 6582: a partial acknowledgement names the next hole
    send(una_, static_cast<uint32_t>(std::min<uint64_t>(mss, max_ - una_)), now);
  } else {
    recovering_ = false;
    congestion_window_ += congestion_window_ < slow_start_threshold_
                              ? gained
                              : std::max<uint64_t>(1, static_cast<uint64_t>(mss) * mss / congestion_window_);
  }
  if (finishing_ && una_ == end_of_stream()) our_fin_acknowledged(now);
}

void ModelTcp::our_fin_acknowledged(Instant now) {
  if (state_ == State::fin_wait_1) state_ = State::fin_wait_2;
  if (state_ == State::closing) {
    state_ = State::time_wait;
    end_at_ = now + settings_.time_wait;
  }
  if (state_ == State::last_ack) close(End::finished);
}

void ModelTcp::take_data(const Tcp& s, int64_t at) {
  const bool has_data = !s.payload.empty();
  if (!has_data && !s.has(kFin)) return;
  ++unacknowledged_segments_;
  if (settings_.acknowledges_everything || s.has(kFin)) ack_now_ = true;
  const int64_t end = at + static_cast<int64_t>(s.payload.size());
  const auto limit = static_cast<int64_t>(told_edge_ + (uint64_t{1} << receive_scale_) - 1);
  if (s.has(kFin) && end <= limit) fin_at_ = static_cast<uint64_t>(end);
  int64_t from = std::max(at, static_cast<int64_t>(rcv_nxt_));
  const int64_t to = std::min(end, limit);
  if (from >= to) {
    if (has_data) ack_now_ = true;
    return;
  }
  const auto first = s.payload.begin() + (from - at);
  std::vector<uint8_t> bytes(first, first + (to - from));
  if (from > static_cast<int64_t>(rcv_nxt_)) {
    ack_now_ = true;
    last_out_of_order_ = static_cast<uint64_t>(from);
    auto& held = out_of_order_[static_cast<uint64_t>(from)];
    if (held.size() < bytes.size()) held = std::move(bytes);
    return;
  }
  in_order_.insert(in_order_.end(), bytes.begin(), bytes.end());
  rcv_nxt_ += bytes.size();
  if (!out_of_order_.empty()) ack_now_ = true;
  while (!out_of_order_.empty() && out_of_order_.begin()->first <= rcv_nxt_) {
    const auto& [begin, held] = *out_of_order_.begin();
    if (begin + held.size() > rcv_nxt_) {
      in_order_.insert(in_order_.end(), held.begin() + static_cast<ptrdiff_t>(rcv_nxt_ - begin), held.end());
      rcv_nxt_ = begin + held.size();
    }
    out_of_order_.erase(out_of_order_.begin());
  }
  if (unacknowledged_segments_ >= 2) ack_now_ = true;
}

void ModelTcp::take_fin(Instant now) {
  fin_at_.reset();
  ++rcv_nxt_;
  ack_now_ = true;
  if (state_ == State::established) state_ = State::close_wait;
  if (state_ == State::fin_wait_1) state_ = State::closing;
  if (state_ == State::fin_wait_2) {
    state_ = State::time_wait;
    end_at_ = now + settings_.time_wait;
  }
  peer_finished_ = true;
}

void ModelTcp::write_up_to(uint64_t bytes, Instant now) {
  if (finishing_ || bytes <= written_) return;
  written_ = bytes;
  if (state_ >= State::established) run(now);
}

void ModelTcp::finish(Instant now) {
  if (finishing_ || state_ < State::established || state_ == State::closed) return;
  finishing_ = true;
  if (state_ == State::established) state_ = State::fin_wait_1;
  if (state_ == State::close_wait) state_ = State::last_ack;
  run(now);
}

void ModelTcp::abort(Instant) {
  if (state_ == State::closed) return;
  Tcp s = blank();
  s.flags = kRst | kAck;
  s.seq = settings_.iss + static_cast<uint32_t>(nxt_);
  s.ack = irs_ + static_cast<uint32_t>(rcv_nxt_);
  outbox_.push_back(std::move(s));
  close(End::aborted);
}

std::vector<uint8_t> ModelTcp::read(Instant now) {
  std::vector<uint8_t> bytes = std::move(in_order_);
  in_order_.clear();
  if (state_ == State::closed || state_ < State::established) return bytes;
  const uint64_t opened =
      rcv_nxt_ + settings_.receive_buffer - std::min(rcv_nxt_ + settings_.receive_buffer, told_edge_);
  if (!bytes.empty() && opened >= std::min<uint64_t>(2ULL * settings_.mss, settings_.receive_buffer / 2))
    ack_now_ = true;
  if (unacknowledged_segments_ > 0 && !ack_now_ && delayed_ack_at_ == kNever)
    delayed_ack_at_ = now + kDelayedAck;
  run(now);
  return bytes;
}

bool ModelTcp::may_reuse_for(const Tcp& syn) const {
  if (state_ == State::closed) return true;
  if (state_ != State::time_wait) return false;
  const bool newer =
      timestamps_ && syn.timestamps && static_cast<int32_t>(syn.timestamps->first - ts_recent_) > 0;
  return newer || unwrap(syn.seq, irs_, rcv_nxt_) > static_cast<int64_t>(rcv_nxt_);
}

std::string ModelTcp::describe() const {
  return fmt::format("{} una+{} nxt+{} max+{} edge+{} rcv+{} told+{} written {}", name_of(state_), una_, nxt_,
                     max_, edge_, rcv_nxt_, told_edge_, written_);
}

}  // namespace understudy::sim
