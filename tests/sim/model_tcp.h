#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/instant.h"
#include "tests/sim/wire_model.h"

namespace understudy::sim {

// One TCP connection of a host in the simulator: a second reading of RFC 9293, 5961, 7323, 2018 and 6582,
// which shares nothing with the engine. It behaves as Linux does where that matters to a takeover:
// retransmission timers from 200 ms up, tail-loss probes after a few milliseconds, segments whose SEQ lies
// behind what was received are ignored. Stream offsets count in 64 bits from the SYN (offset 0; byte k of the
// data is offset k + 1), so that nothing here depends on arithmetic modulo 2^32.
//
// What it sends is left in outbox(); what it is to say is pulled from a vector by offset.
class ModelTcp {
 public:
  struct Settings {
    uint32_t local = 0, remote = 0;
    uint16_t local_port = 0, remote_port = 0;
    uint16_t mss = 1460;  // what we take; what we send is the smaller of both
    bool timestamps = true;
    bool sack = true;
    std::optional<uint8_t> scale = 7;
    uint32_t receive_buffer = 128 * 1024;  // bytes
    uint32_t iss = 0;
    uint32_t timestamp_offset = 0;
    bool acknowledges_everything = false;  // no delayed ACK
    Duration time_wait = 1s;
  };
  enum class State : uint8_t {
    syn_sent,
    syn_received,
    established,
    fin_wait_1,
    fin_wait_2,
    close_wait,
    closing,
    last_ack,
    time_wait,
    closed
  };
  enum class End : uint8_t { none, finished, reset, refused, timed_out, aborted };

  // Active open; its SYN is in the outbox.
  ModelTcp(const Settings& settings, const std::vector<uint8_t>* say, Instant now);
  // Passive open by `syn`; its SYN-ACK is in the outbox.
  ModelTcp(const Settings& settings, const Tcp& syn, Instant now);

  void receive(const Tcp& segment, Instant now);
  void tick(Instant now);
  Instant deadline() const { return deadline_; }

  // The application. `say` may be set later by the passive side.
  void set_say(const std::vector<uint8_t>* say) { say_ = say; }
  void write_up_to(uint64_t bytes, Instant now);  // of `say`
  void finish(Instant now);                       // FIN after what has been written
  void abort(Instant now);                        // RST
  std::vector<uint8_t> read(Instant now);         // everything in order
  void run(Instant now);                          // sends what has become possible

  std::vector<Tcp>& outbox() { return outbox_; }
  const Settings& settings() const { return settings_; }
  State state() const { return state_; }
  End end() const { return end_; }
  bool is_open() const { return state_ >= State::established && state_ < State::closed; }
  bool has_unread() const { return !in_order_.empty(); }
  bool peer_finished() const { return peer_finished_; }  // its FIN has come and all before it is read
  uint64_t written() const { return written_; }
  uint64_t acknowledged() const { return una_ == 0 ? 0 : std::min(una_ - 1, written_); }
  bool may_reuse_for(const Tcp& syn) const;  // TIME-WAIT that a SYN may take over (RFC 6191)
  std::string describe() const;

 private:
  void apply_syn(const Tcp& syn);
  void receive_in_syn_sent(const Tcp& segment, Instant now);
  bool acceptable(const Tcp& segment, int64_t at, Instant now);
  void take_ack(const Tcp& segment, int64_t at, Instant now);
  void on_new_ack(uint64_t ack, Instant now);
  void take_data(const Tcp& segment, int64_t at);
  void take_fin(Instant now);
  void our_fin_acknowledged(Instant now);
  void output(Instant now);
  void send(uint64_t at, uint32_t length, Instant now);
  void send_ack(Instant now);
  void send_reset(uint32_t seq);
  Tcp blank() const;
  uint16_t window_field(bool is_syn);
  uint64_t end_of_stream() const { return 1 + written_ + (finishing_ ? 1 : 0); }
  void close(End end);
  void on_timeout(Instant now);
  void arm(Instant now);
  uint32_t clock(Instant now) const;
  uint64_t buffered() const { return in_order_.size(); }

  Settings settings_;
  const std::vector<uint8_t>* say_ = nullptr;
  State state_;
  End end_ = End::none;
  std::vector<Tcp> outbox_;

  // sending
  uint64_t una_ = 0, nxt_ = 0, max_ = 0;
  uint64_t edge_ = 1;  // first offset that the peer does not take
  uint64_t written_ = 0;
  bool finishing_ = false;
  uint16_t peer_mss_ = 536;
  uint8_t send_scale_ = 0;
  int64_t window_seq_ = 0;  // SEQ (offset) and ACK of the last window update
  uint64_t window_ack_ = 0;
  uint64_t congestion_window_ = 0;
  uint64_t slow_start_threshold_ = UINT64_MAX;
  uint64_t recover_ = 0;
  unsigned duplicates_ = 0;
  bool recovering_ = false;

  // receiving
  uint32_t irs_ = 0;
  uint64_t rcv_nxt_ = 0;
  uint64_t told_nxt_ = 0;  // rcv_nxt at our last segment
  uint64_t told_edge_ = 1;
  uint8_t receive_scale_ = 0;
  std::map<uint64_t, std::vector<uint8_t>> out_of_order_;
  uint64_t last_out_of_order_ = 0;
  std::vector<uint8_t> in_order_;
  std::optional<uint64_t> fin_at_;
  bool peer_finished_ = false;
  unsigned unacknowledged_segments_ = 0;
  bool ack_now_ = false;

  bool timestamps_ = false, sack_ = false;
  uint32_t ts_recent_ = 0;

  // timers
  Duration rto_{1s};
  Duration srtt_{0}, rttvar_{0};
  unsigned backoff_ = 0;
  Instant retransmit_at_ = kNever;
  Instant probe_tail_at_ = kNever;
  Instant delayed_ack_at_ = kNever;
  Instant end_at_ = kNever;
  Instant deadline_ = kNever;
  std::optional<std::pair<uint64_t, Instant>> timed_;  // a segment whose round trip is measured
};

std::string name_of(ModelTcp::State state);

}  // namespace understudy::sim
