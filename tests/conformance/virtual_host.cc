#include "tests/conformance/virtual_host.h"

#include <algorithm>
#include <cstring>

namespace understudy::conformance {

rte_mbuf* frame_of(std::span<const uint8_t> packet, rte_mempool* pool) {
  rte_mbuf* frame = rte_pktmbuf_alloc(pool);
  if (frame == nullptr) return nullptr;
  const size_t length = sizeof(wire::EthernetHeader) + packet.size();
  auto* data = length <= rte_pktmbuf_tailroom(frame)
                   ? rte_pktmbuf_append(frame, static_cast<uint16_t>(length))
                   : nullptr;
  if (data == nullptr) {
    rte_pktmbuf_free(frame);
    return nullptr;
  }
  wire::EthernetHeader ethernet{};
  const bool is_v6 = !packet.empty() && packet[0] >> 4 == 6;
  ethernet.type.set(is_v6 ? wire::kEtherTypeIpv6 : wire::kEtherTypeIpv4);
  std::memcpy(data, &ethernet, sizeof ethernet);
  std::memcpy(data + sizeof ethernet, packet.data(), packet.size());
  return frame;
}

VirtualHost::VirtualHost(const ProfileSettings& settings, rte_mempool* pool, Instant start)
    : settings_(settings), pool_(pool), now_(start) {
  const auto speak = [this](std::span<const uint8_t> packet) {
    if (successor_) successor_->reference_says(packet);
    sent_.push_back({now_, {packet.begin(), packet.end()}});
  };
  active_ = std::make_unique<System>(settings, pool, start, NodeId(1), speak);
  active_->own(start);
  if (settings.failover == Failover::every_event)
    other_ = std::make_unique<System>(settings, pool, start, NodeId(2), speak);
  if (settings.failover == Failover::crash_at)
    successor_ = std::make_unique<Successor>(settings, pool, start, *active_);
}

VirtualHost::~VirtualHost() = default;

void VirtualHost::add_address(const IpAddress& address) {
  if (std::ranges::find(addresses_, address) != addresses_.end()) return;
  addresses_.push_back(address);
  active_->engine().add_address(0, address);
  if (other_) other_->engine().add_address(0, address);
  if (successor_) successor_->engine().add_address(0, address);
}

void VirtualHost::add_service(const tcp::Service& service) {
  active_->engine().add_service(service);
  if (other_) other_->engine().add_service(service);
  if (successor_) successor_->engine().add_service(service);
}

void VirtualHost::limit_segments(ServiceId service, uint16_t segment_max) {
  active_->engine().limit_segments(service, segment_max);
  if (other_) other_->engine().limit_segments(service, segment_max);
  if (successor_) successor_->engine().limit_segments(service, segment_max);
}

void VirtualHost::stop_listening(ServiceId service) {
  active_->engine().stop_listening(service);
  if (other_) other_->engine().stop_listening(service);
  if (successor_) successor_->engine().stop_listening(service);
}

void VirtualHost::advance_to(Instant until) {
  while (true) {
    const Instant next = engine().next_deadline();
    if (successor_) successor_->advance_to(std::min(until, next));
    if (next > until) break;
    now_ = std::max(now_, next);
    engine().run_timers(now_);
    settle();
  }
  now_ = std::max(now_, until);
}

void VirtualHost::inject(std::span<const uint8_t> packet) {
  rte_mbuf* frame = frame_of(packet, pool_);
  if (frame == nullptr) return;
  const wire::ParsedFrame parsed = wire::parse_frame(frame);
  if (const auto* segment = std::get_if<wire::TcpSegment>(&parsed)) {
    add_address(segment->destination);
    if (successor_) successor_->peer_says(packet, *segment, frame, now_);
    engine().receive(frame, *segment, now_);
  } else {
    if (const auto* error = std::get_if<wire::IcmpError>(&parsed)) {
      if (successor_) successor_->network_says(*error, now_);
      engine().receive_error(*error, now_);
    }
    rte_pktmbuf_free(frame);
  }
  settle();
}

bool VirtualHost::write(uint32_t leg, std::span<const uint8_t> bytes) {
  if (successor_) successor_->writes(engine().legs()[leg], bytes);
  return engine().write(leg, bytes);
}

void VirtualHost::consume(uint32_t leg, uint64_t up_to_offset) {
  if (successor_) successor_->consumes(engine().legs()[leg], up_to_offset);
  engine().consume(leg, up_to_offset);
}

void VirtualHost::finish_writing(uint32_t leg) {
  if (successor_) successor_->finishes(engine().legs()[leg]);
  engine().finish_writing(leg);
}

void VirtualHost::abort(uint32_t leg) {
  if (successor_) successor_->aborts(engine().legs()[leg], now_);
  engine().abort(leg, now_);
}

void VirtualHost::settle() {
  active_->settle(now_);
  after_event();
}

void VirtualHost::after_event() {
  if (engine().legs().size() == 0) return;
  ++events_;
  if (successor_) {
    if (events_ == settings_.crash_event) successor_->take_over(now_);
    successor_->after_event(now_);
  }
  if (!other_) return;
  active_->hand_over(*other_, now_);
  std::swap(active_, other_);
  if (moved_) moved_(other_->engine());
  other_->forget_legs();
  active_->settle(now_);
}

uint64_t VirtualHost::count(uint64_t tcp::EngineCounters::*counter) const {
  return active_->engine().counters().*counter + (other_ ? other_->engine().counters().*counter : 0);
}

uint64_t VirtualHost::drops(DropReason reason) const {
  return active_->engine().drops().of(reason) + (other_ ? other_->engine().drops().of(reason) : 0);
}

std::vector<std::string> VirtualHost::faults() {
  return successor_ ? successor_->faults() : std::vector<std::string>();
}

}  // namespace understudy::conformance
