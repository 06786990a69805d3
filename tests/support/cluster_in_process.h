#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/config/config.h"
#include "tests/support/fake_etcd.h"
#include "tests/support/node_in_process.h"
#include "tests/support/stream_host.h"
#include "tests/support/switched_network.h"

namespace understudy {

// Whole nodes (control, workers, hand-over between workers) from a configuration text, a client and two
// backends, joined by three switches, in one thread in virtual time from one seed. What nodes say for the
// group is watched on the wire.
class ClusterInProcess {
 public:
  enum Network : size_t { front, back, peer, networks };
  static constexpr size_t slots = 6;
  struct Settings {
    uint64_t seed = 1;
    unsigned nodes = 2;   // at most 5
    unsigned groups = 1;  // or 2, the second one with n2 first among its successors
    unsigned workers_of_n1 = 1;
    unsigned workers_of_n2 = 1;
    uint64_t bits_per_second = 50'000'000;  // front and back
    uint64_t peer_bits_per_second = 200'000'000;
    bool accept_unprotected = true;
    Duration reopening = Duration::zero();  // how long a node takes to open its ports again
    std::string failback = "never";
    std::string arbiter = "none";
    Duration cold_takeover_after = 3s;
  };
  // What one slot has said in the group's name on front and back since the last forget().
  struct Voice {
    uint64_t segments = 0;
    uint64_t resets = 0;
    uint64_t fins = 0;
    uint64_t claims = 0;  // ARP that tells an address of the group
    Instant first_claim = kNever;
    Instant first_segment = kNever;
  };

  explicit ClusterInProcess(const Settings& settings);
  ~ClusterInProcess();
  ClusterInProcess(const ClusterInProcess&) = delete;
  ClusterInProcess& operator=(const ClusterInProcess&) = delete;

  // Slots 0, 1, ... are n1, n2, ...; one that is left is a machine for whatever node it is told to be.
  void start(size_t slot, const std::string& as = "");
  void kill(size_t slot);
  void pause(size_t slot);  // SIGSTOP: everything of it stands still
  void resume(size_t slot);
  void pause_worker(size_t slot, size_t index, Duration length);  // one of its threads does
  void retire(size_t slot);                                       // SIGTERM: the process ends by itself
  // `failover group web to` the node of the other slot; the sentence if it is refused.
  std::optional<std::string> hand_over(size_t from, size_t to);
  void cut(size_t slot, Network network, bool is_cut);
  enum Direction { in, out };
  void cut(size_t slot, Network network, Direction direction, bool is_cut);
  void cut_all(size_t slot, bool is_cut);
  void cut_all(size_t slot, Direction direction, bool is_cut);
  // Arbiter etcd: the etcd and the ways to it, by slot.
  etcd::EtcdNetwork& etcd() { return etcd_; }
  // What a restart of the slot finds of its promises.
  cluster::KeptMemory& disk(size_t slot) { return slots_[slot].disk; }
  // The most nodes that have spoken for a group at the same time, by their leases and voices.
  size_t most_voices() const { return most_voices_; }
  bool runs(size_t slot) const { return slots_[slot].node != nullptr; }
  const std::string& last_words(size_t slot) const {
    return slots_[slot].last_words;
  }  // of a node that stopped itself

  SwitchedNetwork& network(Network which) { return *networks_[which]; }
  SwitchPort& port(size_t slot, Network which);
  worker::Worker& worker(size_t slot, size_t index);
  unsigned times_reopened(size_t slot) const { return slots_[slot].node->times_reopened(); }
  size_t workers(size_t slot) const { return slots_[slot].node->workers(); }
  appliance::NodeControl& control(size_t slot);
  const config::Config& config() const { return config_; }
  rte_mempool* pool(size_t slot);
  StreamHost& client() { return *hosts_[0]; }
  StreamHost& backend(size_t index) { return *hosts_[1 + index]; }

  Instant now() const { return now_; }
  Random& random() { return random_; }
  bool run_until(const std::function<bool()>& until, Duration limit);
  void run_for(Duration length);
  // Starts all, n1 first, and runs until each group's first successor owns it with a synced standby, and all
  // backends are up.
  bool boot();

  // A connection through the proxy: the client says `up` bytes, the backend answers with `down`.
  StreamEnd& transfer(uint32_t up, uint32_t down, size_t group = 0);
  bool all_done();
  cluster::GroupState state(size_t slot, size_t group = 0) const;
  // The slot that runs and owns; nothing unless exactly one does.
  std::optional<size_t> owner(size_t group = 0) const;
  std::optional<size_t> standby(size_t group = 0) const;  // that is synced
  bool is_protected(size_t group = 0) const;              // an owner with a synced standby, as both see it
  // Of whole sessions, at the owner; what is left of a closed one does not count.
  uint64_t unprotected_legs(size_t group = 0) const;
  size_t slot_of_group_mac(
      Network which) const;  // where the switch sends the group's frames; SIZE_MAX: nowhere
  const Voice& voice(size_t slot) const { return slots_[slot].voice; }
  void forget_voice(size_t slot) { slots_[slot].voice = Voice(); }
  // Wrong bytes, bytes said twice, resets that met live connections: sentences.
  std::vector<std::string> faults();
  std::string describe();

 private:
  struct Slot {
    std::unique_ptr<etcd::Transport> transport;
    std::unique_ptr<NodeInProcess> node;
    std::string last_words;
    cluster::KeptMemory disk;
    Voice voice;
    std::vector<std::string> log;
  };

  static GroupId group_id(size_t group) { return GroupId(static_cast<uint16_t>(group + 1)); }
  void run_node(size_t slot);
  void step();
  Instant next_instant() const;
  void count_voices();
  void watch(Network network, const SwitchPort& from, std::span<const uint8_t> frame);
  StreamEnd* partner_of(const StreamEnd& client_end, int& count);

  Settings settings_;
  Random random_;
  config::Config config_;
  tcp::ShardMap shards_;
  Instant now_{10s};
  std::array<std::unique_ptr<SwitchedNetwork>, networks> networks_;
  BufferPool host_pool_{8191};
  std::vector<std::unique_ptr<StreamHost>> hosts_;
  etcd::EtcdNetwork etcd_;
  std::array<Slot, slots> slots_;
  std::vector<StreamEnd*> transfers_;
  size_t most_voices_ = 0;
};

}  // namespace understudy
