#pragma once

#include <optional>
#include <span>
#include <vector>

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "dataplane/neighbour/announcements.h"
#include "dataplane/neighbour/claims.h"
#include "dataplane/neighbour/neighbour_table.h"
#include "dataplane/neighbour/route_table.h"
#include "dataplane/wire/drop_reason.h"

namespace understudy::neighbour {

// Where frames go that are ready for the wire. Takes the mbuf. Must not call back into the resolver.
class Egress {
 public:
  virtual ~Egress() = default;
  virtual void emit(unsigned port, rte_mbuf* frame) = 0;
};

// Of all workers one speaks ARP and neighbour discovery for the node: answers requests, announces and defends
// claims. The others only ask, for themselves.
enum class Voice : uint8_t { silent, speaks };

struct ResolverPort {
  MacAddress mac;                 // of the device: Ethernet source of all but announcements
  std::vector<Prefix> addresses;  // the node's own on this port, each with the network that it connects
};

struct ResolverSettings {
  std::vector<ResolverPort> ports;  // by port index
  Voice voice = Voice::speaks;
  NeighbourLimits limits;
};

struct ResolverCounters {
  uint64_t requests_sent = 0;  // to resolve and to refresh
  uint64_t witness_requests_sent = 0;
  uint64_t replies_sent = 0;
  uint64_t announcements_sent = 0;  // frames
  uint64_t answers_received = 0;    // replies addressed to us
  uint64_t rivals_heard = 0;
};

// Somebody else who claims an address of ours.
struct RivalSighting {
  uint16_t port = 0;
  IpAddress address;
  std::optional<GroupId> group;  // none: the node's own address
  MacAddress mac;                // in the body of its ARP packet or message
  MacAddress ethernet_source;
  Instant when{};
};

// The last step of a packet's way out, all of ARP, and what a host with static addresses and routes needs of
// neighbour discovery (RFC 4861: address resolution, reachability): next hop, MAC, claims. One object per
// worker, one thread. Time is handed in and does not run backwards.
//
// Our addresses are not probed for duplicates before use (RFC 4862 section 5.4): a takeover cannot wait, and
// who owns a group is settled between nodes. Others' probes for them are answered, and rivals are reported.
class Resolver : private NeighbourEvents {
 public:
  static constexpr size_t kWitnessesMax = 64;

  // `pool` is where requests and answers come from. `egress`, `pool` and `drops` outlive the resolver.
  Resolver(const ResolverSettings& settings, rte_mempool* pool, Egress& egress, DropCounters& drops);

  // Start-up.
  Status add_route(const Prefix& destination, const IpAddress& gateway);
  void add_group_address(GroupId group, uint16_t port, const IpAddress& address, const MacAddress& mac);

  // Takes over or gives up a group's addresses: from now on they are ours and announced, or neither; packets
  // from them that wait for a neighbour's answer are dropped. Calling claim again announces from the
  // beginning.
  void claim(GroupId group, Instant now);
  void release(GroupId group);
  // We may soon speak for `source`: the next hop to `destination` is looked for. True if that took a request.
  bool warm(const IpAddress& source, const IpAddress& destination, Instant now);
  // Says nothing more for the group, but its frames are still accepted, until release or claim: they are for
  // whoever has it now.
  void pass_on(GroupId group);

  // `frame` is linear and begins with room for the Ethernet header, which is written here; an IP packet from
  // `source` to `destination` follows. Takes the mbuf: it is emitted, waits, or is dropped and counted.
  void send(rte_mbuf* frame, const IpAddress& source, const IpAddress& destination, Instant now);
  // What is sent there gets no answer: the next hop is asked whether it is still there.
  void doubt(const IpAddress& destination, Instant now);
  // The same for an answer to a stranger on `port` whose frame had this MAC. Whoever is on-link and no
  // neighbour yet is answered there, and no entry is made: a flood under many addresses must not fill the
  // table.
  void send_back(rte_mbuf* frame, const IpAddress& source, const IpAddress& destination, uint16_t port,
                 const MacAddress& mac, Instant now);
  // An ARP packet that came in on `port`. The frame's Ethernet destination has been accepted before.
  void receive_arp(uint16_t port, const wire::ArpPacket& packet, const MacAddress& ethernet_source,
                   Instant now);
  // The same for neighbour discovery.
  void receive_discovery(uint16_t port, const wire::NeighbourMessage& message,
                         const MacAddress& ethernet_source, Instant now);
  void tick(Instant now);
  Instant next_deadline() const;

  // Asks a witness for a sign of life, whatever is known of it: by its own MAC, or everybody after it left
  // the last probe unanswered. False if no port's network holds `ip` or there are kWitnessesMax others.
  bool probe(const IpAddress& ip, Instant now);
  // When a reply of a probed witness last arrived.
  std::optional<Instant> last_answer(const IpAddress& ip) const;

  // The node's own address of the family of `ip` on that port, preferably in one network with it; or null.
  const Prefix* own_address_near(uint16_t port, const IpAddress& ip) const;
  const Claims& claims() const { return claims_; }
  const RouteTable& routes() const { return routes_; }
  const NeighbourTable& neighbours() const { return neighbours_; }
  const ResolverCounters& counters() const { return counters_; }
  const std::optional<RivalSighting>& last_rival() const { return last_rival_; }

 private:
  struct Witness {
    IpAddress ip;
    std::optional<Instant> probed;
    std::optional<Instant> answered;
  };

  void ask(uint16_t port, const IpAddress& ip, const MacAddress& to, const IpAddress& source) override;
  void forward(uint16_t port, const MacAddress& mac, rte_mbuf* frame) override;
  void drop(DropReason reason, rte_mbuf* frame) override;

  // An address and what somebody says is its MAC.
  struct Statement {
    IpAddress ip;
    MacAddress mac;
    MacAddress ethernet_source;
  };

  // resolver_arp.cc, resolver_discovery.cc
  wire::ArpPacket arp_request_for(uint16_t port, const IpAddress& ip, const IpAddress& source) const;
  bool send_arp_request(uint16_t port, const IpAddress& ip, const MacAddress& to, const IpAddress& source);
  void announce_by_arp(const Claim& claim, const IpAddress& to, const MacAddress& mac);
  std::optional<IpAddress> solicitation_source(uint16_t port, const IpAddress& ip,
                                               const IpAddress& source) const;
  bool send_solicitation(uint16_t port, const IpAddress& ip, const MacAddress& to, const IpAddress& source);
  void receive_solicitation(uint16_t port, const wire::NeighbourMessage& message,
                            const MacAddress& ethernet_source, Instant now);
  void receive_advertisement(uint16_t port, const wire::NeighbourMessage& message,
                             const MacAddress& ethernet_source, Instant now);
  void announce_by_advertisement(const Claim& claim, const IpAddress& to, const MacAddress& mac);

  // resolver.cc
  bool send_request(uint16_t port, const IpAddress& ip, const MacAddress& to, const IpAddress& source);
  bool emit(uint16_t port, std::span<const uint8_t> frame);
  bool is_rival(const Claim& claim, const Statement& statement) const;
  void meet_rival(const Claim& claim, const Statement& statement, Instant now);
  void note_answer(const IpAddress& ip, Instant now);
  void discard_waiting(GroupId group);
  void announce(const Announcements::Due& due);
  void announce_to_all(const Claim& claim);
  void announce_to_known(const Claim& claim);

  std::vector<ResolverPort> ports_;
  Voice voice_;
  rte_mempool* pool_;
  Egress& egress_;
  DropCounters& drops_;
  RouteTable routes_;
  Claims claims_;
  NeighbourTable neighbours_;
  Announcements announcements_;
  std::vector<Witness> witnesses_;
  std::optional<Instant> own_defended_;
  std::optional<RivalSighting> last_rival_;
  ResolverCounters counters_;
};

}  // namespace understudy::neighbour
