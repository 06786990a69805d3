#include "dataplane/mirror/channel.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include <rte_prefetch.h>

#include "common/check.h"
#include "dataplane/mirror/frame_sealer.h"
#include "dataplane/wire/ethernet.h"

namespace understudy::mirror {
namespace {

constexpr uint32_t kHeaders = sizeof(wire::EthernetHeader) + sizeof(ClusterFrameHeader);

template <class T>
T load(std::span<const uint8_t> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

void write_headers(rte_mbuf* frame, const MacAddress& source, const MacAddress& destination,
                   const ClusterFrameView& view, uint32_t cluster) {
  wire::EthernetHeader ethernet;
  ethernet.destination = destination.bytes();
  ethernet.source = source.bytes();
  ethernet.type = wire::kEtherTypeCluster;
  const ClusterFrameHeader header = make_cluster_header(view, cluster);
  auto* at = rte_pktmbuf_mtod(frame, uint8_t*);
  std::memcpy(at, &ethernet, sizeof ethernet);
  std::memcpy(at + sizeof ethernet, &header, sizeof header);
}

}  // namespace

std::optional<MirrorSubject> subject_of_data(std::span<const uint8_t> payload) {
  if (payload.size() < sizeof(MirrorDataHeader)) return std::nullopt;
  const auto header = load<MirrorDataHeader>(payload);
  return MirrorSubject{GroupId(header.group.get()), header.epoch.get()};
}

std::optional<MirrorSubject> subject_of_ack(std::span<const uint8_t> payload) {
  if (payload.size() < sizeof(MirrorAckHeader)) return std::nullopt;
  return MirrorSubject{GroupId(load<MirrorAckHeader>(payload).group.get()), 0};
}

rte_mbuf* make_cluster_frame(rte_mempool* pool, const MacAddress& source, const MacAddress& destination,
                             const ClusterFrameView& view, uint32_t cluster) {
  rte_mbuf* frame = rte_pktmbuf_alloc(pool);
  if (frame == nullptr) return nullptr;
  const auto length = static_cast<uint16_t>(kHeaders + view.payload.size());
  if (rte_pktmbuf_tailroom(frame) < length + sizeof(SealTrailer)) {
    rte_pktmbuf_free(frame);
    return nullptr;
  }
  rte_pktmbuf_append(frame, length);
  write_headers(frame, source, destination, view, cluster);
  std::memcpy(rte_pktmbuf_mtod_offset(frame, uint8_t*, kHeaders), view.payload.data(), view.payload.size());
  return frame;
}

ChannelSender::ChannelSender(const Settings& settings, rte_mempool* pool, FrameSink& sink,
                             DropCounters& drops)
    : settings_(settings), pool_(pool), sink_(sink), drops_(drops), slots_(settings.window) {
  invariant(std::has_single_bit(settings.window), "channel window must be a power of two");
}

ChannelSender::~ChannelSender() {
  release_all();
}

void ChannelSender::release_all() {
  for (Slot& slot : slots_) {
    if (slot.frame != nullptr) rte_pktmbuf_free(slot.frame);
    slot = Slot();
  }
  if (building_ != nullptr) rte_pktmbuf_free(building_);
  building_ = nullptr;
  rte_pktmbuf_free(std::exchange(prepared_, nullptr));
  built_ = 0;
}

void ChannelSender::open(const ChannelAddress& address, uint32_t generation, Instant now) {
  release_all();
  address_ = address;
  generation_ = generation;
  una_ = next_ = 1;
  open_ = true;
  last_sent_ = last_progress_ = now;
  retransmit_at_ = kNever;
  retransmit_wait_ = settings_.retransmit_min;
}

void ChannelSender::close() {
  open_ = false;
  retransmit_at_ = kNever;
  release_all();
  una_ = next_;
}

bool ChannelSender::start_frame() {
  if (in_flight() >= settings_.window - 1) return false;
  building_ = prepared_ != nullptr ? std::exchange(prepared_, nullptr) : rte_pktmbuf_alloc(pool_);
  if (building_ == nullptr) {
    drops_.count(DropReason::mbuf_pool_empty);
    return false;
  }
  rte_pktmbuf_append(building_, kHeaders + sizeof(MirrorDataHeader));
  built_ = 0;
  return true;
}

// A full frame has a successor as a rule. While the full one is sealed, the lines of the next one come.
void ChannelSender::prepare_next() {
  if (prepared_ == nullptr) prepared_ = rte_pktmbuf_alloc(pool_);
  if (prepared_ == nullptr) return;
  const uint8_t* data = rte_pktmbuf_mtod(prepared_, const uint8_t*);
  const uint32_t length = kHeaders + sizeof(MirrorDataHeader) + settings_.frame_payload;
  for (uint32_t line = 0; line < length; line += RTE_CACHE_LINE_SIZE) __builtin_prefetch(data + line, 1);
}

uint32_t ChannelSender::room_in_frame() const {
  return building_ == nullptr ? 0 : settings_.frame_payload - built_;
}

uint64_t ChannelSender::room() const {
  if (!open_) return 0;
  const uint64_t frames = settings_.window - 1 - std::min(settings_.window - 1, in_flight() + 1);
  return frames * settings_.frame_payload;
}

uint8_t* ChannelSender::append(uint32_t length, Instant now) {
  invariant(length <= settings_.frame_payload, "mirror record larger than a frame");
  if (building_ != nullptr && built_ + length > settings_.frame_payload) {
    prepare_next();
    flush(now);
  }
  if (building_ == nullptr && !start_frame()) return nullptr;
  built_ += length;
  return reinterpret_cast<uint8_t*>(rte_pktmbuf_append(building_, static_cast<uint16_t>(length)));
}

void ChannelSender::flush(Instant now) {
  if (building_ == nullptr) return;
  const ClusterFrameView view{.kind = ClusterFrameKind::mirror_data,
                              .from = address_.self,
                              .from_worker = address_.self_worker,
                              .to_worker = address_.peer_worker,
                              .boot = address_.self_boot,
                              .payload = {rte_pktmbuf_mtod_offset(building_, const uint8_t*, kHeaders),
                                          sizeof(MirrorDataHeader) + built_}};
  write_headers(building_, address_.self_mac, address_.peer_mac, view, address_.cluster);
  MirrorDataHeader header;
  header.to_boot = address_.peer_boot.value();
  header.generation = generation_;
  header.sequence = next_;
  header.group = address_.group.value();
  header.epoch = address_.epoch;
  std::memcpy(rte_pktmbuf_mtod_offset(building_, uint8_t*, kHeaders), &header, sizeof header);
  if (in_flight() == 0) last_progress_ = now;
  slot(next_) = {building_, now, false};
  building_ = nullptr;
  built_ = 0;
  send(next_++, now);
  if (retransmit_at_ == kNever) retransmit_at_ = now + retransmit_wait_;
}

void ChannelSender::send(uint32_t sequence, Instant now) {
  Slot& s = slot(sequence);
  count_sent(s, now);
  rte_mbuf_refcnt_update(s.frame, 1);  // one for the wire, one for us until it is confirmed
  sink_.transmit_cluster(s.frame);
}

void ChannelSender::repeat(uint32_t sequence, Instant now) {
  Slot& s = slot(sequence);
  count_sent(s, now);
  ++retransmitted_;
  sink_.repeat_cluster(s.frame);
}

void ChannelSender::count_sent(Slot& s, Instant now) {
  s.sent_at = now;
  last_sent_ = now;
  ++frames_sent_;
  bytes_sent_ += s.frame->pkt_len;
}

// Their headers have left the near caches since they were sent.
void ChannelSender::release_up_to(uint32_t next_expected) {
  constexpr uint32_t kAhead = 8;
  std::array<rte_mbuf*, 64> frames;
  for (uint32_t sequence = una_; sequence < std::min(una_ + kAhead, next_expected); ++sequence)
    rte_prefetch0(slot(sequence).frame);
  while (una_ < next_expected) {
    unsigned count = 0;
    for (; count < frames.size() && una_ < next_expected; ++una_) {
      if (una_ + kAhead < next_expected) rte_prefetch0(slot(una_ + kAhead).frame);
      frames[count++] = std::exchange(slot(una_), Slot()).frame;
    }
    rte_pktmbuf_free_bulk(frames.data(), count);
  }
}

bool ChannelSender::on_ack(const MirrorAckHeader& ack, Instant now) {
  const uint32_t next_expected = ack.next_expected.get();
  // A former incarnation of ours may have had the same generation; what it is told does not hold for us.
  if (!open_ || ack.to_boot.get() != address_.self_boot.value() || ack.generation.get() != generation_)
    return false;
  if (next_expected > next_ || next_expected < una_) return false;
  if (next_expected > una_) {
    release_up_to(next_expected);
    last_progress_ = now;
    retransmit_wait_ = settings_.retransmit_min;
    retransmit_at_ = in_flight() > 0 ? now + retransmit_wait_ : kNever;
  }
  uint32_t highest = una_;
  const uint64_t received = ack.received.get();
  for (uint32_t i = 0; i < 64 && una_ + 1 + i < next_; ++i) {
    if ((received >> i & 1) == 0) continue;
    slot(una_ + 1 + i).received = true;
    highest = una_ + 1 + i;
  }
  // What lies three frames below something received is missing, unless it has just been sent again.
  for (uint32_t sequence = una_; sequence + 3 <= highest; ++sequence) {
    Slot& s = slot(sequence);
    if (s.received || now - s.sent_at < settings_.retransmit_min / 2) continue;
    repeat(sequence, now);
  }
  return true;
}

void ChannelSender::tick(Instant now) {
  if (!open_) return;
  if (retransmit_at_ <= now && in_flight() > 0) {
    // A whole burst may be missing, more than the acknowledgement's bitmap shows.
    constexpr uint32_t kBurst = 32;
    uint32_t sent = 0;
    for (uint32_t sequence = una_; sequence != next_ && sent < kBurst; ++sequence) {
      if (slot(sequence).received || now - slot(sequence).sent_at < settings_.retransmit_min) continue;
      ++sent;
      repeat(sequence, now);
    }
    retransmit_wait_ = std::min<Duration>(2 * retransmit_wait_, 20ms);
    retransmit_at_ = now + retransmit_wait_;
  }
  if (building_ == nullptr && now - last_sent_ >= settings_.keepalive && in_flight() == 0 && start_frame())
    flush(now);
}

Instant ChannelSender::next_deadline() const {
  if (!open_) return kNever;
  return in_flight() > 0 ? retransmit_at_ : last_sent_ + settings_.keepalive;
}

ChannelReceiver::ChannelReceiver(uint32_t window, rte_mempool* pool, FrameSink& sink, DropCounters& drops)
    : window_(window), pool_(pool), sink_(sink), drops_(drops), waiting_(window) {}

ChannelReceiver::~ChannelReceiver() {
  release_all();
}

void ChannelReceiver::release_all() {
  for (Waiting& w : waiting_) {
    if (w.frame != nullptr) rte_pktmbuf_free(w.frame);
    w = Waiting();
  }
}

void ChannelReceiver::close() {
  open_ = false;
  ack_due_ = false;
  release_all();
}

bool ChannelReceiver::would_open(BootId from_boot, std::span<const uint8_t> payload) const {
  if (payload.size() < sizeof(MirrorDataHeader)) return false;
  const auto header = load<MirrorDataHeader>(payload);
  const bool is_former = from_boot != from_boot_ && from_boot != BootId() &&
                         std::ranges::find(former_boots_, from_boot) != former_boots_.end();
  return header.to_boot.get() == address_.self_boot.value() && !is_former &&
         (from_boot != from_boot_ || header.generation.get() > generation_);
}

void ChannelReceiver::receive(BootId from_boot, std::span<const uint8_t> payload, rte_mbuf* frame,
                              Consumer& consumer, Instant now) {
  const auto refuse = [&](DropReason reason) {
    drops_.count(reason);
    rte_pktmbuf_free(frame);
  };
  if (payload.size() < sizeof(MirrorDataHeader)) return refuse(DropReason::cluster_malformed);
  const auto header = load<MirrorDataHeader>(payload);
  if (header.to_boot.get() != address_.self_boot.value()) return refuse(DropReason::mirror_out_of_window);
  const bool newer = from_boot != from_boot_ || header.generation.get() > generation_;
  if (newer) {
    if (std::ranges::find(former_boots_, from_boot) != former_boots_.end() && from_boot != BootId())
      return refuse(DropReason::mirror_out_of_window);
    if (from_boot != from_boot_) former_boots_[former_next_++ % former_boots_.size()] = from_boot_;
    release_all();
    from_boot_ = from_boot;
    generation_ = header.generation.get();
    next_ = 1;
    open_ = true;
    consumer.on_open(generation_, now);
  }
  if (!open_ || header.generation.get() != generation_) return refuse(DropReason::mirror_out_of_window);
  last_heard_ = now;
  ack_due_ = true;
  const uint32_t sequence = header.sequence.get();
  if (sequence < next_) {  // seen: the acknowledgement was lost
    rte_pktmbuf_free(frame);
    return;
  }
  if (sequence - next_ >= window_) return refuse(DropReason::mirror_out_of_window);
  Waiting& place = waiting_[sequence % window_];
  if (place.frame != nullptr) {
    rte_pktmbuf_free(frame);
    return;
  }
  const auto* start = rte_pktmbuf_mtod(frame, const uint8_t*);
  place = {frame, static_cast<uint16_t>(payload.data() + sizeof header - start),
           static_cast<uint16_t>(payload.size() - sizeof header)};
  for (Waiting* w = &waiting_[next_ % window_]; open_ && w->frame != nullptr;
       w = &waiting_[next_ % window_]) {
    const Waiting current = *w;
    *w = Waiting();
    const bool applied = consumer.on_frame(
        {rte_pktmbuf_mtod_offset(current.frame, const uint8_t*, current.offset), current.length},
        current.frame, now);
    rte_pktmbuf_free(current.frame);
    if (!applied) return close();
    ++next_;
  }
}

void ChannelReceiver::send_ack_if_due(std::span<const RefusedLeg> refused, Instant) {
  if (!ack_due_ || !open_) return;
  constexpr size_t kRefusedMost = 64;  // the others are named when these have been closed
  refused = refused.first(std::min(refused.size(), kRefusedMost));
  std::array<uint8_t, sizeof(MirrorAckHeader) + kRefusedMost * sizeof(RefusedLeg)> payload;
  MirrorAckHeader ack;
  ack.to_boot = from_boot_.value();
  ack.generation = generation_;
  ack.next_expected = next_;
  uint64_t received = 0;
  for (uint32_t i = 0; i < 64 && i + 1 < window_; ++i)
    if (waiting_[(next_ + 1 + i) % window_].frame != nullptr) received |= uint64_t{1} << i;
  ack.received = received;
  ack.group = address_.group.value();
  std::memcpy(payload.data(), &ack, sizeof ack);
  if (!refused.empty()) std::memcpy(payload.data() + sizeof ack, refused.data(), refused.size_bytes());
  const ClusterFrameView view{.kind = ClusterFrameKind::mirror_ack,
                              .from = address_.self,
                              .from_worker = address_.self_worker,
                              .to_worker = address_.peer_worker,
                              .boot = address_.self_boot,
                              .payload = std::span(payload).first(sizeof ack + refused.size_bytes())};
  rte_mbuf* frame = make_cluster_frame(pool_, address_.self_mac, address_.peer_mac, view, address_.cluster);
  if (frame == nullptr) {
    drops_.count(DropReason::mbuf_pool_empty);
    return;  // stays due
  }
  ack_due_ = false;
  sink_.transmit_cluster(frame);
}

}  // namespace understudy::mirror
