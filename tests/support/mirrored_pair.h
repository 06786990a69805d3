#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "common/random.h"
#include "dataplane/mirror/owner_log.h"
#include "dataplane/mirror/replica.h"
#include "dataplane/service/proxy.h"
#include "dataplane/service/stream_applications.h"
#include "tests/support/conversation.h"
#include "tests/support/wire_watch.h"

namespace understudy {

// A client host, a backend host, and two nodes that mirror to each other, in one thread in virtual time from
// one seed. A node can die at any event; the other one takes over after a detection delay. The promises are
// checked on every segment that leaves a node; whatever is broken is put down as a sentence in faults().
class MirroredPair {
 public:
  struct Path {
    Duration delay = 100us;
    uint32_t loss_per_mille = 0;
    uint32_t duplicate_per_mille = 0;
    uint32_t mtu = 0;                // larger packets are answered by an ICMP error; 0: none are too large
    uint32_t reorder_per_mille = 0;  // such frames take up to three delays longer
  };
  struct Settings {
    uint64_t seed = 1;
    std::vector<SessionPlan> plans;
    Path client_path;
    Path backend_path;
    Path peer_path;
    bool first_backend_refuses = false;
    bool ipv6_client = false;  // each side of the proxy has its own family
    bool ipv6_backend = false;
    bool mirrored_from_the_start = true;
    uint32_t channel_window = 1024;
    uint32_t receive_buffer = 100'000;
    uint32_t second_node_legs = 64;  // room of the first standby
    uint32_t second_node_chunks = 4096;
    tcp::SynCookies syn_cookies = tcp::SynCookies::automatic;  // of the nodes
    Duration detection = 100ms;
    Duration reset_hold = 500ms;
    Duration standby_timeout = 100ms;
  };
  enum class InFlight : uint8_t { arrives, is_lost, by_chance };  // what becomes of a dead node's frames

  explicit MirroredPair(const Settings& settings);
  ~MirroredPair();
  MirroredPair(const MirroredPair&) = delete;
  MirroredPair& operator=(const MirroredPair&) = delete;

  // One event: the next instant at which something happens, and all that happens then.
  void step();
  bool run_until(const std::function<bool()>& until, Duration limit);
  // The owner dies now, and its standby takes over after the detection delay.
  void crash_owner(InFlight fate);
  // The owner stops and hands everything to the standby, which goes on with it as its standby; what arrives
  // meanwhile waits. False (and nothing happens): there is no synced standby, or a hand-over is under way.
  bool hand_over();
  bool handing_over() const { return handing_over_; }
  uint64_t hand_overs() const { return hand_overs_; }  // completed
  // Segments that any of the four engines sent more than once, and its timeouts.
  uint64_t repeated() const;
  void restart_dead();  // the node that died starts anew and is fed by the other one
  // The owner begins (or begins anew) to feed the standby.
  void open_log(mirror::OwnerLog::Beginning beginning = mirror::OwnerLog::Beginning::anew);
  void lose_a_leg_at_standby();  // as a fault of the mirror would
  void cut_peer_link(bool cut) { peer_cut_ = cut; }

  bool all_done();   // every session has ended as planned, or was not protected when its owner died
  bool all_quiet();  // no leg is left on the hosts
  bool is_synced() const;
  uint32_t legs_of_owner() const;
  uint32_t legs_mirrored() const;  // as the owner shows them
  uint32_t legs_held_by_standby() const;
  bool taken_over() const;
  std::vector<std::string> faults() const;
  std::string describe();
  uint64_t events() const { return events_; }
  Instant now() const { return now_; }
  uint64_t checked() const { return checked_; }  // segments whose promises were compared with the replica
  uint64_t said() const { return said_; }        // segments that left a node
  uint64_t refused() const { return refused_; }  // packets that a path was too narrow for
  uint64_t drops_of_standby() const { return standby_drops_; }
  size_t sessions_lost() const { return lost_.size(); }

 private:
  struct Node;
  struct Cluster;
  struct Addresses {
    explicit Addresses(const Settings& settings);
    IpAddress client, virtual_ip;
    IpAddress source, backend;
  };
  struct Frame {
    Instant at;
    uint64_t order;
    rte_mbuf* mbuf;
    Node* from;
    Node* to;  // null: whoever has the destination address
    bool operator>(const Frame& other) const { return std::tie(at, order) > std::tie(other.at, other.order); }
  };
  std::unique_ptr<Node> make_host(bool is_client);
  std::unique_ptr<Node> make_node(uint32_t legs = 64, uint32_t chunks = 4096);
  void begin_sessions();
  void enqueue(rte_mbuf* mbuf, Node* from, Node* to, const Path& path);
  void refuse_too_large(rte_mbuf* mbuf, Node* from, const Path& path);
  void transmit(Node& from, rte_mbuf* mbuf, const FlowKey& key);
  void transmit_cluster(Node& from, rte_mbuf* mbuf);
  void deliver(Frame frame);
  void deliver_cluster(Node& to, rte_mbuf* mbuf);
  void settle(Node& node);
  void settle_mirror(Node& node);
  void promote();
  void continue_hand_over();
  void receive_hand_over();
  void note_unprotected_sessions();
  void check_promise(Node& from, const wire::TcpSegment& segment);
  void check_reset(Node& to, const wire::TcpSegment& segment);
  void check_leg_count(Node& node);
  void fault(const std::string& sentence);
  bool session_done(size_t index);

  Settings settings_;
  Addresses addresses_;
  Random random_;
  Instant now_{1s};
  Instant start_{1s};
  uint64_t order_ = 0;
  uint64_t events_ = 0;
  uint64_t checked_ = 0;
  uint64_t said_ = 0;
  uint64_t standby_drops_ = 0;
  uint64_t refused_ = 0;
  uint64_t next_boot_ = 1;
  uint32_t next_epoch_ = 1;
  bool peer_cut_ = false;
  bool mirror_is_damaged_ = false;
  bool handing_over_ = false;
  bool released_ = false;
  uint64_t hand_overs_ = 0;
  std::vector<Frame> held_;  // arrived during a hand-over
  Instant promote_at_ = kNever;
  std::unique_ptr<Node> client_, backend_;
  std::vector<std::unique_ptr<Node>> nodes_;  // every incarnation
  Node* owner_ = nullptr;
  Node* standby_ = nullptr;
  Node* dead_ = nullptr;
  size_t begun_ = 0;
  std::vector<size_t> lost_;  // sessions that were not protected when the owner died
  WireWatch wires_{[this](const std::string& sentence) { fault(sentence); }};
  std::map<std::pair<Node*, Node*>, Instant> last_arrival_;
  std::vector<std::string> faults_;
  std::priority_queue<Frame, std::vector<Frame>, std::greater<>> in_flight_;
};

}  // namespace understudy
