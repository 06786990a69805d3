#include "tests/conformance/virtual_host.h"

#include <algorithm>
#include <cstring>

namespace understudy::conformance {
namespace {
constexpr Secret kSecret{{7, 3, 11}};
}

VirtualHost::VirtualHost(const ProfileSettings& settings, rte_mempool* pool, Instant start)
    : pool_(pool), now_(start) {
  engine_.reset(new tcp::Engine(settings.engine, kSecret, shards_, pool, *this, random_, start));
  engine_->add_group(GroupId(1), true);
}

VirtualHost::~VirtualHost() {
  auto& legs = engine_->legs();
  for (uint32_t leg = 0; leg < legs.capacity(); ++leg)
    if (legs.is_live(leg)) engine_->erase_mirrored(leg);
}

void VirtualHost::add_address(const IpAddress& address) {
  if (std::ranges::find(addresses_, address) != addresses_.end()) return;
  addresses_.push_back(address);
  engine_->add_address(0, address);
}

void VirtualHost::advance_to(Instant until) {
  while (engine_->next_deadline() <= until) {
    now_ = std::max(now_, engine_->next_deadline());
    engine_->run_timers(now_);
    settle();
  }
  now_ = std::max(now_, until);
}

void VirtualHost::inject(std::span<const uint8_t> packet) {
  rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
  if (frame == nullptr) return;
  const size_t length = sizeof(wire::EthernetHeader) + packet.size();
  auto* data = length <= rte_pktmbuf_tailroom(frame)
                   ? rte_pktmbuf_append(frame, static_cast<uint16_t>(length))
                   : nullptr;
  if (data == nullptr) return rte_pktmbuf_free(frame);
  wire::EthernetHeader ethernet{};
  const bool is_v6 = !packet.empty() && packet[0] >> 4 == 6;
  ethernet.type.set(is_v6 ? wire::kEtherTypeIpv6 : wire::kEtherTypeIpv4);
  std::memcpy(data, &ethernet, sizeof ethernet);
  std::memcpy(data + sizeof ethernet, packet.data(), packet.size());
  const wire::ParsedFrame parsed = wire::parse_frame(frame);
  if (const auto* segment = std::get_if<wire::TcpSegment>(&parsed)) {
    add_address(segment->destination);
    engine_->receive(frame, *segment, now_);
  } else {
    if (const auto* error = std::get_if<wire::IcmpError>(&parsed)) engine_->receive_error(*error, now_);
    rte_pktmbuf_free(frame);
  }
  settle();
}

void VirtualHost::settle() {
  auto& pending = engine_->log_pending();
  for (const uint32_t leg : pending) {
    if (!engine_->legs().is_live(leg)) continue;
    tcp::Connection& c = engine_->legs()[leg];
    c.log_pending = false;
    engine_->commit_all(c);
    engine_->want_output(leg);
  }
  pending.clear();
  engine_->closed_legs().clear();
  engine_->flush(now_);
}

void VirtualHost::transmit(rte_mbuf* frame, const FlowKey&) {
  const auto* data = rte_pktmbuf_mtod(frame, const uint8_t*);
  sent_.push_back({now_, {data + sizeof(wire::EthernetHeader), data + rte_pktmbuf_data_len(frame)}});
  rte_pktmbuf_free(frame);
}

}  // namespace understudy::conformance
