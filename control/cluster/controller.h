#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/instant.h"
#include "common/random.h"
#include "common/strong.h"
#include "control/cluster/action.h"
#include "control/cluster/arbiter.h"
#include "control/cluster/failover.h"
#include "control/cluster/fault_detector.h"
#include "control/cluster/membership.h"
#include "control/cluster/ownership.h"
#include "control/cluster/settings.h"
#include "dataplane/mirror/heartbeat.h"

namespace understudy::cluster {

// Where a cluster frame came from: its header, and the port that received it.
struct FrameOrigin {
  NodeId node;
  BootId boot;
  LinkId link;
  MacAddress mac;
};

// Of the other nodes that live, per cent that are heard on each network.
struct Reach {
  uint8_t front = 100, back = 100;
  friend bool operator==(const Reach&, const Reach&) = default;
};
// On no network better, and not the same.
bool is_worse(const Reach& one, const Reach& other);

// For `show cluster`.
struct LinkSnapshot {
  std::string name;
  std::optional<Duration> age;  // since something was heard; nothing: never
  MacAddress mac;               // of the peer
  uint64_t frames = 0;
};
struct PeerSnapshot {
  NodeId node;
  std::string name;
  std::optional<BootId> boot;  // nothing: never heard
  bool alive = false;
  uint32_t reboots = 0;  // seen by us
  uint16_t workers = 0;
  uint8_t reach_front = 0, reach_back = 0;
  std::vector<LinkSnapshot> links;
};
struct GroupSnapshot {
  GroupId group;
  std::string name;
  bool is_hidden = false;  // the one of a pair that has nothing of its own now
  GroupState state = GroupState::learning;
  std::string why;
  Duration in_state{0};
  Epoch epoch;          // of the owner; the highest seen when there is none
  std::string owner;    // name; empty when nobody is known to own
  std::string standby;  // of that owner, as it says; empty: it mirrors to nobody
  MirrorReport mirror;
  uint64_t takeovers_total = 0;
  uint64_t legs_lost_total = 0;                     // in them
  const std::deque<Takeover>* takeovers = nullptr;  // by this node; valid until the next call
  const std::deque<Transition>* history = nullptr;  // valid until the next call
};

// Everything that one node decides about ownership. One thread (control), virtual time: every input carries
// `now`, which never runs backwards; every call returns what is to be done. Call tick() at next_deadline(),
// and no later than one heartbeat interval after the last call: longer gaps count as our own absence.
class Controller {
 public:
  // At most mirror::kHeartbeatGroupsMax groups. `log` gets the state changes; may be empty.
  // `arbiter` decides who owns; without one the witnesses do.
  Controller(ClusterSettings settings, LogSink log, Random random,
             std::unique_ptr<Arbiter> arbiter = nullptr);
  Actions start(Instant now);

  Actions on_heartbeat(const mirror::Heartbeat& beat, LinkId link, const MacAddress& source, Instant now);
  Actions on_ownership(std::span<const uint8_t> bytes, const FrameOrigin& from, Instant now);
  Actions on_solicit(const FrameOrigin& from, Instant now);
  // A gateway or backend answered a probe that was sent after ProbeWitnesses.
  Actions on_witness_answer(Instant now);
  // A worker found that it was away (stopped, or not scheduled) for `length` until now. To be called for
  // every absence of more than two intervals. `silenced`: it has muted itself (after dead_after less one
  // interval), so an owner stays silent until it is clear that nobody replaced it, and is told to speak again
  // then. A standby that was away for in_sync_lease holds stale legs.
  Actions on_worker_stall(Duration length, bool silenced, Instant now);
  // Loop count of one of our own workers, read now; call it for each worker before tick(). Optional: without
  // it, a worker that hangs for ever is noticed by the others only.
  void on_worker_progress(uint16_t worker, uint64_t count, Instant now);
  Actions on_promoted(GroupId group, Instant now);
  // What the mirror is worth now. As standby: of our legs (`stale` until a resync has been completed). As
  // owner: of the standby; again until report() of the machine says the same, for under an arbiter a synced
  // standby counts when it is recorded. Not to be called with `stale` for a mirror that fell silent together
  // with its owner.
  Actions on_mirror(GroupId group, const MirrorReport& report, Instant now);
  // As owner: the standby confirmed nothing for too long and was dropped. Another one goes before it for a
  // while.
  Actions on_standby_dropped(GroupId group, NodeId standby, Instant now);
  // As owner: a worker wants to acknowledge past the standby it had (it is silent, or to be changed). Action
  // StandbyRemoved says when it may; at once where nobody has to be told.
  Actions release_standby(GroupId group, Instant now);
  // Heartbeat `number` of worker 0 is about to leave; `sent` is before it.
  Actions on_beat_sent(uint32_t number, Instant sent, Instant now);
  // A worker has fallen silent because its lease was over.
  Actions on_lease_lost(GroupId group, Instant now);
  Actions on_vote(std::span<const uint8_t> payload, const FrameOrigin& from, Instant now);
  // What action Keep asked for is on disk, or could not be put there.
  Actions on_kept(uint64_t sequence, bool is_kept, Instant now);
  // Until when this node may speak for the group; kNever without an arbiter.
  Instant lease_until(GroupId group) const;
  const Arbiter* arbiter() const { return arbiter_.get(); }
  // The synced standby of a group that this node owns. Nothing: there is none, or we are not its owner.
  std::optional<NodeId> heir(GroupId group, Instant now) const;
  // Why `to` cannot be given the group now, as a sentence with the cure; nothing: it can.
  std::optional<std::string> obstacle(GroupId group, NodeId to, Instant now) const;
  // Planned hand-over to the synced standby; an event says it if there is none.
  Actions yield(GroupId group, Instant now);
  // Our workers hold all that the owner had, and it has released the group to us.
  Actions on_handed(GroupId group, Instant now);
  Actions on_hand_over_refused(GroupId group, const std::string& why, Instant now);
  // Hand over what is owned and take nothing more; retired() tells when it is done (SIGTERM: then exit).
  Actions retire(Instant now);
  Actions serve(Instant now);
  Actions tick(Instant now);
  Instant next_deadline() const;

  // Nothing gets through to the group's standby, which has the addresses of its connections
  // (worker/staying.cc).
  Actions on_cut_off(GroupId group, NodeId holder, Instant now);
  // Of a pair, the group that takes new connections; the group itself if it has no twin.
  GroupId current_of(GroupId group) const;

  // What the workers' heartbeats say now; each worker fills in clock_us, legs and legs_unprotected.
  std::vector<mirror::GroupBeat> beat_groups() const;
  Reach reach(Instant now) const;
  bool retired() const;
  // What worker 0 says of the timeline of this node's last claim.
  void note_announced(GroupId group, const Epoch& epoch, Instant when);
  void note_first_packet(GroupId group, Instant when);

  std::vector<PeerSnapshot> peers(Instant now) const;
  std::vector<GroupSnapshot> groups(Instant now) const;
  const OwnershipBook& book() const { return book_; }
  const FailoverMachine* machine(GroupId group) const;
  // As owner: to whom the group is to be mirrored; zero: to nobody.
  NodeId standby_of(GroupId group) const;

 private:
  struct PeerWorker {
    std::optional<uint32_t> number;  // of its newest heartbeat
    uint64_t progress = 0;
    Instant progress_at;  // awake clock
    uint32_t legs = 0, legs_unprotected = 0;
  };
  struct PeerGroup {
    mirror::GroupRole role = mirror::GroupRole::idle;
    Epoch epoch;
    bool legs_stale = false;
    NodeId standby;
    uint32_t era = 0;
    uint32_t echo_number = 0;                                // of the group's owner
    Epoch echoed;                                            // that owner
    std::optional<Instant> echoed_at;                        // when that grew last, on the awake clock
    Instant taught_at = Instant::min();                      // an ownership packet told the role
    std::map<uint16_t, std::pair<uint32_t, uint32_t>> legs;  // by worker: all, unprotected
  };
  struct PeerLink {
    std::optional<Instant> heard_at;  // awake clock
    bool told_down = false;
  };
  struct PeerView {
    bool heard = false;
    bool told_dead = false;
    BootId boot;
    Instant heard_at;    // awake clock
    Instant heard_wall;  // for evidence
    Reach reach{0, 0};   // as it says
    std::vector<PeerWorker> workers;
    std::map<GroupId, PeerGroup> groups;
    std::vector<PeerLink> links;
  };
  // A node that has come back proves for this long that it is there to stay, and as long that it is synced.
  static constexpr Duration kProofTime = 1s;
  // A more preferred node that has come back, while this one owns the group.
  struct Return {
    NodeId node;
    Instant since;                  // it stands by
    std::optional<Instant> synced;  // and holds everything, without a break
    Instant not_before = Instant::min();
    bool told_late = false;
  };
  // As owner whose heartbeats nobody echoes: are the others gone, or are we cut off?
  struct Doubt {
    enum class Answer : uint8_t { awaited, heard, none };  // of a gateway or a backend; none: not in time
    Instant since;
    Instant next_probe;
    Answer answer = Answer::awaited;
    Instant ask_again = kNever;  // once there is an answer, or none
    bool is_first = true;        // the standby is still in the in-sync set
    bool is_open() const { return answer == Answer::awaited; }
  };
  struct Group {
    std::unique_ptr<FailoverMachine> machine;
    bool removing = false;      // the standby, from the in-sync set
    bool removal_owed = false;  // workers wait for StandbyRemoved
    Epoch highest;
    NodeId standby;  // as owner
    Instant owns_since = kNever;
    NodeId avoided;  // as standby of ours, until
    Instant avoided_until = Instant::min();
    config::Failback failback = config::Failback::never;
    std::optional<Doubt> doubt;
    std::optional<Instant> worse_since;  // as owner: its standby has the better networks
    Instant yield_not_before = Instant::min();
    std::optional<Return> returned;  // of a pair, the configured group's counts
    std::optional<GroupId> twin;
    bool is_spare = false;
    uint32_t era = 0;                    // the latest that anybody has said
    std::optional<Instant> empty_since;  // its last connection that stayed has ended
  };
  struct OwnWorker {
    uint64_t count = 0;
    Instant grew_at;
    Duration unwatched{0};  // since then: control was away itself
    bool told = false;
  };
  struct Hang {
    uint16_t worker = 0;
    Duration lasts;
  };

  // controller.cc
  void enter(Instant now, Actions& actions);
  Actions leave(Instant now, Actions actions);
  void feed(Group& group, const FailoverInput& input, Actions& actions);
  void feed_all(FailoverEvent event, const std::string& why, Instant now, Actions& actions);
  void review(Group& group, Instant now, Actions& actions);
  void choose_standbys(Instant now, Actions& actions);
  Surroundings surroundings(const Group& group, Instant now) const;
  OwnerSignals signals(const PeerView& peer, BootId followed, GroupId group) const;
  Evidence evidence(NodeId owner, GroupId group, const OwnerSignals& heard, Instant now) const;
  Moment moment(Instant now) const { return {clock_.awake(now), now, clock_.grace_ends()}; }
  bool is_alive(const PeerView& peer, Instant now) const;
  void want_ownership(Instant now);

  // controller_hearing.cc
  bool sight(const FrameOrigin& from, Instant now, Actions& actions);
  void report_duplicate(Instant now, Actions& actions);
  void report_contested(NodeId node, Instant now, Actions& actions);
  bool is_established(Instant now) const;
  bool is_news(const mirror::Heartbeat& beat, PeerView& peer);
  void learn_groups(const mirror::Heartbeat& beat, PeerView& peer, Instant now);
  void hear_owner(NodeId node, Group& group, Instant now, Actions& actions);

  // controller_local.cc
  void watch_links(Instant now, Actions& actions);
  void watch_own_workers(Instant now, Actions& actions);
  bool a_worker_hangs(Instant now) const;
  std::optional<Hang> longest_hang(Instant now) const;
  std::vector<std::vector<uint8_t>> ownership_payloads();
  const std::string& name_of_node(NodeId node) const;

  // controller_reach.cc
  void watch_reach(GroupId id, Group& group, Instant now, Actions& actions);
  void watch_company(GroupId id, Group& group, Instant now, Actions& actions);
  bool is_echoed(GroupId id, const Group& group, Instant now) const;
  void watch_hang(GroupId id, Group& group, Instant now, Actions& actions);
  bool is_followed(GroupId id, const Group& group, Instant now) const;
  void let_go(Group& group, std::string why, Instant now, Actions& actions);

  // controller_hand_over.cc
  void watch_return(GroupId id, Group& group, Instant now, Actions& actions);
  std::optional<NodeId> proven_return(Group& group, GroupId id, bool is_safe, Instant now, Actions& actions);
  std::optional<NodeId> more_preferred(GroupId id, const Group& group, Instant now) const;
  void feed_with_heir(GroupId id, Group& group, FailoverEvent event, Instant now, Actions& actions);

  // controller_staying.cc
  void watch_pair(GroupId id, Instant now, Actions& actions);
  void give_current_back(GroupId id, GroupId current, GroupId other, Instant now, Actions& actions);
  void end_staying(GroupId id, Instant now, Actions& actions);
  bool has_connections(GroupId id) const;
  std::optional<NodeId> owner_now(GroupId id, Instant now) const;
  std::optional<NodeId> holder_beside(GroupId id, Instant now) const;
  void name_pair(GroupSnapshot& snapshot, const std::vector<GroupSnapshot>& all) const;

  // controller_arbiter.cc
  void consult(Instant now, Actions& actions);
  void take_verdict(const Verdict& verdict, Instant now, Actions& actions);
  void resume_removals(Instant now, Actions& actions);
  void watch_leases(Instant now, Actions& actions);
  void lose_lease(Group& group, Instant now, Actions& actions);
  MirrorReport as_recorded(GroupId id, const Group& group, MirrorReport report, Instant now);
  bool is_standby_removed(GroupId id, Group& group, Instant now);
  std::vector<NodeId> silent_peers(Instant now) const;

  ClusterSettings settings_;
  std::map<NodeId, std::string> names_;
  AwakeClock clock_;
  Membership membership_;
  OwnershipBook book_;
  std::unique_ptr<Arbiter> arbiter_;
  std::map<NodeId, PeerView> peers_;
  std::map<GroupId, Group> groups_;
  std::map<uint16_t, OwnWorker> own_workers_;
  uint64_t freshness_ = 0;
  Instant started_;
  Instant last_call_;
  Instant ownership_due_ = kNever;
  std::optional<Instant> ownership_sent_;
  Instant solicit_due_ = kNever;
  Instant duplicate_told_until_ = Instant::min();
};

}  // namespace understudy::cluster
