#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/config/config.h"
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
  struct Settings {
    uint64_t seed = 1;
    unsigned workers_of_n1 = 1;
    unsigned workers_of_n2 = 1;
    uint64_t bits_per_second = 50'000'000;  // front and back
    uint64_t peer_bits_per_second = 200'000'000;
    bool accept_unprotected = true;
    Duration reopening = Duration::zero();  // how long a node takes to open its ports again
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

  // Slots 0 and 1 are n1 and n2; 2 is a third machine for whatever node it is told to be.
  void start(size_t slot, const std::string& as = "");
  void kill(size_t slot);
  void pause(size_t slot);  // SIGSTOP: everything of it stands still
  void resume(size_t slot);
  void retire(size_t slot);  // SIGTERM: the process ends by itself
  void cut(size_t slot, Network network, bool is_cut);
  bool runs(size_t slot) const { return slots_[slot].node != nullptr; }
  const std::string& last_words(size_t slot) const {
    return slots_[slot].last_words;
  }  // of a node that stopped itself

  SwitchedNetwork& network(Network which) { return *networks_[which]; }
  SwitchPort& port(size_t slot, Network which);
  worker::Worker& worker(size_t slot, size_t index);
  unsigned times_reopened(size_t slot) const { return slots_[slot].node->times_reopened(); }
  appliance::NodeControl& control(size_t slot);
  rte_mempool* pool(size_t slot);
  StreamHost& client() { return *hosts_[0]; }
  StreamHost& backend(size_t index) { return *hosts_[1 + index]; }

  Instant now() const { return now_; }
  Random& random() { return random_; }
  bool run_until(const std::function<bool()>& until, Duration limit);
  void run_for(Duration length);
  // Starts both, n1 first, and runs until n1 owns with a synced standby and all backends are up.
  bool boot();

  // A connection through the proxy: the client says `up` bytes, the backend answers with `down`.
  StreamEnd& transfer(uint32_t up, uint32_t down);
  bool all_done();
  std::optional<size_t> owner() const;  // the slot that runs and owns; nothing unless exactly one does
  bool is_protected() const;            // an owner with a synced standby, as both see it
  uint64_t unprotected_legs()
      const;  // of whole sessions, at the owner; what is left of a closed one does not count
  size_t slot_of_group_mac(
      Network which) const;  // where the switch sends the group's frames; SIZE_MAX: nowhere
  const Voice& voice(size_t slot) const { return slots_[slot].voice; }
  void forget_voice(size_t slot) { slots_[slot].voice = Voice(); }
  // Wrong bytes, bytes said twice, resets that met live connections: sentences.
  std::vector<std::string> faults();
  std::string describe();

 private:
  struct Slot {
    std::unique_ptr<NodeInProcess> node;
    std::string last_words;
    Voice voice;
    std::vector<std::string> log;
  };

  void run_node(size_t slot);
  void step();
  Instant next_instant() const;
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
  std::array<Slot, 3> slots_;
  std::vector<StreamEnd*> transfers_;
};

}  // namespace understudy
