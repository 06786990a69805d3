#include "tests/conformance/system.h"

#include <cstring>

#include "common/check.h"

namespace understudy::conformance {
namespace {

constexpr Secret kSecret{{7, 3, 11}};
constexpr uint32_t kCluster = 77;
// Everything that a script leaves in buffers goes through the window at once.
constexpr mirror::ChannelSender::Settings kChannel{.window = 1024, .frame_payload = 8192};

}  // namespace

System::System(const ProfileSettings& settings, rte_mempool* pool, Instant start, NodeId id,
               Transmit transmit)
    : pool_(pool),
      transmit_(std::move(transmit)),
      id_(id),
      engine_(settings.engine, kSecret, shards_, pool, *this, start),
      log_(kChannel, 0, 0, engine_, pool, *this),
      receiver_(kChannel.window, pool, *this, drops_),
      replica_(engine_, 0) {
  engine_.add_group(GroupId(1));
}

System::~System() {
  forget_legs();
}

void System::forget_legs() {
  engine_.discard_legs(0);
  engine_.log_pending().clear();
  engine_.closed_legs().clear();
}

Epoch System::next_epoch() {
  return Epoch{++epochs_, id_};
}

void System::own(Instant now) {
  engine_.take_over(0, next_epoch(), now, 0ms);
  engine_.group(0).cookies_until = Instant();  // nobody was there before
}

void System::settle(Instant now) {
  engine_.commit_pending();
  engine_.flush(now);
}

void System::transmit(rte_mbuf* frame, const FlowKey&) {
  const auto* data = rte_pktmbuf_mtod(frame, const uint8_t*);
  transmit_(
      {data + sizeof(wire::EthernetHeader), rte_pktmbuf_data_len(frame) - sizeof(wire::EthernetHeader)});
  rte_pktmbuf_free(frame);
}

void System::transmit_cluster(rte_mbuf* frame) {
  // The sender keeps a frame until it is confirmed; the other side has its own copy.
  rte_mbuf* copy = rte_pktmbuf_copy(frame, pool_, 0, UINT32_MAX);
  rte_pktmbuf_free(frame);
  invariant(copy != nullptr && peer_ != nullptr, "conformance: no buffer for the mirror");
  const std::span<const uint8_t> bytes(
      rte_pktmbuf_mtod_offset(copy, const uint8_t*, sizeof(wire::EthernetHeader)),
      rte_pktmbuf_data_len(copy) - sizeof(wire::EthernetHeader));
  const auto parsed = mirror::parse_cluster_header(bytes, kCluster);
  const auto* view = std::get_if<mirror::ClusterFrameView>(&parsed);
  invariant(view != nullptr, "conformance: a cluster frame that does not parse");
  if (view->kind == mirror::ClusterFrameKind::mirror_data)
    return peer_->receiver_.receive(view->boot, view->payload, copy, peer_->replica_, now_);
  peer_->log_.on_ack(view->payload, now_);
  rte_pktmbuf_free(copy);
}

void System::open_stream(System& heir, Instant now) {
  peer_ = &heir;
  heir.peer_ = this;
  now_ = heir.now_ = now;
  heir.engine_.run_timers(now);
  const mirror::ChannelAddress address{.cluster = kCluster,
                                       .self = id_,
                                       .self_boot = BootId(id_.value()),
                                       .peer_boot = BootId(heir.id_.value())};
  heir.receiver_.set_address({.cluster = kCluster,
                              .self = heir.id_,
                              .self_boot = BootId(heir.id_.value()),
                              .peer_boot = BootId(id_.value())});
  log_.open(address, 1, ++generation_, now);
  for (int round = 0; log_.state() != mirror::OwnerLog::State::synced; ++round) {
    invariant(round < 100, "conformance: the snapshot does not end");
    log_.snapshot(engine_.legs().capacity(), now);
    exchange(now);
  }
}

// What has changed is written, and confirmed.
void System::exchange(Instant now) {
  const std::vector<uint32_t> pending(engine_.log_pending());
  engine_.log_pending().clear();
  for (const uint32_t leg : pending) {
    if (!engine_.legs().is_live(leg)) continue;
    engine_.legs()[leg].log_pending = false;
    if (!log_.write(leg, now)) engine_.want_log(leg);
  }
  log_.flush(now);
  peer_->receiver_.send_ack_if_due(peer_->replica_.refused(), now);
}

void System::hand_over(System& heir, Instant now) {
  open_stream(heir, now);
  engine_.give_up(0);
  while (!engine_.log_pending().empty()) exchange(now);
  const auto& legs = engine_.legs();
  for (uint32_t leg = 0; leg < legs.capacity(); ++leg)
    if (legs.is_live(leg)) invariant(log_.write_soft(leg, now), "conformance: no room for soft state");
  invariant(log_.write_release(0, false, now), "conformance: no room for the release");
  exchange(now);
  invariant(heir.replica_.is_released(0), "conformance: the release was not applied");
  heir.receiver_.close();
  heir.engine_.receive_hand_over(0, heir.next_epoch(), now, 0ms);
  heir.engine_.group(0).cookies_until = Instant();
  heir.replica_.receive_hand_over(0, now);
  log_.drop(now);
  while (heir.engine_.sweep(now, heir.engine_.legs().capacity())) {
  }
}

void System::die_for(System& heir, Instant now, Duration clock_leap) {
  open_stream(heir, now);
  while (!engine_.log_pending().empty()) exchange(now);
  heir.receiver_.close();
  heir.replica_.release(0);
  tcp::Group& group = heir.engine_.group(0);
  group.clock.advance_to(engine_.group(0).clock.micros(now) + static_cast<uint64_t>(to_us(clock_leap)), now);
  heir.engine_.take_over(0, heir.next_epoch(), now, 0ms);
  log_.drop(now);
  while (heir.engine_.sweep(now, heir.engine_.legs().capacity())) {
  }
}

}  // namespace understudy::conformance
