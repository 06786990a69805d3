#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/instant.h"
#include "common/log.h"
#include "common/random.h"
#include "common/strong.h"
#include "control/cluster/action.h"
#include "control/cluster/evidence.h"
#include "control/cluster/fault_detector.h"
#include "control/cluster/ownership.h"
#include "dataplane/mirror/heartbeat.h"

namespace understudy::cluster {

// Where a node stands with a group.
enum class GroupState : uint8_t {
  learning,         // just started, or just back from a pause: listens, claims nothing
  standby_syncing,  // follows an owner; the legs mirrored so far may be resumed
  standby_synced,   // follows an owner; holds everything
  standby_stale,    // follows an owner; its legs must not be resumed
  standby_empty,    // follows an owner that mirrors to another node, or has not begun to mirror to this one
  suspecting,       // wants the group: waits for its turn and for a witness
  requesting,       // has asked the arbiter for it
  claiming,         // has claimed; its workers are taking over
  owner_unprotected,
  owner_syncing,
  owner_protected,
  yielding,    // owner that gives the group up or hands it over, already silent
  fenced,      // owner that silenced itself and listens whether it was replaced
  maintenance  // takes nothing until told to serve
};
constexpr size_t kGroupStates = 14;

enum class FailoverEvent : uint8_t {
  deadline,         // the machine's own deadline has come
  owner_heard,      // another node says that it owns, and is not suspect
  owner_suspected,  // the followed owner is suspect
  owner_released,   // the followed owner gives the group up
  witness_answered,
  promoted,   // workers did what Promote asks
  stalled,    // this node's workers were away for too long
  readiness,  // news of the mirror
  yield,      // operator: hand the group to the standby, and stand by
  retire,     // operator or SIGTERM: hand over what is owned, take nothing more
  serve,      // operator: end of maintenance
  handed,     // workers hold all that the followed owner had, and it has released the group
  refused,    // workers cannot hand the group over
  cut_off,    // as owner: nobody is served from here (or, of connections that stay, nothing gets through to
              // who has their addresses)
  granted,    // the arbiter's verdict on what was asked
  denied,
  lease_lost  // as owner: the time for which the arbiter lets this node speak is over
};
constexpr size_t kFailoverEvents = 17;

std::string_view name_of(GroupState state);  // "standby(synced)"
std::string_view name_of(FailoverEvent event);
constexpr bool is_owner(GroupState state) {
  return state >= GroupState::owner_unprotected && state <= GroupState::owner_protected;
}
constexpr bool is_standby(GroupState state) {
  return state >= GroupState::standby_syncing && state <= GroupState::standby_empty;
}

struct FailoverSettings {
  NodeId self;
  GroupId group;
  std::string name;                // of the group, for sentences
  std::vector<NodeId> successors;  // most preferred first
  bool may_take_over = true;       // false: fail-over policy none; only the first successor claims, at boot
  bool has_witnesses = true;       // false: none is configured, so none can be asked
  bool asks = false;               // an arbiter decides; false: the witnesses do
  Duration dead_after = 100ms;
  Duration learn_for = 250ms;        // at least 2 × dead_after
  Duration rank_delay = 30ms;        // per better-placed candidate, in a takeover
  Duration boot_rank_delay = 500ms;  // the same when nobody ever owned
  Duration jitter_max = 10ms;
  Duration probe_interval = 20ms;
  Duration cold_after = 3s;         // without a better candidate for so long, stale legs do not matter
  Duration lone_after = 3s;         // at boot: without any answer on any network for so long, claim anyhow
  Duration yield_patience = 1s;     // nobody took what was offered
  Duration ask_again_after = 10ms;  // after a denial, and up to four times as long by chance
  Duration hand_over_patience = 500ms;  // the standby did not take what was to be handed over
};

// The first claim ever is counter 2; counter 1 is what a node takes that saw no other node and got no
// answer from anywhere: it may be alone in the dark, and yields to everybody else when light returns.
constexpr uint32_t kLoneCounter = 1;

struct HeardOwner {
  NodeId node;
  BootId boot;
  Epoch epoch;
  std::string name;  // of the node
};

struct MirrorReport {
  Readiness readiness = Readiness::none;
  uint32_t legs = 0;              // owned or mirrored here
  uint32_t legs_unprotected = 0;  // as owner: not held by the standby
  uint32_t legs_exempt = 0;       // owned; of services that want no protection
  NodeId standby;                 // as owner: of whom `readiness` speaks
  friend bool operator==(const MirrorReport&, const MirrorReport&) = default;
};

// What comes with an event. Each event reads only its own fields.
struct FailoverInput {
  FailoverEvent event = FailoverEvent::deadline;
  Instant now;
  HeardOwner owner;          // owner_heard; yield, retire: the synced standby, nobody if there is none
  std::string why;           // owner_suspected, owner_released, stalled, refused, cut_off: evidence
  Instant last_heard;        // owner_suspected, owner_released: of the owner, wall clock
  Evidence evidence;         // owner_suspected, owner_released
  MirrorReport report;       // readiness
  Epoch ballot;              // granted, denied: what was asked for
  Epoch highest;             // denied: of all ballots that the answers name
  bool out_of_sync = false;  // denied: what this node holds is not what the last owner promised
};

// What the machine may look at besides events; kept up to date by the controller.
struct Surroundings {
  Epoch highest_epoch;                    // seen anywhere, from anybody
  std::optional<HeardOwner> other_owner;  // a live node says now that it owns, whatever its epoch
  std::optional<HeardOwner> later_owner;  // another node has owned it under an epoch above ours
  bool is_deaf = false;                   // a worker of this node hangs: not all that is said is heard
  std::optional<std::string> obstacle;    // why it is of no use to ask the arbiter now
  bool better_holder = false;             // a live node holds this group's connections, fresher than ours
  std::vector<NodeId> candidates;  // live nodes that may want the group as we do: as up to date as we are
};

struct Transition {
  Instant when;
  GroupState from, to;
  std::string why;
};

// Gets each change of state: "group web: standby(synced) -> suspecting: n1 silent on every link for 100 ms".
using LogSink = std::function<void(LogLevel, std::string_view sentence, Instant when)>;

// The failover machine of one group. Single-threaded, virtual time; actions are appended to `actions`. The
// table of (state, event) is in failover_table.cc; what is not in it is ignored, and the unit test lists
// that, too.
class FailoverMachine {
 public:
  // Starts in `learning` and asks who is there.
  FailoverMachine(FailoverSettings settings, LogSink log, Random random);
  void start(Instant now, Actions& actions);
  void handle(const FailoverInput& input, const Surroundings& around, Actions& actions);

  // When handle(deadline) is due; kNever when there is nothing to wait for.
  Instant deadline() const;
  GroupState state() const { return state_; }
  const std::string& why() const { return why_; }
  Instant since() const { return since_; }
  // Own epoch while owner, claiming, yielding or fenced.
  Epoch epoch() const { return epoch_; }
  // Whom a standby follows or a candidate suspects.
  const std::optional<HeardOwner>& followed() const { return followed_; }
  mirror::GroupRole role() const;
  Readiness readiness() const { return report_.readiness; }
  const MirrorReport& report() const { return report_; }
  const FailoverSettings& settings() const { return settings_; }
  const std::deque<Transition>& history() const { return history_; }    // oldest first, the last 32
  const std::deque<Takeover>& takeovers() const { return takeovers_; }  // by this node, the last 16
  const Takeover* last_takeover() const { return takeovers_.empty() ? nullptr : &takeovers_.back(); }
  uint64_t takeovers_total() const { return takeovers_total_; }
  uint64_t legs_lost_total() const { return legs_lost_total_; }
  // Worker 0 has announced the addresses under this epoch.
  void note_announced(const Epoch& epoch, Instant when);
  void note_first_packet(Instant when);
  // Who hands it over, while the arbiter is asked for it; zero: nobody.
  NodeId giver() const {
    return state_ == GroupState::requesting && candidacy_.handed && followed_ ? followed_->node : NodeId();
  }
  // As standby, candidate, or silent owner: connections that it may resume.
  bool holds_connections() const;
  // What the arbiter has said last against this node; empty: nothing.
  const std::string& denial() const { return denial_; }

  static bool acts(GroupState state, FailoverEvent event);

 private:
  friend struct FailoverTable;
  // One call of handle().
  struct Turn {
    const FailoverInput& input;
    const Surroundings& around;
    Actions& actions;
  };

  void set_state(GroupState to, std::string why, Turn& turn);
  // Handlers, named by what they do.
  void end_learning(Turn& turn);
  void learn_again(Turn& turn);
  void doubt(Turn& turn);
  void follow(Turn& turn);
  void suspect(Turn& turn);
  void take_released(Turn& turn);
  void note_witness(Turn& turn);
  void press_on(Turn& turn);
  void owner_is_back(Turn& turn);
  void go_stale(Turn& turn);
  void note_standby_readiness(Turn& turn);
  void note_owner_readiness(Turn& turn);
  void note_candidate_readiness(Turn& turn);
  void note_readiness(Turn& turn);
  void confirm_promotion(Turn& turn);
  void remind_workers(Turn& turn);
  void meet_rival(Turn& turn);
  void fence_after_stall(Turn& turn);
  void fence_after_lease(Turn& turn);
  void fence(std::string why, Turn& turn);
  void listen_longer(Turn& turn);
  void unfence(Turn& turn);
  void hand_over(Turn& turn);
  void hand_over_and_rest(Turn& turn);
  void take_back(Turn& turn);
  void take_handed(Turn& turn);
  void end_yielding(Turn& turn);
  void see_successor(Turn& turn);
  void rest(Turn& turn);
  void note_owner(Turn& turn);
  void serve_again(Turn& turn);

  void begin_candidacy(std::string why, Turn& turn);
  void try_claim(Turn& turn);
  void let_holders_go_first(const Turn& turn);
  void decide(bool lone, Turn& turn);
  void ask(const Epoch& ballot, Turn& turn);
  void take_granted(Turn& turn);
  void take_denied(Turn& turn);
  void ask_for_lease(Turn& turn);
  void take_lease(Turn& turn);
  void be_patient(Turn& turn);
  void give_up_connections(Turn& turn);
  void withdraw(Turn& turn);
  void tell_denial(std::string why, Turn& turn);
  Duration chance_delay();
  bool is_about_our_claim(const Turn& turn) const;
  void claim(const Epoch& ballot, bool lone, Turn& turn);
  Consent consent(bool lone) const;
  Takeover& note_takeover(Turn& turn);
  void speak_again(std::string why, Turn& turn);
  void let_go(Turn& turn);
  void offer(std::string why, Turn& turn);
  void begin_hand_over(Turn& turn);
  void step_down(const HeardOwner& owner, Turn& turn);
  Duration candidate_delay(Turn& turn);
  unsigned rank(const Surroundings& around) const;
  bool may_claim_after_boot() const;
  bool is_followed(const HeardOwner& owner) const;
  bool holds_legs() const {
    return report_.readiness == Readiness::syncing || report_.readiness == Readiness::synced;
  }
  GroupState standby_state() const;
  GroupState owner_state() const;
  void event(LogLevel level, std::string sentence, Turn& turn) const;

  FailoverSettings settings_;
  LogSink log_;
  Random random_;
  GroupState state_ = GroupState::learning;
  std::string why_ = "not started";
  Instant since_;
  Epoch epoch_;
  std::optional<HeardOwner> followed_;
  MirrorReport report_;
  bool refusal_told_ = false;  // policy none: said once per owner that it is not replaced

  // While learning, claiming, fenced or yielding.
  Instant patience_ends_ = kNever;
  bool rest_after_yielding_ = false;
  Epoch refused_;                // the highest ballot that a denial named
  bool ballot_is_over_ = false;  // withdrawn: only a higher one brings the group back
  std::string denial_;
  std::optional<HeardOwner> heir_;  // while yielding: to whom it is handed over; nobody: to whoever takes it

  // While suspecting.
  struct Candidacy {
    Instant began;
    Instant turn;  // not before
    Instant hindered =
        Instant::min();  // when it was last of no use to ask, for this node or for a better one
    Instant next_probe;
    Instant last_heartbeat;
    std::optional<Instant> witnessed;
    std::optional<Instant> asked;
    Epoch ballot;     // that was asked for
    std::string why;  // it is wanted
    bool released = false;
    bool handed = false;
    bool boot = false;  // nobody was followed before
    bool told_no_witness = false;
    int denials = 0;
    Instant pressed;  // when it was last tried
    Evidence evidence;
  };
  Candidacy candidacy_;
  std::deque<Takeover> takeovers_;
  uint64_t takeovers_total_ = 0;
  uint64_t legs_lost_total_ = 0;
  std::deque<Transition> history_;
};

}  // namespace understudy::cluster
