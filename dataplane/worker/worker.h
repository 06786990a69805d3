#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "common/random.h"
#include "dataplane/mirror/channel.h"
#include "dataplane/mirror/frame_opener.h"
#include "dataplane/mirror/frame_sealer.h"
#include "dataplane/mirror/owner_log.h"
#include "dataplane/mirror/replica.h"
#include "dataplane/neighbour/resolver.h"
#include "dataplane/service/connect_check.h"
#include "dataplane/service/proxy.h"
#include "dataplane/service/source_pool.h"
#include "dataplane/service/stream_applications.h"
#include "dataplane/tcp/engine.h"
#include "dataplane/worker/buffer_reserve.h"
#include "dataplane/worker/mailbox.h"
#include "dataplane/worker/messages.h"
#include "dataplane/worker/settings.h"
#include "dataplane/worker/syn_guard.h"

namespace understudy::worker {

// One lcore's share of the node: the shards that map to it, from frame to frame. It has no clock and no
// thread of its own: whoever runs it (an lcore, a test, a simulator) calls run_once with the time. One
// thread, but for status() and the mailboxes, whose other end is control's.
class Worker final : private tcp::SegmentSink, private mirror::FrameSink, private neighbour::Egress {
 public:
  // `pool` serves all frames made here. Names inside DPDK are made unique with `name`.
  Worker(const std::string& name, const WorkerSettings& settings, rte_mempool* pool, uint64_t seed,
         Instant start);

  // One round: commands, frames, timers, mirror, output. True if there was something to do: call again at
  // once.
  bool run_once(Instant now);
  // Nothing happens by itself before this instant. Tell run_once no later.
  Instant next_deadline();
  // Whoever runs it has just opened its ports again: they hold nothing from before. The round that follows
  // may be late because of that; it is an absence like any other, but no reason to open them once more.
  void ports_reopened() { ports_are_new_ = true; }
  // For the last look before sleeping: something waits in a ring that no descriptor announces.
  bool has_mail() const { return !commands_.empty(); }
  // Any thread. Control is waited for; true until take_urgent().
  bool is_urgent() const { return urgent_.load(std::memory_order_acquire); }
  bool take_urgent() { return urgent_.exchange(false, std::memory_order_acq_rel); }

  Mailbox<Command>& commands() { return commands_; }
  Mailbox<Report>& reports() { return reports_; }
  const WorkerStatus& status() const { return status_; }

  // For tests, and for control while the worker is paused.
  tcp::Engine& engine() { return engine_; }
  neighbour::Resolver& resolver() { return resolver_; }
  DropCounters& drops() { return drops_; }
  uint64_t drops_of(DropReason reason) const;
  const service::Proxy* proxy(ServiceId service) const;

 private:
  static constexpr size_t kBurst = 32;

  struct PeerNode {
    NodeId node;
    BootId boot;
    uint16_t workers = 0;  // 0: no peer
    MacAddress mac;
    bool operator==(const PeerNode&) const = default;
  };
  struct ProbedWitness {
    IpAddress address;
    Instant since{};
  };
  struct IncomingStream {
    std::unique_ptr<mirror::ChannelReceiver> channel;
    std::unique_ptr<mirror::Replica> replica;
  };
  // Both ends of a group's mirror. Groups have nothing in common here: each has its own standby and streams.
  struct GroupMirror {
    // As owner.
    PeerNode standby;                      // to whom it is mirrored, or is to be
    std::optional<PeerNode> next_standby;  // control wants it to be, and the other is not told yet
    std::vector<std::unique_ptr<mirror::OwnerLog>> logs;  // by the standby's worker; empty: not mirrored
    Instant open_at{};
    Instant settles_until{};  // after a hand-over to us: what was passed on goes first until then
    NodeId dropped_standby;
    uint32_t dropped_generation = 0;
    bool told_cut_off = false;    // control knows that the standby, which has the addresses, is out of reach
    bool drop_asked = false;      // control sees to it that no successor takes the standby for in sync
    uint32_t standby_orders = 0;  // of control, obeyed
    // As standby. The streams are those of one owner under one epoch; whoever comes with a higher one ends
    // them. While we own the group, or after, the epoch is ours.
    Epoch epoch;
    std::vector<IncomingStream> incoming;  // by the owner's worker
    uint32_t stale_orders = 0;             // of control, obeyed
  };

  // set_up.cc
  static neighbour::ResolverSettings resolver_settings(const WorkerSettings& settings);
  void add_groups();
  void add_services();

  // worker.cc
  void notice_absence(Instant now);
  void distrust_copies();
  void heed_silence();
  void fall_silent(uint32_t silence);
  void mind_leases(Instant now);
  // Under leases an arbiter knows who is in sync: an owner acknowledges past nobody whom it has not taken out
  // of the record first. So our copies are worth what the record says, however long we were away.
  bool copies_expire() const { return settings_.leases == nullptr; }
  bool beat(Instant now);
  bool send_on_all_links(mirror::ClusterFrameKind kind, std::span<const uint8_t> payload);
  void greet(Instant now);
  void emit_sealed(unsigned port, rte_mbuf* frame);
  void publish_status();
  void publish_streams(tcp::GroupIndex group);
  void send_ports();

  // receive.cc
  bool receive_ports(Instant now);
  void end_isolation(Instant now);
  void receive_frame(uint16_t port, rte_mbuf* frame, Instant now);
  void receive_cluster(uint16_t port, rte_mbuf* frame, uint16_t offset, Instant now);
  std::variant<DropReason, mirror::ClusterFrameView> open_cluster_frame(std::span<uint8_t> bytes);
  bool is_peer(NodeId node, BootId boot) const;
  void receive_mirror_data(const mirror::ClusterFrameView& view, rte_mbuf* frame, Instant now);
  void receive_mirror_ack(const mirror::ClusterFrameView& view, Instant now);
  void note_beat(const mirror::ClusterFrameView& view, uint16_t port, Instant now);
  void answer_echo(uint16_t port, rte_mbuf* frame, const wire::IcmpEchoRequest& request,
                   const MacAddress& from, Instant now);
  void look_for_witnesses(Instant now);
  void look_for_rivals();

  // mirroring.cc
  void mirror_round(Instant now);
  void open_streams(tcp::GroupIndex group, Instant now,
                    mirror::OwnerLog::Beginning beginning = mirror::OwnerLog::Beginning::anew);
  IncomingStream& incoming_from(tcp::GroupIndex group, uint16_t peer_worker);
  void drop_stale_standby(tcp::GroupIndex group, Instant now);
  void drop_standby(tcp::GroupIndex group, Instant now);
  bool tell_dropped(tcp::GroupIndex group, Instant now);
  void take_next_standby(tcp::GroupIndex group, Instant now);
  void change_standby(tcp::GroupIndex group, const Command& command, Instant now);
  void close_streams(tcp::GroupIndex group, Instant now);
  void follow(tcp::GroupIndex group, const Epoch& epoch);
  void guard_replicas(tcp::GroupIndex group, Instant now);
  const SharedSigns::Sign* sign_of(NodeId node) const;
  const PeerNode* peer_of(NodeId node) const;
  mirror::OwnerLog* log_for(tcp::GroupIndex group, uint8_t shard);
  mirror::ChannelAddress channel_address(tcp::GroupIndex group, const PeerNode& peer,
                                         uint8_t peer_worker) const;
  ReplicaStatus replica_status(tcp::GroupIndex group) const;

  // hand_over.cc
  // A group that this worker gives away, or has given away lately.
  struct HandOver {
    enum class Phase : uint8_t {
      none,
      stopped,   // silent; changes and soft state are on their way into the log
      released,  // the last word is written; the heir may claim
      mirrors,   // the heir has claimed: our legs are its mirror
    };
    Phase phase = Phase::none;
    NodeId to;
    uint16_t workers = 0;  // of that node; who does not hear it knows of none any more
    bool leaves = false;
    uint32_t next_active = 0;  // cursor over soft states
    size_t releases = 0;       // streams that carry the release
    Instant last_late{};       // frame that was passed on
    Instant over{};            // none is passed on after this
  };
  struct HeldFrame {
    rte_mbuf* frame;
    Instant since;
  };
  void begin_hand_over(tcp::GroupIndex group, const Command& command, Instant now);
  void refuse_hand_over(tcp::GroupIndex group);
  void continue_hand_overs(Instant now);
  bool write_last_words(tcp::GroupIndex group, HandOver& hand_over, Instant now);
  bool is_changing(tcp::GroupIndex group);
  void become_mirror(tcp::GroupIndex group, const Epoch& epoch, Instant now);
  void end_hand_over(tcp::GroupIndex group);
  void take_group_back(tcp::GroupIndex group, Instant now);
  bool is_released(tcp::GroupIndex group) const;
  void tell_released(tcp::GroupIndex group);
  void receive_group(tcp::GroupIndex group, Epoch epoch, Instant now);
  bool pass_on(rte_mbuf* frame, const wire::TcpSegment& segment, const wire::EthernetHeader& ethernet,
               Instant now);
  int group_of(const wire::TcpSegment& segment) const;
  bool hold(uint16_t port, rte_mbuf* frame, const wire::TcpSegment& segment,
            const wire::EthernetHeader& ethernet, Instant now);
  void take_held(Instant now);
  void settle_held(Instant now);
  Instant held_until() const;
  void forget_held(Instant now);
  void warm_neighbours(Instant now);

  // staying.cc
  GroupId addresses_of(tcp::GroupIndex group) const;
  void claim_addresses(tcp::GroupIndex group, Instant now);
  void release_addresses(tcp::GroupIndex group);
  void note_era(tcp::GroupIndex group, uint32_t era, Instant now);
  const PeerNode* keeper_of(tcp::GroupIndex group) const;
  bool is_elsewhere(tcp::GroupIndex group) const;
  bool is_split() const;
  std::optional<tcp::GroupIndex> group_elsewhere(const wire::TcpSegment& segment, Instant now) const;
  bool was_passed(uint16_t port, const wire::EthernetHeader& ethernet) const;
  bool pass_to(const PeerNode& peer, rte_mbuf* frame);
  bool pass_to_keeper(uint16_t port, rte_mbuf* frame, const wire::TcpSegment& segment,
                      const wire::EthernetHeader& ethernet, Instant now);
  bool pass_to_keeper(uint16_t port, rte_mbuf* frame, const wire::IcmpError& error,
                      const wire::EthernetHeader& ethernet);
  bool would_let_go(tcp::GroupIndex group) const;
  void tell_cut_off(tcp::GroupIndex group, Instant now);
  Duration lease_of(tcp::GroupIndex group) const;

  // commands.cc
  bool take_commands(Instant now);
  void obey(const Command& command, Instant now);
  void take_beat(tcp::GroupIndex group, const mirror::GroupBeat& says, Instant now);
  void obey_for_group(tcp::GroupIndex group, const Command& command, Instant now);
  void meet_peer(const Command& command);
  void promote(const Command& command, Instant now);
  void start_check(const Command& command, Instant now);
  void list_connections(Instant now);
  ConnectionRow row_of(uint32_t leg) const;
  int group_index(GroupId id) const;
  void report(Report report);

  // tcp::SegmentSink, mirror::FrameSink, neighbour::Egress
  void transmit(rte_mbuf* frame, const FlowKey& key) override;
  void doubt(const FlowKey& key) override { resolver_.doubt(key.remote, now_); }
  void closes_unlogged(uint32_t leg) override;
  void answer(rte_mbuf* frame, const FlowKey& key, tcp::Origin origin) override;
  void note_first_packet();
  void transmit_cluster(rte_mbuf* frame) override;
  void repeat_cluster(rte_mbuf* sent) override;
  void emit(unsigned port, rte_mbuf* frame) override;

  WorkerSettings settings_;
  rte_mempool* pool_;
  Random random_;
  DropCounters drops_;
  const tcp::ShardMap& shards_;
  neighbour::Resolver resolver_;
  tcp::Engine engine_;
  tcp::GroupIndex local_group_ = 0;  // the node's own addresses
  bool has_pairs_ = false;
  uint16_t peer_port_ = 0;

  // Applications. Stable addresses: services point to them.
  service::Echo echo_;
  service::Discard discard_;
  service::Tally tally_;
  service::ConnectCheck check_;
  std::vector<std::unique_ptr<service::BackendPool>> pools_;  // by position in settings_.pools
  std::vector<std::shared_ptr<service::SourcePool>>
      sources_;  // by position in settings_.groups; a pair's is one
  std::vector<std::pair<ServiceId, std::unique_ptr<service::Proxy>>> proxies_;

  // Frames between nodes.
  mirror::FrameSealer sealer_;
  mirror::FrameOpener opener_;
  Instant next_greeting_{};

  // Mirror.
  std::vector<PeerNode> peers_;       // by position in settings_.nodes
  std::vector<GroupMirror> mirrors_;  // by position in settings_.groups
  uint32_t generation_ = 0;           // of the streams of all groups
  std::vector<uint32_t> log_round_;

  // Planned hand-over.
  std::vector<HandOver> hand_overs_;  // by position in settings_.groups
  unsigned passing_ = 0;              // of them, those that are in some phase
  std::vector<char> told_released_;   // likewise: as standby, what control knows
  std::vector<HeldFrame> held_;       // late frames of groups that are not ours yet
  uint32_t warm_next_ = 0;            // cursor over legs
  BootId leaving_boot_;               // a peer that has handed a group over and goes
  std::atomic<bool> urgent_{false};

  Mailbox<Command> commands_;
  Mailbox<Report> reports_;
  WorkerStatus status_;
  uint8_t reach_front_ = 0, reach_back_ = 0;    // as control said, for heartbeats
  std::vector<mirror::GroupBeat> beat_groups_;  // as control said; by position in settings_.groups
  std::vector<ProbedWitness> probed_;
  std::vector<ConnectionQuery*> queries_;
  int first_packet_group_ = -1;  // a group whose first segment after a takeover has not left yet
  uint64_t rivals_reported_ = 0;

  Instant now_{};
  Instant planned_{};  // when we meant to be called again
  bool ports_are_new_ = false;
  Instant last_frame_{};                     // of whatever kind, on any port
  std::optional<Instant> end_of_isolation_;  // the last that was noticed
  uint32_t silence_ = 0;                     // of SharedSigns::silences, the last that was heeded
  Instant next_beat_{};
  Instant last_beat_{};
  BufferReserve reserve_;        // for heartbeats
  Instant deaf_since_ = kNever;  // by the beats since then no buffer was left to receive into
  SynGuard syn_guard_;
  uint32_t beat_number_ = 0;
  uint64_t rounds_ = 0;
  std::vector<std::vector<rte_mbuf*>> outgoing_;  // by port
};

}  // namespace understudy::worker
