#pragma once

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "common/random.h"
#include "control/cluster/controller.h"

namespace understudy::cluster::test {

constexpr GroupId kGroup{1};

// Controllers wired back to back in virtual time: links that lose, delay and can be cut, heartbeats as the
// workers would send them, witnesses that answer or do not, processes that die, stop and go on.
class VirtualCluster {
 public:
  struct Options {
    uint16_t nodes = 2;
    size_t links = 2;
    unsigned loss_per_mille = 0;
    uint64_t seed = 1;
    bool one_voice = false;  // nobody is cut off: two nodes that speak at once are a violation
    config::FailoverPolicy failover = config::FailoverPolicy::successor_order;
  };
  struct Node {
    uint16_t id = 0;
    uint64_t boot = 0;
    std::unique_ptr<Controller> controller;  // none: dead
    bool paused = false;
    Instant paused_since;
    bool witness = true;
    bool hands_over = true;  // false: what its workers hand over does not arrive
    uint32_t beat_number = 0;
    uint64_t progress = 0;
    bool progresses = true;
    bool owes_beat = false;  // one fell due while it was paused
    Instant timer = kNever;
    std::vector<std::function<void()>> backlog;  // what arrived while it was paused
    std::vector<std::string> said;
    std::string stopped;  // the sentence of Stop
    bool muted = false;
    std::optional<Epoch> speaks;  // workers promoted under this epoch
    NodeId mirrors_to;            // zero: to nobody
    int promotions = 0, probes = 0, ownership_frames = 0;
    std::vector<Instant> promoted_at;
  };

  explicit VirtualCluster(Options options);
  VirtualCluster(const VirtualCluster&) = delete;  // its happenings point to it
  VirtualCluster& operator=(const VirtualCluster&) = delete;
  Node& node(uint16_t id) { return nodes_.at(id); }
  // A second machine that uses the id `id`, known here as `alias`.
  void add_impostor(uint16_t alias, uint16_t id);

  void boot(uint16_t id);
  void kill(uint16_t id);
  void pause(uint16_t id);
  void resume(uint16_t id);
  void run(Duration span);
  bool run_until(const std::function<bool()>& holds, Duration at_most);
  // Frames from one node to another on a link.
  void cut(uint16_t from, uint16_t to, size_t link) { cuts_.insert({from, to, link}); }
  void isolate(uint16_t a, uint16_t b);
  void heal() { cuts_.clear(); }
  void set_loss(unsigned per_mille) { options_.loss_per_mille = per_mille; }
  void act(uint16_t id, const std::function<Actions(Controller&)>& call);

  GroupState state(uint16_t id) { return node(id).controller->machine(kGroup)->state(); }
  bool owns(uint16_t id) { return node(id).controller && is_owner(state(id)); }
  bool said(uint16_t id, const std::string& part);
  int owners();
  // Exactly one owner, and every other live node stands by it.
  bool is_settled();
  std::string describe();
  Instant now() const { return now_; }
  Random& random() { return random_; }
  uint64_t happenings = 0;
  // Promotions that broke a rule; empty when all is well.
  std::vector<std::string> violations;

 private:
  struct Happening {
    Instant when;
    uint64_t order;
    std::function<void()> what;
    bool operator>(const Happening& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };
  void at(Instant when, std::function<void()> what) { queue_.push({when, ++order_, std::move(what)}); }
  // Runs in the node if it is the same incarnation; waits while it is paused.
  void in_node(Instant when, uint16_t id, std::function<void(Node&)> what);
  void perform(Node& node, Actions actions);
  void promote(Node& node, const Promote& promote);
  void broadcast(Node& from, const std::function<void(Node&, size_t link)>& deliver);
  void beat(uint16_t id, uint64_t boot);
  void send_beat(uint16_t id);
  void schedule_tick(Node& node);
  void report_mirrors();
  void check_voices();
  bool linked(uint16_t a, uint16_t b) const;
  ClusterSettings settings_for(const Node& node) const;

  Options options_;
  Random random_;
  Instant now_{1000s};
  uint64_t order_ = 0, boots_ = 0;
  std::map<uint16_t, Node> nodes_;
  std::set<std::tuple<uint16_t, uint16_t, size_t>> cuts_;
  std::map<std::pair<uint16_t, uint64_t>, Epoch> last_epoch_;
  std::priority_queue<Happening, std::vector<Happening>, std::greater<>> queue_;
};

}  // namespace understudy::cluster::test
