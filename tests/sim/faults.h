#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "common/instant.h"

namespace understudy::sim {

// What can happen to a cluster. One list makes the enum and the words of --list.
#define UNDERSTUDY_SIM_FAULTS(X)                                                     \
  X(crash_owner, "the owner is killed")                                              \
  X(crash_standby, "the standby is killed")                                          \
  X(pause_owner, "the owner's process stands still, then goes on")                   \
  X(pause_standby, "the standby's process stands still, then goes on")               \
  X(pause_worker, "one worker of the owner stands still, then goes on")              \
  X(terminate_owner, "the owner is asked to end (SIGTERM)")                          \
  X(cut_peer, "the link between the nodes is cut, both ways")                        \
  X(cut_peer_in, "the standby's end of the link between the nodes receives nothing") \
  X(cut_peer_out, "the standby's end of the link between the nodes sends nothing")   \
  X(cut_front, "the owner's link to the clients is cut")                             \
  X(cut_front_in, "the owner receives nothing from the clients' network")            \
  X(cut_front_out, "the owner's frames do not reach the clients' network")           \
  X(cut_back, "the owner's link to the backends is cut")                             \
  X(slow_standby, "the link between the nodes becomes slow")                         \
  X(full_pool_owner, "the owner has hardly a packet buffer left")                    \
  X(full_pool_standby, "the standby has hardly a packet buffer left")                \
  X(hold_frames, "frames of the owner wait in its ports, after the fencing check")   \
  X(loss, "frames are lost on all networks")                                         \
  X(duplication, "frames are duplicated on all networks")                            \
  X(reordering, "frames are reordered on all networks")                              \
  X(corruption, "bits are flipped on all networks")                                  \
  X(backend_dies, "a backend falls silent, then answers again")                      \
  X(backend_refuses, "a backend refuses connections, then accepts again")            \
  X(crash_node, "a node, whichever it is, is killed")                                \
  X(pause_node, "a node's process stands still, then goes on")                       \
  X(deaf_node, "a node receives nothing on any network")                             \
  X(mute_node, "a node's frames reach no network")                                   \
  X(isolated_node, "a node is cut off on every network, both ways")                  \
  X(node_off_peer, "a node is cut off the link between the nodes, one way or both")  \
  X(node_off_front, "a node is cut off the clients, one way or both")                \
  X(partition, "the nodes fall into two halves that hear nothing of each other")     \
  X(etcd_away, "no node reaches etcd")                                               \
  X(etcd_refuses, "nothing listens where etcd should be")                            \
  X(etcd_slow, "etcd's answers take 60 ms each way")                                 \
  X(etcd_deaf, "half of etcd's answers get lost, and half of the requests are late") \
  X(etcd_lies, "another etcd answers, and says yes to everything")                   \
  X(etcd_old, "etcd answers with a revision of long ago")                            \
  X(node_off_etcd, "a node does not reach etcd")                                     \
  X(apart, "two nodes hear nothing of each other")                                   \
  X(carrier_lost, "a node's cables are out; what it sends waits in its ports")       \
  X(lan_cut, "a node is cut off clients and backends, and not off the other nodes")  \
  X(bad_peer_link, "the link between nodes loses 30 %, disorders, doubles, damages") \
  X(thin_peer_link, "the link between nodes carries less than the traffic")          \
  X(lost_arp, "no ARP of the nodes arrives at clients and backends")                 \
  X(hand_over, "the owner is told to hand the group to its standby")                 \
  X(replay, "a stranger says again what nodes have said to each other")

enum class FaultKind : uint8_t {
#define X(name, text) name,
  UNDERSTUDY_SIM_FAULTS(X)
#undef X
};

constexpr size_t kFaultKinds = 0
#define X(name, text) +1  // NOLINT(bugprone-macro-parentheses): a term of a sum
    UNDERSTUDY_SIM_FAULTS(X)
#undef X
    ;

// Those before are drawn for a pair (see random_faults), those from here on for clusters with an arbiter, the
// next ones under etcd, and the last ones never: they are parts of named faults.
constexpr size_t kPairFaultKinds = static_cast<size_t>(FaultKind::crash_node);
constexpr size_t kMembersFaultKinds = static_cast<size_t>(FaultKind::etcd_away);
constexpr size_t kEtcdFaultKinds = static_cast<size_t>(FaultKind::apart);

std::string_view name_of(FaultKind kind);
std::optional<FaultKind> fault_named(std::string_view name);
std::string_view text_of(FaultKind kind);

// Of a node's link; `drawn`: one of the others at random, where the kind leaves it open.
enum class Way : uint8_t { drawn, both, in, out };

// At an instant after the sessions' start, or after an event of the run; lasts for a while where that makes
// sense: a killed node is started again then.
struct Fault {
  FaultKind kind = FaultKind::crash_owner;
  Duration at{0};
  uint64_t at_event = 0;  // if not 0, instead of `at`
  Duration lasts{0};      // 0 for a node that is killed: it stays away until the end
  uint8_t node =
      0;  // which one, counted from 0; of a partition: bit n is the half of node n; of two apart: both bits
  Way way = Way::drawn;
};

}  // namespace understudy::sim
