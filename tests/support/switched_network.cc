#include "tests/support/switched_network.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "dataplane/wire/ethernet.h"

namespace understudy {

SwitchPort::SwitchPort(SwitchedNetwork& network, MacAddress mac, rte_mempool* pool)
    : network_(network), mac_(mac), pool_(pool) {
  network_.ports_.push_back(this);
}

SwitchPort::~SwitchPort() {
  network_.unplug(*this);
}

uint16_t SwitchPort::receive(std::span<rte_mbuf*> frames) {
  uint16_t count = 0;
  while (count < frames.size() && !ring_.empty()) {
    const std::vector<uint8_t>& bytes = ring_.front();
    rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
    if (mbuf == nullptr || bytes.size() > rte_pktmbuf_tailroom(mbuf)) {
      if (mbuf != nullptr) rte_pktmbuf_free(mbuf);
      ++statistics_.receive_missed;  // as a device without a buffer: the frame is gone
      ring_.pop_front();
      continue;
    }
    std::memcpy(rte_pktmbuf_append(mbuf, static_cast<uint16_t>(bytes.size())), bytes.data(), bytes.size());
    ring_.pop_front();
    ++statistics_.received_frames;
    frames[count++] = mbuf;
  }
  return count;
}

void SwitchPort::transmit(std::span<rte_mbuf*> frames) {
  for (rte_mbuf* frame : frames) {
    invariant(frame->nb_segs == 1 && frame->pkt_len <= mtu() + sizeof(wire::EthernetHeader),
              "a frame that no port would take");
    ++statistics_.transmitted_frames;
    send({rte_pktmbuf_mtod(frame, const uint8_t*), frame->data_len});
    rte_pktmbuf_free(frame);
  }
}

std::optional<std::vector<uint8_t>> SwitchPort::take() {
  if (ring_.empty()) return std::nullopt;
  std::vector<uint8_t> frame = std::move(ring_.front());
  ring_.pop_front();
  return frame;
}

void SwitchPort::reopen() {
  ring_.clear();
  unsent_.clear();
}

void SwitchPort::plug() {
  unplugged_ = false;
  for (const std::vector<uint8_t>& frame : std::exchange(unsent_, {})) send(frame);
}

void SwitchPort::send(std::span<const uint8_t> frame) {
  given_at_ = network_.now_;
  if (unplugged_) {
    if (unsent_.size() < kRing) unsent_.emplace_back(frame.begin(), frame.end());
    return;
  }
  if (!holds_) return network_.send(*this, frame);
  if (held_.size() >= kRing) return network_.lose(frame);
  held_.push_back({{frame.begin(), frame.end()}, network_.now_});
}

void SwitchPort::hold(bool held) {
  holds_ = held;
  if (held) return;
  for (const Held& late : std::exchange(held_, {})) {
    given_at_ = late.given_at;
    network_.send(*this, late.frame);
  }
}

void SwitchedNetwork::send(SwitchPort& from, std::span<const uint8_t> frame) {
  if (observer) observer(from, frame);
  if (from.cut_out || (swallows && swallows(from, frame))) return lose(frame);
  wire::EthernetHeader ethernet;
  std::memcpy(&ethernet, frame.data(), sizeof ethernet);
  table_[MacAddress(ethernet.source)] = &from;
  const MacAddress to(ethernet.destination);
  const auto known = table_.find(to);
  if (!to.is_multicast() && known != table_.end()) {
    if (known->second == nullptr) return lose(frame);
    if (known->second != &from) enqueue(from, *known->second, frame);
    return;
  }
  for (SwitchPort* port : ports_)
    if (port != &from) enqueue(from, *port, frame);
}

void SwitchedNetwork::enqueue(const SwitchPort& from, SwitchPort& to, std::span<const uint8_t> frame) {
  if (separates && separates(from, to)) return lose(frame);
  if (random_.chance(loss_per_mille, 1000)) return lose(frame);
  Instant at = now_;
  if (bits_per_second > 0) {
    at = std::max(at, to.free_at_);
    if (at - now_ > queue_max) return lose(frame);
    at += Duration(static_cast<int64_t>(frame.size() * 8 * 1'000'000'000 / bits_per_second));
    to.free_at_ = at;
  }
  at += delay;
  if (random_.chance(reorder_per_mille, 1000)) at += delay * random_.below(4);
  if (random_.chance(duplicate_per_mille, 1000))
    in_flight_.push({at + delay / 2, order_++, now_, &from, &to, {frame.begin(), frame.end()}});
  std::vector<uint8_t> bytes(frame.begin(), frame.end());
  constexpr size_t header = sizeof(wire::EthernetHeader);
  if (random_.chance(corrupt_per_mille, 1000)) {
    lose(frame);
    if (!may_be_damaged(frame)) return;
    bytes[header + random_.below(static_cast<uint32_t>(bytes.size() - header))] ^=
        static_cast<uint8_t>(1 << random_.below(8));
  }
  in_flight_.push({at, order_++, now_, &from, &to, std::move(bytes)});
}

bool SwitchedNetwork::may_be_damaged(std::span<const uint8_t> frame) const {
  if (frame.size() <= sizeof(wire::EthernetHeader)) return false;
  const int type = frame[12] << 8 | frame[13];
  return type == wire::kEtherTypeIpv4 || type == wire::kEtherTypeIpv6 ||
         (damages_cluster_frames && type == wire::kEtherTypeCluster);
}

Instant SwitchedNetwork::lose_in_flight(const SwitchPort& from, uint32_t per_mille) {
  std::vector<InFlight> frames;
  for (; !in_flight_.empty(); in_flight_.pop()) frames.push_back(in_flight_.top());
  std::ranges::sort(frames, {}, &InFlight::order);
  size_t to_lose = static_cast<size_t>(std::ranges::count(frames, &from, &InFlight::from)) * per_mille / 1000;
  Instant first = kNever;
  for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
    if (frame->from != &from || to_lose == 0) {
      in_flight_.push(std::move(*frame));
      continue;
    }
    --to_lose;
    first = std::min(first, frame->sent);
    lose(frame->bytes);
  }
  return first;
}

void SwitchedNetwork::arrive(SwitchPort& to, std::vector<uint8_t> frame) {
  if (to.cut_in || to.unplugged_ || to.ring_.size() >= SwitchPort::kRing) return lose(frame);
  to.ring_.push_back(std::move(frame));
}

void SwitchedNetwork::deliver_due() {
  while (!in_flight_.empty() && in_flight_.top().at <= now_) {
    InFlight next = in_flight_.top();
    in_flight_.pop();
    if (next.to != nullptr) arrive(*next.to, std::move(next.bytes));
  }
}

const SwitchPort* SwitchedNetwork::learned(const MacAddress& mac) const {
  const auto it = table_.find(mac);
  return it == table_.end() ? nullptr : it->second;
}

// What the switch has learned of a port stays, and leads nowhere, until somebody else speaks.
void SwitchedNetwork::unplug(SwitchPort& port) {
  std::erase(ports_, &port);
  for (const std::vector<uint8_t>& frame : port.ring_) lose(frame);
  for (const SwitchPort::Held& held : port.held_) lose(held.frame);
  for (auto& [mac, behind] : table_)
    if (behind == &port) behind = nullptr;
  std::vector<InFlight> kept;
  for (; !in_flight_.empty(); in_flight_.pop())
    if (in_flight_.top().to != &port)
      kept.push_back(in_flight_.top());
    else
      lose(in_flight_.top().bytes);
  for (InFlight& frame : kept) in_flight_.push(std::move(frame));
}

}  // namespace understudy
