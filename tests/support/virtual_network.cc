#include "tests/support/virtual_network.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tests/support/mbuf_pool.h"
#include "tests/support/plain_frame.h"

namespace understudy {

VirtualNetwork::Host::Host(VirtualNetwork& net, const tcp::EngineSettings& settings, Instant start)
    : network(net), engine(settings, Secret{{1, 2, 3}}, net.shards_, test_mbuf_pool(), *this, start) {
  end_of_burst = [](Host& host) { host.engine.commit_pending(); };
}

void VirtualNetwork::Host::transmit(rte_mbuf* frame, const FlowKey&) {
  network.send(frame);
}

VirtualNetwork::VirtualNetwork(uint64_t seed, uint32_t shards) : random_(seed), shards_(shards) {}

VirtualNetwork::~VirtualNetwork() {
  for (; !in_flight_.empty(); in_flight_.pop()) rte_pktmbuf_free(in_flight_.top().frame);
}

VirtualNetwork::Host& VirtualNetwork::add_host(const tcp::EngineSettings& settings) {
  hosts_.push_back(std::make_unique<Host>(*this, settings, now_));
  return *hosts_.back();
}

void VirtualNetwork::add_address(const IpAddress& address, Host& host) {
  addresses_.emplace_back(address, &host);
}

void VirtualNetwork::send(rte_mbuf* frame) {
  put_plain_ethernet(frame);
  ++frames_;
  if (filter) {
    const auto parsed = wire::parse_frame(frame);
    const auto* segment = std::get_if<wire::TcpSegment>(&parsed);
    if (segment != nullptr && !filter(*segment)) {
      rte_pktmbuf_free(frame);
      return;
    }
  }
  if (random_.chance(path.loss_per_mille, 1000)) {
    rte_pktmbuf_free(frame);
    return;
  }
  if (random_.chance(path.duplicate_per_mille, 1000)) {
    rte_mbuf* copy = rte_pktmbuf_copy(frame, test_mbuf_pool(), 0, UINT32_MAX);
    if (copy != nullptr) enqueue(copy, path.delay);
  }
  Duration delay = path.delay;
  if (random_.chance(path.reorder_per_mille, 1000)) delay += path.delay * random_.below(4);
  enqueue(frame, delay);
}

void VirtualNetwork::enqueue(rte_mbuf* frame, Duration delay) {
  in_flight_.push({now_ + delay, order_++, frame});
}

void VirtualNetwork::settle(Host& host) {
  // Committing may release output, and output may move state that wants to be logged.
  for (int round = 0; round < 8; ++round) {
    host.end_of_burst(host);
    host.engine.flush(now_);
    if (host.engine.log_pending().empty()) break;
  }
}

void VirtualNetwork::step() {
  Instant next = in_flight_.empty() ? kNever : in_flight_.top().at;
  for (auto& host : hosts_)
    if (host->alive) next = std::min(next, host->engine.next_deadline());
  now_ = std::max(now_, std::min(next, now_ + 10ms));
  while (!in_flight_.empty() && in_flight_.top().at <= now_) {
    rte_mbuf* frame = in_flight_.top().frame;
    in_flight_.pop();
    const auto parsed = wire::parse_frame(frame);
    const auto* segment = std::get_if<wire::TcpSegment>(&parsed);
    Host* to = nullptr;
    for (auto& [address, host] : addresses_)
      if (segment != nullptr && address == segment->destination && host->alive) to = host;
    if (to == nullptr) {
      rte_pktmbuf_free(frame);
      continue;
    }
    if (segment->has(wire::kRst)) {
      const uint32_t leg = to->engine.legs().find(
          {segment->destination, segment->source, segment->destination_port, segment->source_port});
      if (leg != tcp::kNone && to->engine.legs()[leg].state != tcp::State::time_wait) ++resets_;
    }
    to->engine.receive(frame, *segment, now_);
  }
  for (auto& host : hosts_) {
    if (!host->alive) continue;
    host->engine.run_timers(now_);
    host->engine.sweep(now_, 64);
    host->engine.upkeep(now_, 4);
    settle(*host);
  }
}

bool VirtualNetwork::run_until(const std::function<bool()>& until, Duration limit) {
  const Instant end = now_ + limit;
  while (!until()) {
    if (now_ >= end) return false;
    step();
    if (in_flight_.empty()) now_ += 100us;
  }
  return true;
}

void VirtualNetwork::run_for(Duration duration) {
  run_until([] { return false; }, duration);
}

uint8_t StreamPeer::byte_of(uint64_t stream, uint64_t offset) {
  return static_cast<uint8_t>((offset * 0x9e3779b97f4a7c15ULL + stream * 0xbf58476d1ce4e5b9ULL) >> 53);
}

bool StreamPeer::attach(tcp::Engine& engine, uint32_t index) {
  if (!engine.give_pipes(index)) return false;
  leg = engine.legs().id_of(index);
  return true;
}

void StreamPeer::on_open(tcp::Engine& engine, uint32_t, Instant) {
  opened = true;
  pump(engine);
}

void StreamPeer::pump(tcp::Engine& engine) {
  if (!opened || !engine.legs().is_live(leg)) return;
  const tcp::Pipe& out = engine.pipes()[engine.legs()[leg.index].tx];
  std::array<uint8_t, 4096> bytes;
  while (sent < to_send_ && out.held() < 256 * 1024) {
    const auto length = static_cast<size_t>(std::min<uint64_t>(bytes.size(), to_send_ - sent));
    for (size_t i = 0; i < length; ++i) bytes[i] = byte_of(send_stream_, sent + i);
    if (!engine.write(leg.index, {bytes.data(), length})) return;
    sent += length;
  }
  if (sent == to_send_ && close_when_sent) engine.finish_writing(leg.index);
}

void StreamPeer::on_data(tcp::Engine& engine, uint32_t index, Instant) {
  if (!reading) return;
  const tcp::Pipe& in = engine.pipes()[engine.legs()[index].rx];
  std::array<uint8_t, 4096> bytes;
  tcp::ReadCursor cursor;
  while (in.head < in.tail) {
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(bytes.size(), in.tail - in.head));
    engine.pipes().copy_out(in, in.head, length, bytes.data(), cursor);
    for (uint32_t i = 0; i < length; ++i) wrong += bytes[i] != byte_of(expect_stream_, received + i);
    received += length;
    engine.consume(index, in.head + length);
  }
  peer_finished = in.fin;
}

void StreamPeer::on_closed(tcp::Engine& engine, uint32_t index, tcp::CloseReason why, Instant now) {
  // What stands there is ours even if we had not read on: the last chance.
  const bool paused = !std::exchange(reading, true);
  if (why == tcp::CloseReason::finished) on_data(engine, index, now);
  reading = !paused;
  ++closed;
  reason = why;
}

}  // namespace understudy
