#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "common/strong.h"
#include "dataplane/mirror/cluster_frame.h"
#include "dataplane/mirror/greeting.h"
#include "dataplane/seal/aead.h"
#include "dataplane/seal/keys.h"
#include "dataplane/seal/replay_window.h"
#include "dataplane/wire/drop_reason.h"

namespace understudy::mirror {

// Opens sealed frames for one worker, and decides what of them may be believed. It needs to know nobody
// beforehand: the key of an incarnation follows from the cluster's key and the frame's header. One thread.
// Allocates in the constructor and in set_keys, and when a genuine frame shows a new (worker, link) of its
// sender.
class FrameOpener {
 public:
  struct Settings {
    NodeId self;
    BootId boot;
    uint32_t cluster = 0;       // what opened frames carry in their header, whichever key fitted
    std::vector<NodeId> nodes;  // configured, this one included
  };
  FrameOpener(const Settings& settings, const seal::KeyRing& keys);
  void set_keys(const seal::KeyRing& keys);

  struct Opened {
    ClusterFrameView view;
    bool proven;  // its sender has answered us: this is no recording of a former life
  };
  // Checks and decrypts the bytes after the Ethernet header in place; any bytes are safe. Reasons as in
  // parse_cluster_header, and: cluster_stranger, a key or a node that we do not have; cluster_malformed, too
  // short for its seal; cluster_forged, the seal does not fit; cluster_replayed, a frame that came before, or
  // one too old to tell. Our own frames, come back, are ethernet_not_for_us.
  std::variant<DropReason, Opened> open(std::span<uint8_t> bytes);

  // The payload of an opened greeting. Afterwards its sender may be proven, or owed an answer.
  void take_greeting(const ClusterFrameView& view);
  // A question or an answer should leave; greeting() is its payload, and what it says is then said.
  bool owes_greeting() const { return owes_greeting_; }
  std::vector<uint8_t> greeting();

 private:
  // Per node this many incarnations at a time: the living one, and strangers or recordings that claim to be
  // another one. Who has been proven goes last.
  static constexpr size_t kIncarnations = 4;
  static constexpr size_t kKeys = 2;
  static constexpr size_t kAnswersMax = 16;

  struct Window {
    uint8_t worker = 0;
    uint8_t link = 0;
    seal::ReplayWindow seen;
  };
  struct Incarnation {
    BootId boot;
    bool used = false;
    bool proven = false;
    bool asks = false;       // our question has to go out
    uint64_t challenge = 0;  // the number in our question
    uint64_t heard = 0;      // order of last use
    std::array<seal::Aead, kKeys> aeads;
    std::vector<Window> windows;
  };
  struct Node {
    NodeId id;
    std::array<Incarnation, kIncarnations> incarnations;
  };

  Node* find_node(NodeId id);
  static Incarnation* find(Node& node, BootId boot);
  static Incarnation& least_useful(Node& node);
  static seal::ReplayWindow* window_of(Incarnation& incarnation, uint8_t worker, uint8_t link);
  void adopt(Incarnation& incarnation, NodeId node, BootId boot, size_t key);

  Settings settings_;
  std::vector<seal::ClusterKey> keys_;  // one or two
  std::vector<seal::FrameKeys> frame_keys_;
  std::vector<Node> nodes_;
  seal::Aead stranger_;  // tries frames of incarnations that we have not met
  std::vector<GreetingEntry> answers_;
  bool owes_greeting_ = false;
  uint64_t challenges_ = 0;
  uint64_t order_ = 0;
};

}  // namespace understudy::mirror
