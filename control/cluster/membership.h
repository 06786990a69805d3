#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/address.h"
#include "common/instant.h"
#include "common/strong.h"

namespace understudy::cluster {

// A network over which frames of the cluster travel, numbered as the settings name them.
using LinkId = Strong<struct LinkIdTag, uint8_t>;

// What a sign of life turned out to be.
enum class Sighting {
  peer,        // a known incarnation of another node
  reborn,      // another node with a new boot id, its old incarnation silent: that one is dead
  contender,   // another node with a new boot id while the old one still speaks; changes nothing
  buried,      // a late frame of an incarnation that was replaced; changes nothing
  stranger,    // a node that is not configured
  reflection,  // our own frame came back
  own_id,      // our node id from another machine, seen once: may be a late frame of ours before a restart
  duplicate    // our node id from another machine, again: see duplicate()
};

// Who is alive, and over which links. Any frame of the cluster counts as a sign of life. Pure bookkeeping:
// whether silence means death is for the fault detector.
class Membership {
 public:
  struct Link {
    std::optional<Instant> last_heard;
    MacAddress mac;  // of the sender, last seen
    uint64_t frames = 0;
  };
  struct Peer {
    BootId boot;
    std::vector<Link> links;
    std::optional<Instant> last_heard;  // on any link
    std::vector<BootId> buried;         // the last few incarnations before this one
    uint32_t reboots = 0;
    // A second machine that uses the node's id, or the node itself, restarted faster than dead_after.
    BootId contender;
    MacAddress contender_mac;
    std::optional<Instant> contender_since;
  };
  struct Self {
    NodeId node;
    BootId boot;
    Duration interval;             // two sightings of our own id at least this far apart make a duplicate
    Duration dead_after;           // silence of an incarnation after which another may take its place
    std::vector<MacAddress> macs;  // that we send with, per link: for the sentence of duplicate()
  };

  Membership(Self self, const std::vector<NodeId>& others, size_t links);

  // What we make of a new boot id depends on whether we were there to hear the old one. Just back from an
  // absence we read frames of the past as if they were new: then a new boot id is believed at once.
  enum class Attention { constant, just_back };
  Sighting heard(NodeId node, BootId boot, LinkId link, const MacAddress& from, Instant now,
                 Attention attention = Attention::constant);

  const Peer* find(NodeId node) const;
  const std::map<NodeId, Peer>& peers() const { return peers_; }
  // After Sighting::duplicate: what is wrong, with both machines' marks, and the cure.
  const std::string& duplicate() const { return duplicate_; }
  // Two machines take turns in speaking as `node`; what is wrong, and the cure. Empty: no.
  std::string contested(NodeId node, Instant now) const;

 private:
  Sighting heard_other_boot(Peer& peer, BootId boot, const MacAddress& from, Instant now,
                            Attention attention);
  Sighting heard_own_id(BootId boot, LinkId link, const MacAddress& from, Instant now);
  Self self_;
  std::map<NodeId, Peer> peers_;
  size_t links_;
  BootId other_self_;
  std::optional<Instant> other_self_first_;
  std::string duplicate_;
};

}  // namespace understudy::cluster
