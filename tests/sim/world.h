#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/host.h"
#include "tests/sim/named_faults.h"
#include "tests/sim/oracle.h"
#include "tests/sim/probes.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stranger.h"
#include "tests/sim/succession.h"
#include "tests/sim/voices.h"
#include "tests/support/fake_etcd.h"
#include "tests/support/node_in_process.h"

namespace understudy::sim {

// A cluster of whole nodes, a client machine and two backends, joined by three switches, in one thread in
// virtual time from one seed. run() plays a scenario with its faults to the end and says what was wrong.
//
// What must hold is judged by Oracle (what crossed the wires) and by Host (what the sessions heard). The
// world itself reads two things from the product, both of which an operator can read as well: who owns the
// group, and which connections are shown as protected. A connection that was not shown as protected when its
// owner died is excused.
class World {
 public:
  struct Settings {
    uint64_t seed = 1;
    const Scenario* scenario = nullptr;
    std::vector<Fault> faults;
    unsigned nodes = 2;
    config::Arbiter arbiter = config::Arbiter::none;
    // Nothing is excused then, and what is expected of the fault is checked.
    const NamedFault* named = nullptr;
    bool trace = false;
  };
  struct Result {
    std::vector<std::string> violations;
    uint64_t events = 0;
    uint64_t takeovers = 0;
    uint64_t lost = 0;  // sessions that were excused
    uint64_t late_words = 0;
    Duration slowest_election{0};  // from the end of the last fault to one owner, under an arbiter
    std::array<uint64_t, kFaultKinds> faults{};
    Probes probes;
    Duration virtual_time{0};
  };

  explicit World(const Settings& settings);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  Result run();

 private:
  enum Network : size_t { front, back, peer, networks };
  struct Slot {
    std::unique_ptr<etcd::Transport> transport;
    std::unique_ptr<NodeInProcess> node;
    uint64_t life = 0;        // how often it was started: another node may stand at the same address
    bool is_owner = false;    // as its control saw itself last
    bool is_leaving = false;  // was asked to end, and has not
    int32_t clock_ppm = 0;
    cluster::KeptMemory disk;  // what it has promised
    uint8_t half = 0;          // of a partition
    bool is_apart = false;     // from the other one that is
    // It is to stand still, as soon as its ports, which let nothing go, hold something that it has sent.
    std::optional<Duration> stops_for;
  };
  struct Undo {
    Instant at;
    std::function<void()> action;
  };

  // world.cc
  void make_networks();
  void make_hosts();
  size_t nodes_at_boot() const;
  bool boot();
  void begin_sessions();
  void step();
  bool has_something_to_do(const NodeInProcess& node) const;
  Instant next_instant() const;
  bool run_until(const std::function<bool()>& until, Duration limit);
  bool all_done();
  bool session_done(size_t index);
  bool is_settled();
  bool is_complete() const;
  void finish();
  void complain(const std::string& sentence);
  void trace(const std::string& sentence) const;
  std::string describe_sessions();
  std::string describe_unprotected();

  // world_named.cc
  bool apply_named(const Fault& fault);
  void lose_carrier(size_t slot, Duration lasts);
  void disturb_peer_link(const Fault& fault);
  bool hand_over();
  void watch_succession();
  void begin_as_expected();
  void end_as_expected();
  uint64_t refused_as_hostile() const;

  // world_etcd.cc
  bool apply_to_etcd(const Fault& fault);

  // world_members.cc
  bool arbitrated() const { return settings_.arbiter != config::Arbiter::none; }
  void take_word_of(size_t slot, std::span<const uint8_t> frame, bool was_held);
  void count_voices();
  bool may_speak(size_t slot) const;
  std::string describe_members() const;
  void finish_with_a_majority();
  bool apply_to_any_node(const Fault& fault);

  // world_faults.cc
  void apply_due_faults();
  void undo_what_is_due();
  bool is_deserted() const;
  size_t dead() const;
  size_t absent_most() const;  // of whom the others need none
  void start_again(size_t slot, Duration delay);
  void bury(size_t slot);
  void excuse_those_whom_nobody_serves();
  void apply(const Fault& fault);
  bool apply_to_node(const Fault& fault, size_t slot);
  void apply_to_networks(const Fault& fault);
  void apply_to_backend(const Fault& fault);
  void cut(size_t slot, Network network, bool in, bool out, Duration lasts);
  void fill_pool(size_t slot, Duration lasts);
  void later(Duration delay, std::function<void()> action);
  void undo_everything();
  void start(size_t slot);
  void kill(size_t slot);
  void note_losses(size_t owner);
  bool is_shown_protected(size_t slot) const;
  std::optional<bool> is_leg_protected(size_t slot, const Talk& talk) const;
  bool is_session_protected(size_t slot, size_t session);
  bool is_speaking(size_t slot) const;
  void note_trouble(Duration lasts);
  void excuse_everything();
  std::optional<size_t> owner() const;
  std::optional<size_t> standby() const;
  uint64_t unprotected_shown() const;

  // world_pauses.cc
  static constexpr Duration kOutlivedAsOwner = 55ms;  // an owner that is away for longer may be replaced
  void pause(size_t slot, Duration lasts);
  void stop_in_mid_burst(size_t slot);
  void stand_still(size_t slot, Duration lasts);

  // world_resets.cc
  std::optional<size_t> session_of(const Tcp& segment) const;
  void note_reset(std::span<const uint8_t> frame);
  void note_frame_lost(std::span<const uint8_t> frame);
  bool waits_for_a_lost_reset(size_t session);

  Settings settings_;
  const Scenario& scenario_;
  Random random_;
  const config::Config& config_;
  Instant now_{10s};
  Instant start_ = kNever;
  uint64_t events_ = 0;
  uint64_t frames_seen_ = 0;
  std::array<std::unique_ptr<SwitchedNetwork>, networks> networks_;
  etcd::EtcdNetwork etcd_;
  std::unique_ptr<Oracle> oracle_;
  Voices voices_;
  Succession succession_;
  Stranger stranger_;
  std::vector<std::unique_ptr<Host>> hosts_;  // the client, two backends
  std::vector<Slot> slots_;
  size_t begun_ = 0;
  std::vector<char> session_begun_;
  std::set<size_t> lost_;
  std::set<size_t> reset_said_;  // sessions of which a RST has entered a switch
  std::set<size_t> reset_lost_;  // of these, those of which a frame was lost then or later
  std::vector<Undo> undo_;
  std::vector<char> fault_applied_;
  bool faults_are_over_ = false;    // who ends from now on, asked to before, comes back
  Instant trouble_until_{};         // until then a loss of the owner is the second failure at once
  Instant owner_hangs_until_{};     // one of its workers does, for longer than others wait
  Instant pools_are_full_until_{};  // until then a node may have no buffer
  Result result_;
};

}  // namespace understudy::sim
