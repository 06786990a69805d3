#pragma once

#include <string>
#include <vector>

#include <rte_mempool.h>

#include "common/siphash.h"
#include "dataplane/tcp/application.h"
#include "dataplane/tcp/burden_queue.h"
#include "dataplane/tcp/connection_table.h"
#include "dataplane/tcp/cookie.h"
#include "dataplane/tcp/engine_counters.h"
#include "dataplane/tcp/engine_settings.h"
#include "dataplane/tcp/group.h"
#include "dataplane/tcp/path_mtu_table.h"
#include "dataplane/tcp/pipe.h"
#include "dataplane/tcp/reset_limit.h"
#include "dataplane/tcp/reset_table.h"
#include "dataplane/tcp/send_report.h"
#include "dataplane/tcp/shard.h"
#include "dataplane/tcp/soft.h"
#include "dataplane/tcp/source_table.h"
#include "dataplane/tcp/timer_wheel.h"
#include "dataplane/wire/drop_reason.h"
#include "dataplane/wire/frame.h"

namespace understudy::tcp {

// Where finished segments go: IP and TCP are built and checksummed, the Ethernet header is still unset.
class SegmentSink {
 public:
  virtual ~SegmentSink() = default;
  virtual void transmit(rte_mbuf* frame, const FlowKey& key) = 0;
  // What is sent to key.remote is not acknowledged: the way there may be broken (R1 of RFC 9293
  // section 3.8.3).
  virtual void doubt(const FlowKey& /*key*/) {}
  // A mirrored leg is about to close, and some of what it has received is not yet in the log: it may reach
  // the sink all the same, and then the standby needs it, too.
  virtual void closes_unlogged(uint32_t /*leg*/) {}
  // An answer to a stranger, who has not shown yet that he has the address in whose name he speaks: it goes
  // back to where his segment came from, and nothing is to be kept for it.
  virtual void answer(rte_mbuf* frame, const FlowKey& key, Origin) { transmit(frame, key); }
};

// A mirrored leg that is gone; its slot may be taken again already.
struct ClosedLeg {
  LegId leg;
  GroupIndex group = 0;
  uint8_t shard = 0;
};

// The TCP engine of one worker: every leg of its shards, without I/O and without a clock. A burst is
//
//   receive(segment, now)...   →  log_pending(): the mirror writes what changed, or commit_pending()
//   run_timers(now)            →  flush(now): segments leave through the sink
//
// One thread. Nothing allocates after construction.
class Engine {
 public:
  Engine(const EngineSettings& settings, const Secret& secret, const ShardMap& shards, rte_mempool* pool,
         SegmentSink& sink, Instant start);

  // -- set-up, before the first segment
  GroupIndex add_group(GroupId id, bool always_local = false);
  // `spare` serves the same addresses and services as `group`, to which these are given (pairs.cc).
  void pair(GroupIndex group, GroupIndex spare);
  void add_address(GroupIndex group, const IpAddress& address);
  void add_service(const Service& service);

  // -- the wire (input.cc). Takes the frame.
  void receive(rte_mbuf* frame, const wire::TcpSegment& segment, Instant now, Origin origin = Origin());
  // An ICMP error about a segment of ours (network_errors.cc). Always counted under a drop reason.
  void receive_error(const wire::IcmpError& error, Instant now);
  // Payload bytes that may still be accepted before the next log round; beyond it payload is dropped
  // unacknowledged.
  void set_payload_budget(uint64_t bytes) { payload_budget_ = bytes; }

  // -- time (timers.cc)
  void run_timers(Instant now);
  Instant next_deadline() const;

  // -- end of a burst (output.cc)
  void flush(Instant now);

  // -- for applications
  uint32_t create_pipe() { return pipes_.create(); }
  // Hands the leg its pipes; each call takes over the caller's reference. Source and sink are linked here.
  void set_receive_pipe(uint32_t leg, uint32_t pipe);
  void set_send_pipe(uint32_t leg, uint32_t pipe);
  // Two of its own. False: there is no room; what the leg has got goes with it.
  bool give_pipes(uint32_t leg);
  // Joins a client leg and a backend leg: what one receives, the other sends. Also what the standby does on
  // BIND.
  void link(uint32_t client, uint32_t backend);
  // Opens a leg from key.local to key.remote. The caller sets its pipes and partner at once. kNone: table
  // full, or nobody can have that address.
  uint32_t connect(GroupIndex group, const FlowKey& key, const Service* service, Instant now);
  // Ends a leg with a reset to the peer; the application is not told.
  void abort(uint32_t leg, Instant now);
  void consume(uint32_t leg, uint64_t up_to_offset);
  bool write(uint32_t leg, std::span<const uint8_t> bytes);
  void finish_writing(uint32_t leg);
  // What has been written so far is urgent (RFC 9293 section 3.8.5). New applications should do without.
  void mark_urgent(uint32_t leg);
  // Bytes of the receive queue that the peer calls urgent; 0: none.
  uint64_t urgent_bytes(const Connection& c) const;
  void want_output(uint32_t leg);
  void want_log(uint32_t leg);

  // -- for the mirror (gate.cc)
  // Legs whose hard state changed since the last round; the caller clears each with logged().
  std::vector<uint32_t>& log_pending() { return log_pending_; }
  // The right edge to be recorded for a leg now; moves it first if that is worth an update.
  void decide_edge(Connection& c);
  // The in-sync set holds this much of the leg.
  void commit(Connection& c, Seq nxt, Seq edge, uint64_t sendable);
  void commit_all(Connection& c);
  // A round without a standby: whatever changed since the last one is committed at once. What follows in
  // flush() may change more.
  void commit_pending();
  // Standby: a leg of the group under its record's key, without soft state, voice off. kNone: table full.
  uint32_t insert_mirrored(const FlowKey& key, const Service* service, GroupIndex group);
  void erase_mirrored(uint32_t leg) { free_leg(leg); }
  // The stream offset that an acknowledgement number stands for; FIN's own number maps to tail.
  uint64_t offset_of_ack(const Connection& c, Seq ack) const;
  // What the owner says that the path to the peer takes; 0: no limit (network_errors.cc).
  void use_path_mtu(Connection& c, uint16_t mtu, Instant now);
  void inherit_path_mtu(Connection& c, uint16_t mtu, Instant now);  // a record says so
  void forget_path_mtu(const Connection& c) { path_mtus_.forget(c.key.remote); }
  uint16_t path_mtu(const Connection& c) const;
  // The peer has been heard, here or by the owner that tells us (liveness.cc).
  void note_heard(Connection& c, Instant now);
  // What a mirror says of it, and how it is said again.
  Silence silence_of(const Connection& c, Instant now) const;
  void set_silence(Connection& c, const Silence& silence, Instant now);
  uint32_t engine_ms(Instant now) const { return static_cast<uint32_t>(to_ms(now - start_)); }
  // Legs that ended since the last round, with the generation they had: the mirror writes CLOSE for them.
  std::vector<ClosedLeg>& closed_legs() { return closed_legs_; }

  // -- takeover (takeover.cc)
  void take_over(GroupIndex group, Epoch epoch, Instant now, Duration reset_hold);
  void give_up(GroupIndex group);       // voice off; legs stay as they are
  void discard_legs(GroupIndex group);  // forget them without a word on the wire
  // The voice is back, and the legs are those that had it: the sweep looks at deadlines that passed in
  // silence, and gives peers that spoke lately a segment to answer.
  void speak_again(GroupIndex group);
  // In no group does an unknown connection get an RST before `until`.
  void hold_resets(Instant until);
  // Works on at most `legs` slots of the resume sweep. False when no sweep is in progress.
  bool sweep(Instant now, uint32_t legs);
  bool sweeping() const { return sweep_.active; }

  // -- planned hand-over (hand_over.cc): soft state goes along, so that the peers notice nothing
  // Oldest first: visit(const SentSegment&).
  template <class Visit>
  void visit_sent(const Soft& soft, Visit&& visit) const {
    for (uint32_t at = soft.sent_first; at != kNone; at = sent_[at].next) visit(sent_[at]);
  }
  // The out-of-order queue: visit(const Chunk&, its bytes).
  template <class Visit>
  void visit_early(const Soft& soft, Visit&& visit) {
    for (uint32_t at = soft.reassembly_first; at != kNone; at = pipes_.chunk(at).next)
      visit(pipes_.chunk(at), pipes_.bytes_of(pipes_.chunk(at)));
  }
  // Every soft state once: the leg that has it, kNone where none is taken.
  uint32_t active_capacity() const { return soft_.capacity(); }
  uint32_t active_leg(uint32_t slot) const { return soft_.is_taken(slot) ? soft_[slot].leg : kNone; }
  // Standby: an empty soft state for a mirrored leg, which sleeps until wake_handed. Null: there is none
  // left.
  Soft* take_handed_soft(uint32_t leg, Instant now);
  // False: no room; the leg is then resumed as after a crash (forget_soft).
  bool add_handed_sent(uint32_t leg, const SentSegment& sent);
  bool add_handed_early(uint32_t leg, uint64_t offset, std::span<const uint8_t> bytes);
  void forget_soft(uint32_t leg);
  // As take_over, but nothing is uncertain: what sleeps is woken without a word to its peer. Legs with soft
  // state are for wake_handed, one by one.
  void receive_hand_over(GroupIndex group, Epoch epoch, Instant now, Duration reset_hold);
  void wake_handed(uint32_t leg, Instant now);
  // From here on bytes stay until they are in the log; everything so far is known to the standby.
  void keep_unlogged(Connection& c);
  void keep_no_more(Connection& c);  // there is no log that they would wait for
  // The former owner keeps its legs as the mirror of its successor; those without protection go.
  void lie_down(GroupIndex group);

  // -- upkeep: idle timeouts, release of soft state; looks at no more than `slots_most` slots per call
  // (upkeep.cc)
  void upkeep(Instant now, uint32_t slots_most);

  ConnectionTable& legs() { return legs_; }
  const ConnectionTable& legs() const { return legs_; }
  PipeStore& pipes() { return pipes_; }
  const Soft* soft_of(const Connection& c) const { return c.soft == kNone ? nullptr : &soft_[c.soft]; }
  Group& group(GroupIndex index) { return groups_[index]; }
  const Group& group(GroupIndex index) const { return groups_[index]; }
  GroupIndex groups() const { return static_cast<GroupIndex>(groups_.size()); }
  const Service* find_service(ServiceId id) const;
  // Who answers here for an address when there is no connection; -1: it is nobody's. Of a pair: the current
  // one if it is ours, the other one if only that is.
  int find_group(const IpAddress& address) const;
  // Of a pair, the group that takes new connections, wherever it is; the group itself if it has no twin.
  GroupIndex current_of(GroupIndex group) const;
  bool serves(GroupIndex group, const Service& service) const {
    return service.group == group || groups_[service.group].twin == group;
  }
  // An ACK for no connection that brings back a cookie which may still be taken (admission.cc).
  bool brings_cookie(const wire::TcpSegment& segment, Instant now) const;
  void limit_segments(ServiceId id, uint16_t segment_max);
  // Takes no new connections for the service; those it has go on. Its id stays known.
  void stop_listening(ServiceId id);
  const std::vector<Service>& services() const { return services_; }
  const ShardMap& shards() const { return shards_; }
  const EngineSettings& settings() const { return settings_; }
  uint32_t half_open() const { return embryonic_.size(); }
  uint32_t stalled() const { return stalled_.size(); }
  uint32_t silent() const { return silent_; }
  EngineCounters& counters() { return counters_; }
  DropCounters& drops() { return drops_; }
  uint32_t window_unit(const Connection& c) const { return 1U << c.rcv_scale; }
  // What we tell a peer of this family: the MTU without IP and TCP headers (RFC 9293 section 3.7.1).
  uint32_t mss_for_peer(const FlowKey& key) const { return settings_.mtu - (key.local.is_v4() ? 40U : 60U); }
  // The same with the service's limit, if there is one: what stands on our SYN.
  uint32_t mss_to_offer(const FlowKey& key, const Service* service) const;
  uint32_t mss_to_offer(const Connection& c) const { return mss_to_offer(c.key, find_service(c.service)); }
  // Payload of a full segment: the peer's MSS less the options that every segment carries (RFC 9293 section
  // 3.7.1).
  uint32_t segment_payload_max(const Connection& c) const;
  SendReport report(const Connection& c) const;  // report.cc

 private:
  friend class EngineTestAccess;

  // One received segment on its way through RFC 9293 section 3.10.7.
  struct Arrival {
    rte_mbuf* frame;  // null once its payload has been taken
    const wire::TcpSegment& segment;
    Instant now;
    Origin origin;
  };

  // input.cc
  void drop(Arrival& arrival, DropReason reason);
  void receive_without_connection(Arrival& arrival, const FlowKey& key);
  void receive_on(uint32_t leg, Arrival& arrival);
  void receive_in_syn_sent(Connection& c, uint32_t leg, Arrival& arrival);
  Seq last_ack_decided(const Connection& c) const;
  bool process_ack(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now);
  void process_window(Connection& c, const wire::TcpSegment& s);
  void process_text(Connection& c, uint32_t leg, Arrival& arrival);
  void process_data(Connection& c, uint32_t leg, Arrival& arrival);
  void process_fin(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now);
  void accept_fin(Connection& c, uint32_t leg, Instant now);
  const Service* find_listener(const IpAddress& address, PortNumber port) const;

  // validation.cc
  bool segment_acceptable(Connection& c, const wire::TcpSegment& s, Instant now);
  bool check_timestamps(Connection& c, const wire::TcpSegment& s, Instant now);
  bool timestamp_is_outdated(const Connection& c, Instant now) const;
  bool check_reset(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now);
  bool check_syn(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now);
  void challenge(Connection& c, uint32_t leg, Instant now);

  // admission.cc
  void admit(Arrival& arrival, const FlowKey& key, GroupIndex group, const Service& service);
  void answer_with_cookie(Arrival& arrival, const FlowKey& key, GroupIndex group);
  bool open_from_cookie(Arrival& arrival, const FlowKey& key, GroupIndex group);
  bool make_room(Instant now);
  uint32_t insert_leg(const FlowKey& key, Instant now);
  void bear(Connection& c, Burden burden, Instant now);
  void relieve(Connection& c);
  void note_stall(Connection& c, Instant now);
  void note_progress(Connection& c, const Soft& soft);
  bool stalls_too_long(const Connection& c, Instant now) const;
  bool has_only_opened(const Connection& c) const;
  bool is_silent_too_long(const Connection& c, uint32_t leg, uint32_t quiet_ms);
  void forget_silence(const Connection& c, uint32_t leg);
  BurdenQueue& queue_of(Burden burden) { return burden == Burden::embryonic ? embryonic_ : stalled_; }

  // handshake.cc
  void open_passively(Arrival& arrival, const FlowKey& key, GroupIndex group, const Service& service);
  uint32_t begin_passively(const FlowKey& key, GroupIndex group, const Service& service,
                           const wire::TcpSegment& syn, Instant now);
  void choose_numbers(Connection& c, Instant now);
  uint8_t own_window_shift() const;
  void apply_syn_options(Connection& c, const wire::TcpSegment& s, Instant now);
  void become_established(Connection& c, uint32_t leg, Instant now);
  bool reopen_time_wait(uint32_t leg, Arrival& arrival);

  // pairs.cc
  Instant reset_hold_until(const Group& group) const;

  // ack.cc
  bool believe(const Connection& c, Seq ack) const;
  void acknowledge(Connection& c, uint32_t leg, Seq ack, uint32_t sacked, Instant now);
  void our_fin_acknowledged(Connection& c, uint32_t leg, Instant now);
  uint32_t process_sack(Connection& c, Soft& soft, const wire::TcpSegment& s, Instant now);
  uint32_t remove_acknowledged(Connection& c, Soft& soft, Instant now, bool measure);

  // recovery.cc
  void rack_update(Soft& soft, const SentSegment& sent, Instant now);
  void rack_detect_reordering(Soft& soft, const SentSegment& sent);
  void rack_detect_loss(Connection& c, Soft& soft, Instant now);
  void mark_lost(Soft& soft, SentSegment& sent);
  void enter_recovery(Connection& c, Soft& soft);
  void after_ack(Connection& c, Soft& soft, uint32_t delivered, bool una_advanced, Instant now);
  void prr_update(Connection& c, Soft& soft, uint32_t delivered, bool safe);
  void retransmission_timeout(Connection& c, uint32_t leg, Soft& soft, Instant now);
  void send_tail_loss_probe(Connection& c, Soft& soft, Instant now);
  void process_probe_answer(Connection& c, Soft& soft, const wire::TcpSegment& s);
  void rearm_retransmission(Connection& c, Soft& soft, Instant now);
  void schedule_probe(const Connection& c, Soft& soft, Instant now);
  void count_duplicate_ack(Connection& c, Soft& soft, Instant now);

  // ecn.cc
  bool requests_ecn(const Connection& c, const Soft& soft) const;
  uint8_t ecn_flags_of_syn(const Connection& c, const Soft* soft) const;
  bool grants_ecn(const wire::TcpSegment& syn) const;
  void note_mark(Soft& soft, const wire::TcpSegment& s);
  void process_congestion_echo(Connection& c, Soft& soft, const wire::TcpSegment& s);
  bool has_reduced(const Connection& c, const Soft& soft) const;
  void note_reduction(const Connection& c, Soft& soft);
  void mark_outgoing(Soft& soft, bool new_data, wire::TcpSegmentToSend& segment);

  // reassembly.cc
  void queue_out_of_order(const Connection& c, Soft& soft, uint32_t chunk);
  void deliver_reassembled(Connection& c, Soft& soft);
  void deliver(Connection& c, uint32_t leg, Instant now);
  void note_duplicate(const Connection& c, Soft& soft, uint64_t begin, uint64_t end);
  void fill_sack_blocks(const Connection& c, Soft& soft, wire::TcpOptions& options);
  void drop_reassembly(Soft& soft);

  // output.cc
  void output(uint32_t leg, Instant now);
  void send_syn(Connection& c, uint32_t leg, Soft& soft, Instant now);
  void retransmit_lost(Connection& c, Soft& soft, Instant now);
  void send_new(Connection& c, uint32_t leg, Soft& soft, Instant now);
  uint32_t next_payload(const Connection& c, const Soft& soft, uint64_t offset, uint32_t planned) const;
  bool may_finish(const Connection& c) const;
  void send_fin(Connection& c, uint32_t leg, Soft& soft, Instant now);
  void send_acknowledgements(Connection& c, Soft& soft, Instant now);
  bool send_data(Connection& c, Soft& soft, Seq seq, uint32_t length, uint8_t flags, Instant now);
  void record_sent(Soft& soft, Seq seq, uint32_t length, Instant now);
  bool split_sent(Soft& soft, uint32_t at, uint32_t length);
  void note_fin_sent(Connection& c, uint32_t leg);
  bool window_update_due(const Connection& c) const;
  uint32_t send_allowance(const Connection& c, const Soft& soft) const;

  // emission.cc
  bool send_empty(Connection& c, Soft* soft, Seq seq, uint8_t flags, Instant now);
  void emit(Connection& c, Soft* soft, rte_mbuf* frame, Seq seq, uint8_t flags, Instant now);
  void send_reset(const FlowKey& key, Seq seq, Seq ack, uint8_t flags);
  void send_reset(const Connection& c, Instant now);
  void send_without_leg(wire::TcpSegmentToSend segment);
  void hand_out(rte_mbuf* frame, const FlowKey& key, Origin origin);
  uint8_t type_of_service(const Connection& c) const;
  uint16_t window_to_advertise(const Connection& c, bool is_syn) const;

  // timers.cc
  void arm(Connection& c, Soft& soft);
  void on_timer(uint32_t soft_index, Instant now);
  void send_window_probe(Connection& c, Soft& soft, Instant now);
  void await_window(Connection& c, Soft& soft, Instant now);
  void enter_time_wait(Connection& c, uint32_t leg, Instant now);
  void await_end_of_time_wait(Connection& c, uint32_t leg, Instant now);
  bool end_oldest_time_wait(Instant now);

  // network_errors.cc
  void settle_mss(Connection& c, uint16_t path_mtu);
  void refresh_path_mtu(Connection& c, uint32_t leg, Instant now);
  void packet_too_big(Connection& c, uint32_t leg, const wire::IcmpError& error, Instant now);
  void suspect_black_hole(Connection& c, uint32_t leg, const Soft& soft, Instant now);
  void acquit_path(Connection& c, uint32_t leg, Instant now);

  // urgent.cc
  void process_urgent(Connection& c, uint32_t leg, const wire::TcpSegment& s, Instant now);
  void note_urgent(Connection& c, uint64_t end, Instant now);
  void point_at_urgent(const Connection& c, wire::TcpSegmentToSend& segment);

  // liveness.cc
  void note_arrival(Connection& c, const wire::TcpSegment& s, Instant now);
  void note_first_use(Connection& c, Instant now);
  uint16_t engine_s(Instant now) const;
  bool keep_alive(Connection& c, uint32_t leg, const Service& service, Instant now);
  void start_user_timeout(Soft& soft, Instant now);
  void note_progress(Soft& soft, Instant now);
  bool out_of_retries(const Connection& c, Soft& soft);
  void give_up(Connection& c, uint32_t leg, Instant now);

  // engine.cc
  Soft* soft_for(Connection& c, uint32_t leg, Instant now);  // takes one if need be; null when there is none
  void release_soft(Connection& c);
  void close(uint32_t leg, CloseReason reason, Instant now);
  void free_leg(uint32_t leg);
  void count_leg(const Connection& c);

  // takeover.cc
  bool moved_lately(const Connection& c, Instant now) const;  // within 5 s
  void resume(Connection& c, uint32_t leg, Instant now);
  bool owes_data(const Connection& c) const;
  void speak_again(Connection& c, uint32_t leg, Instant now);
  void tell_if_open(Connection& c, uint32_t leg, Instant now);

  struct Address {
    IpAddress address;
    GroupIndex group;
  };
  struct TimeWaitEntry {
    LegId leg;
    Instant until;
  };
  struct Sweep {
    bool active = false;
    uint32_t next = 0;
    uint8_t pass = 0;  // 0: legs with unacknowledged data, and those that speak again; 1: the others
  };

  EngineSettings settings_;
  Secret secret_;
  const ShardMap& shards_;
  rte_mempool* pool_;
  SegmentSink& sink_;
  Instant start_;

  ConnectionTable legs_;
  PipeStore pipes_;
  Slab<Soft> soft_;
  Slab<SentSegment> sent_;
  TimerWheel wheel_;
  BurdenQueue embryonic_;
  BurdenQueue stalled_;
  SourceTable sources_;
  std::vector<bool> is_silent_;  // by leg: counted in silent_, and for its source
  uint32_t silent_ = 0;
  PathMtuTable path_mtus_;
  ResetTable resets_;
  ResetLimit reset_limit_;
  std::vector<Group> groups_;
  std::vector<Address> addresses_;
  std::vector<Service> services_;
  std::vector<uint32_t> output_pending_;
  std::vector<uint32_t> output_round_;
  std::vector<uint32_t> log_pending_;
  std::vector<ClosedLeg> closed_legs_;
  // A ring, for all wait equally long. It has room for half the table: beyond that the oldest make way, so
  // that the dead never crowd out the living.
  std::vector<TimeWaitEntry> time_wait_;
  size_t time_wait_head_ = 0;
  size_t time_wait_count_ = 0;
  bool duplicate_noted_ = false;       // by the segment that is being looked at (RFC 2883)
  const FlowKey* stranger_ = nullptr;  // whose segment is being looked at, unless he has a connection
  Origin stranger_origin_;
  Sweep sweep_;
  uint32_t upkeep_next_ = 0;
  Instant upkeep_at_;
  uint64_t payload_budget_ = UINT64_MAX;
  EngineCounters counters_;
  DropCounters drops_;
};

}  // namespace understudy::tcp
