#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include <rte_mbuf.h>

#include "common/address.h"
#include "common/instant.h"
#include "common/slab.h"
#include "dataplane/wire/drop_reason.h"

namespace understudy::neighbour {

enum class NeighbourState : uint8_t {
  incomplete,  // asked, never answered: frames wait
  reachable,   // confirmed a short while ago
  stale,       // known, but not confirmed lately: used, and probed on first use
  probe        // used while it is being asked again
};

// How we came to hear of an address and its MAC.
enum class Heard : uint8_t {
  answer,         // a reply addressed to us
  request_to_us,  // its owner, on-link, asked for one of our addresses: it will want our packets soon
  in_passing      // anything else, gratuitous announcements included
};

// What the table wants done. Called from within the table's functions: do not call back into it.
class NeighbourEvents {
 public:
  virtual ~NeighbourEvents() = default;
  // Send a request for `ip`, to broadcast or to the MAC that it had. `source` is that of the packet which
  // needed the answer first.
  virtual void ask(uint16_t port, const IpAddress& ip, const MacAddress& to, const IpAddress& source) = 0;
  virtual void forward(uint16_t port, const MacAddress& mac, rte_mbuf* frame) = 0;
  virtual void drop(DropReason reason, rte_mbuf* frame) = 0;
};

struct NeighbourLimits {
  uint32_t entries = 1024;
  uint32_t queued_frames = 1024;  // of all entries together: what strangers may make us pin of the pool
  // The wait after each of three requests; the last one ends in failure. The first is short, because a lost
  // first request must not cost a connection more than the peer's own retransmission would.
  std::array<Duration, 3> answer_within{50ms, 250ms, 500ms};
  Duration reachable = 60s;
  Duration stale = 600s;
};

// ARP's cache for one worker: (port, address) -> MAC, with the frames that wait for it. One thread; time is
// handed in and does not run backwards. All memory is taken in the constructor. The states follow RFC 4861
// section 7.3.2, which ARP lacks. Strangers create no entries: only what we ask for, and who asks for us.
class NeighbourTable {
 public:
  static constexpr uint8_t kQueueLength = 32;  // frames per entry; the oldest is dropped

  NeighbourTable(const NeighbourLimits& limits, NeighbourEvents& events);
  ~NeighbourTable();  // frees what waits, uncounted
  NeighbourTable(const NeighbourTable&) = delete;
  NeighbourTable& operator=(const NeighbourTable&) = delete;

  // Forwards, queues or drops `frame`; takes it in any case.
  void send(uint16_t port, const IpAddress& ip, const IpAddress& source, rte_mbuf* frame, Instant now);
  // Somebody will soon be sent to: asks now, so that the first frames need not wait. True if it asked.
  bool warm(uint16_t port, const IpAddress& ip, const IpAddress& source, Instant now);
  void heard(uint16_t port, const IpAddress& ip, const MacAddress& mac, Heard how, Instant now);
  // What is sent there gets no answer: it is asked again, and used meanwhile.
  void doubt(uint16_t port, const IpAddress& ip, Instant now);
  // Drops those of the waiting frames of which `is_over(frame)` is true.
  template <class IsOver>
  void discard_waiting(DropReason reason, IsOver is_over) {
    for (const Stage stage : {incomplete_1, incomplete_2, incomplete_3}) {
      for (uint32_t i = stages_[stage].first; i != kNone; i = entries_[i].later) {
        Entry& entry = entries_[i];
        const auto over = std::stable_partition(entry.queue.begin(), entry.queue.begin() + entry.queued,
                                                [&](const rte_mbuf* frame) { return !is_over(frame); });
        const auto kept = static_cast<uint8_t>(over - entry.queue.begin());
        for (uint8_t frame = kept; frame < entry.queued; ++frame) events_.drop(reason, entry.queue[frame]);
        queued_frames_ -= static_cast<uint32_t>(entry.queued - kept);
        entry.queued = kept;
      }
    }
  }
  // Retries, failures, expiry. next_deadline(): when it has something to do next.
  void tick(Instant now);
  Instant next_deadline() const;

  std::optional<NeighbourState> state_of(uint16_t port, const IpAddress& ip) const;
  std::optional<MacAddress> mac_of(uint16_t port, const IpAddress& ip) const;  // none while incomplete
  uint32_t size() const { return entries_.taken(); }
  uint32_t queued_frames() const { return queued_frames_; }

  // `visit(ip, mac)` for each entry of the port whose MAC is known.
  template <class Visit>
  void for_each_known(uint16_t port, Visit visit) const {
    for (uint32_t i = 0; i < entries_.capacity(); ++i) {
      if (entries_.is_taken(i) && entries_[i].port == port && !is_incomplete(entries_[i].stage))
        visit(entries_[i].ip, entries_[i].mac);
    }
  }

  // `visit(port, ip, state, mac)` for each entry; mac is zero while incomplete.
  template <class Visit>
  void for_each(Visit visit) const {
    for (uint32_t i = 0; i < entries_.capacity(); ++i)
      if (entries_.is_taken(i))
        visit(entries_[i].port, entries_[i].ip, state_in(entries_[i].stage), entries_[i].mac);
  }

 private:
  // A state and which of its three requests is out. Each stage lasts a constant time, so the entries of a
  // stage in the order in which they entered it are also in the order of their deadlines.
  enum Stage : uint8_t {
    incomplete_1,
    incomplete_2,
    incomplete_3,
    reachable,
    stale,
    probe_1,
    probe_2,
    probe_3
  };
  static constexpr size_t kStages = 8;
  static constexpr uint32_t kNone = Slab<int>::kNone;

  struct Entry {
    IpAddress ip;
    IpAddress source;
    MacAddress mac;
    uint16_t port = 0;
    Stage stage = incomplete_1;
    bool used = false;  // since it was confirmed
    uint8_t queued = 0;
    Instant deadline{};
    uint32_t next_in_bucket = kNone;
    uint32_t earlier = kNone;  // neighbours in the stage's list
    uint32_t later = kNone;
    std::array<rte_mbuf*, kQueueLength> queue;
  };
  struct List {
    uint32_t first = kNone;
    uint32_t last = kNone;
  };

  static bool is_incomplete(Stage stage) { return stage <= incomplete_3; }
  static bool is_probe(Stage stage) { return stage >= probe_1; }
  static NeighbourState state_in(Stage stage);
  Duration duration_of(Stage stage) const;
  uint32_t& bucket_of(uint16_t port, const IpAddress& ip);
  uint32_t find(uint16_t port, const IpAddress& ip) const;
  uint32_t create(uint16_t port, const IpAddress& ip, Stage stage, Instant now);
  uint32_t oldest_expendable() const;
  void remove(uint32_t index);
  void link(uint32_t index, Stage stage, Instant now);
  void unlink(uint32_t index);
  void enter(uint32_t index, Stage stage, Instant now);
  void time_out(uint32_t index, Instant now);
  void ask(uint32_t index);
  void enqueue(Entry& entry, rte_mbuf* frame);
  void drain(Entry& entry);

  NeighbourLimits limits_;
  NeighbourEvents& events_;
  Slab<Entry> entries_;
  std::vector<uint32_t> buckets_;
  std::array<List, kStages> stages_;
  uint32_t queued_frames_ = 0;
};

}  // namespace understudy::neighbour
