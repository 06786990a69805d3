#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dataplane/worker/worker.h"
#include "tests/bench/host.h"
#include "tests/support/memory_port.h"

namespace understudy::bench {

// Where the processor's time went, in ticks of its time-stamp counter.
struct Cost {
  uint64_t ticks = 0;
  uint64_t rounds = 0;
  uint64_t interrupted =
      0;  // rounds so long that the machine must have done something else meanwhile; not in `ticks`
  void add(uint64_t spent);
  // As if the interrupted rounds had taken as long as the others.
  double seconds() const;
};
double ticks_per_second();

struct WorldSettings {
  bool standby = false;
  bool standby_joins_later = false;  // only when introduce_standby() is called
  bool gated = true;                 // acknowledgements wait for the standby
  uint32_t legs = 4096;              // of the owner and of the standby
  uint32_t buffers = 65535;
  uint32_t active_legs = 4096;
  Duration time_wait = 50ms;  // short, so that a run of many connections fits the table
};

// One worker that proxies between a client and a backend machine over wires in memory, with or without a
// second one that mirrors it: real workers, fed by run_once in turns from one thread. Time is virtual (each
// turn is a fixed step), so a machine that is busy with something else changes no behaviour; costs are real.
// `pool` outlives the world.
class World {
 public:
  World(const WorldSettings& settings, rte_mempool* pool, tcp::Application& client,
        tcp::Application& backend);

  void turn();  // client, owner, standby, backend: each one round
  bool turn_until(const std::function<bool()>& until, Duration limit);  // false on the limit
  uint32_t connect() { return client_.connect(kVirtual, kHttp, now_); }
  bool synced() const;
  // The two workers learn of each other: the owner begins its snapshot.
  void introduce_standby();
  // From the arrival at the owner of what the client has just written on `leg`, which the client's engine has
  // not sent yet, to the round in which the owner acknowledged all of it: the time that owner and standby
  // spent, in seconds.
  double acknowledgement_seconds(uint32_t leg);
  void reset_costs();
  struct Takeover {
    double first_segment_seconds;  // of the standby's time, from the order to the round that sent the first
                                   // segment
    double sweep_seconds;          // ... to the end of the sweep over all legs
  };
  // The owner is gone and the standby is told to take over. Nothing arrives for it meanwhile.
  Takeover take_over();

  Host& client() { return client_; }
  Host& backend() { return backend_; }
  worker::Worker& owner() { return *owner_; }
  worker::Worker& standby() { return *standby_; }
  Instant now() const { return now_; }
  uint64_t frames_lost() const;

  Cost owner_cost, standby_cost, client_cost, backend_cost;

 private:
  static constexpr PortNumber kHttp{80};
  static const IpAddress kVirtual;
  struct Wires {
    MemoryWire front, back;
    Wires(uint32_t capacity, uint8_t number);
  };
  worker::WorkerSettings worker_settings(uint16_t number, Wires& wires, MemoryPort& peer) const;
  void introduce(worker::Worker& to, uint16_t number, MemoryPort& port);
  bool drain_reports(worker::Worker& worker);  // true if one told of the first segment after a takeover
  void promote(worker::Worker& worker, uint32_t counter);
  Host::Settings host_settings(std::vector<IpAddress> addresses) const;

  WorldSettings settings_;
  std::string name_;
  Instant now_{1s};
  tcp::ShardMap shards_;
  Wires owner_wires_;
  Wires standby_wires_;
  MemoryWire peer_wire_;
  Host client_;
  Host backend_;
  std::unique_ptr<worker::Worker> owner_;
  std::unique_ptr<worker::Worker> standby_;
};

}  // namespace understudy::bench
