#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/random.h"
#include "tests/sim/model_tcp.h"
#include "tests/sim/plan.h"
#include "tests/support/switched_network.h"

namespace understudy::sim {

// One end of a session, at the client or at a backend: what it says, and whether what it hears is right.
struct Talk {
  std::unique_ptr<ModelTcp> tcp;
  const Plan* plan = nullptr;  // a backend's is known from the first byte
  size_t session = SIZE_MAX;
  bool is_client = false;
  std::vector<uint8_t> say, expect;
  size_t heard = 0;
  uint64_t wrong = 0;
  bool finished = false;  // has closed its direction
  bool aborted = false;
  bool heard_fin = false;
  Instant turn_from = kNever;  // a backend that thinks: when it may say its next turn
  size_t turn_said = 0;
  bool complete() const {
    return plan != nullptr && tcp->written() == say.size() && heard == expect.size() && finished && heard_fin;
  }
  bool over() const { return tcp->state() == ModelTcp::State::closed; }
  // It was deaf when the connection ended: what had come by then, be it the FIN alone, is read afterwards.
  bool has_to_hear() const { return tcp->has_unread() || (tcp->peer_finished() && !heard_fin && !aborted); }
};

// A machine on one network: ARP as Linux does it, TCP by the model, and the sessions' plans as application.
class Host {
 public:
  struct Settings {
    uint32_t address = 0;
    Mac mac{};
    ModelTcp::Settings tcp;  // addresses and numbers are filled in per connection
    std::set<uint16_t> listens;
    std::set<uint32_t> watched;         // sessions come from here; connections of others are health checks
    bool sequence_space_wraps = false;  // numbers start just below 2^32
  };
  using Complain = std::function<void(const std::string& sentence)>;
  Host(SwitchedNetwork& network, const Settings& settings, const std::vector<Plan>& plans, Instant start,
       uint64_t seed, Complain complain);

  void set_start(Instant start) {  // from which the plans count their times
    start_ = start;
    next_ = Instant{};
  }
  void begin(size_t session, uint16_t port, uint32_t to, Instant now);  // clients
  void round(Instant now);
  Instant next_instant(Instant now) const { return port_.has_received() ? now : next_; }
  Talk* of_session(size_t session);  // null: has not spoken
  const std::vector<std::unique_ptr<Talk>>& talks() const { return talks_; }
  // The connection to which this segment, from here or to here, belongs; null: none.
  const Talk* talk_of(const Tcp& segment) const;
  bool has_live_talk_on(uint16_t port) const;
  SwitchPort& port() { return port_; }

  bool answers = true;       // false: as a machine that is off
  bool accepts = true;       // false: a SYN is refused with RST
  bool is_excused = false;   // what happens to its connections now is allowed (see World)
  std::set<size_t> excused;  // sessions that may end in any way

 private:
  struct Neighbour {
    Mac mac{};
    bool known = false;
    Instant ask_again{};
    std::vector<Tcp> waiting;
  };
  using Key = std::tuple<uint32_t, uint16_t, uint16_t>;  // remote address, remote port, local port
  void receive_arp(const Arp& packet);
  void receive_tcp(const Tcp& segment, Instant now);
  void accept(const Tcp& syn, const Key& key, Instant now);
  void refuse(const Tcp& segment, Instant now);
  void send(Tcp segment, Instant now);
  void send_arp(uint16_t operation, const Mac& to, const Mac& target_mac, uint32_t target);
  void drain(Talk& talk, Instant now);
  void note_end(Talk& talk, ModelTcp::State before, const Tcp& segment);
  void pump(Talk& talk, Instant now);
  void read(Talk& talk, Instant now);
  void write(Talk& talk, Instant now);
  void identify(Talk& talk, uint8_t first);
  size_t allowed(Talk& talk, Instant now);
  bool is_deaf(const Talk& talk, Instant now) const;
  bool may_end_in_any_way(const Talk& talk) const;
  void forget_checks();
  Instant find_next_instant(Instant now) const;
  uint32_t next_iss();

  Settings settings_;
  const std::vector<Plan>& plans_;
  Instant start_;
  Random random_;
  Complain complain_;
  SwitchPort port_;
  std::map<uint32_t, Neighbour> neighbours_;
  std::vector<std::unique_ptr<Talk>> talks_;
  std::map<Key, Talk*> live_;
  Instant next_{};  // nothing happens before it by itself
};

}  // namespace understudy::sim
