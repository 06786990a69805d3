#include "dataplane/mirror/frame_opener.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "dataplane/mirror/frame_sealer.h"

namespace understudy::mirror {

FrameOpener::FrameOpener(const Settings& settings, const seal::KeyRing& keys)
    : settings_(settings), nodes_(settings.nodes.size()) {
  for (size_t i = 0; i < nodes_.size(); ++i) nodes_[i].id = settings_.nodes[i];
  answers_.reserve(kAnswersMax);
  set_keys(keys);
}

void FrameOpener::set_keys(const seal::KeyRing& keys) {
  keys_ = {keys.sealing};
  if (keys.accepted) keys_.push_back(*keys.accepted);
  frame_keys_.clear();
  for (const seal::ClusterKey& key : keys_) frame_keys_.emplace_back(key);
  for (Node& node : nodes_)
    for (Incarnation& incarnation : node.incarnations)
      for (size_t key = 0; incarnation.used && key < keys_.size(); ++key)
        incarnation.aeads[key].set_key(frame_keys_[key].of(node.id, incarnation.boot));
}

FrameOpener::Node* FrameOpener::find_node(NodeId id) {
  const auto found = std::ranges::find(nodes_, id, &Node::id);
  return found == nodes_.end() ? nullptr : &*found;
}

FrameOpener::Incarnation* FrameOpener::find(Node& node, BootId boot) {
  for (Incarnation& incarnation : node.incarnations)
    if (incarnation.used && incarnation.boot == boot) return &incarnation;
  return nullptr;
}

FrameOpener::Incarnation& FrameOpener::least_useful(Node& node) {
  return *std::ranges::min_element(
      node.incarnations, {}, [](const Incarnation& i) { return std::tuple(i.used, i.proven, i.heard); });
}

seal::ReplayWindow* FrameOpener::window_of(Incarnation& incarnation, uint8_t worker, uint8_t link) {
  for (Window& window : incarnation.windows)
    if (window.worker == worker && window.link == link) return &window.seen;
  return nullptr;
}

// A genuine frame of an incarnation that we have not met: its place in the table, and a question to it.
void FrameOpener::adopt(Incarnation& incarnation, NodeId node, BootId boot, size_t key) {
  incarnation.boot = boot;
  incarnation.used = true;
  incarnation.proven = false;
  incarnation.challenge = ++challenges_;
  incarnation.windows.clear();
  std::swap(incarnation.aeads[key], stranger_);
  for (size_t other = 0; other < keys_.size(); ++other)
    if (other != key) incarnation.aeads[other].set_key(frame_keys_[other].of(node, boot));
}

std::variant<DropReason, FrameOpener::Opened> FrameOpener::open(std::span<uint8_t> bytes) {
  ClusterFrameHeader header;
  if (bytes.size() < sizeof header) return DropReason::cluster_malformed;
  std::memcpy(&header, bytes.data(), sizeof header);
  const auto found = std::ranges::find(keys_, header.cluster.get(), &seal::ClusterKey::id);
  const auto parsed = parse_cluster_header(bytes, (found == keys_.end() ? keys_.begin() : found)->id);
  if (const auto* reason = std::get_if<DropReason>(&parsed)) return *reason;
  const auto& view = std::get<ClusterFrameView>(parsed);
  if (view.from == settings_.self && view.boot == settings_.boot) return DropReason::ethernet_not_for_us;
  Node* node = find_node(view.from);
  if (node == nullptr) return DropReason::cluster_stranger;
  const size_t sealed = sizeof header + view.payload.size();
  if (bytes.size() < sealed + sizeof(SealTrailer)) return DropReason::cluster_malformed;
  SealTrailer trailer;
  std::memcpy(&trailer, bytes.data() + sealed, sizeof trailer);

  const auto key = static_cast<size_t>(found - keys_.begin());
  Incarnation* incarnation = find(*node, view.boot);
  if (incarnation != nullptr) {
    const seal::ReplayWindow* seen = window_of(*incarnation, view.from_worker, trailer.link);
    if (seen != nullptr && !seen->is_new(trailer.number.get())) return DropReason::cluster_replayed;
  } else {
    stranger_.set_key(frame_keys_[key].of(view.from, view.boot));
  }
  seal::Aead& aead = incarnation == nullptr ? stranger_ : incarnation->aeads[key];
  if (!aead.open(nonce_of(view.from_worker, trailer.link, trailer.number.get()), bytes.first(sizeof header),
                 bytes.subspan(sizeof header, view.payload.size()), trailer.tag))
    return DropReason::cluster_forged;

  // From here on it comes from somebody who holds the key.
  if (incarnation == nullptr) {
    incarnation = &least_useful(*node);
    adopt(*incarnation, view.from, view.boot, key);
  }
  incarnation->heard = ++order_;
  seal::ReplayWindow* seen = window_of(*incarnation, view.from_worker, trailer.link);
  if (seen == nullptr)
    seen = &incarnation->windows.emplace_back(Window{view.from_worker, trailer.link, {}}).seen;
  if (!seen->accept(trailer.number.get())) return DropReason::cluster_replayed;
  // The mirror needs no proof of its own: its frames name the receiver's boot id.
  const bool mirrors =
      view.kind == ClusterFrameKind::mirror_data || view.kind == ClusterFrameKind::mirror_ack;
  if (!incarnation->proven && !mirrors) incarnation->asks = owes_greeting_ = true;
  header.cluster = settings_.cluster;
  std::memcpy(bytes.data(), &header, sizeof header);
  return Opened{view, incarnation->proven};
}

void FrameOpener::take_greeting(const ClusterFrameView& view) {
  Node* node = find_node(view.from);
  Incarnation* sender = node == nullptr ? nullptr : find(*node, view.boot);
  if (sender == nullptr) return;
  for (const GreetingEntry& entry : decode_greeting(view.payload)) {
    if (entry.node != settings_.self || entry.boot != settings_.boot) continue;
    if (entry.is_answer) {
      if (entry.number == sender->challenge) sender->proven = true;
    } else if (answers_.size() < kAnswersMax) {
      const GreetingEntry answer{view.from, view.boot, true, entry.number};
      if (std::ranges::find(answers_, answer) == answers_.end()) answers_.push_back(answer);
      owes_greeting_ = true;
    }
  }
}

std::vector<uint8_t> FrameOpener::greeting() {
  std::vector<GreetingEntry> entries = std::move(answers_);
  answers_.clear();
  for (Node& node : nodes_)
    for (Incarnation& incarnation : node.incarnations) {
      if (!incarnation.used || incarnation.proven || !incarnation.asks) continue;
      if (entries.size() == kGreetingEntriesMax) break;
      incarnation.asks = false;
      entries.push_back({node.id, incarnation.boot, false, incarnation.challenge});
    }
  owes_greeting_ = false;
  return encode_greeting(entries);
}

}  // namespace understudy::mirror
