#include "tests/support/stream_host.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "dataplane/wire/frame.h"

namespace understudy {
namespace {

constexpr uint32_t kHeader = 12;
constexpr uint64_t kBackendsVoice = 1ULL << 32;  // the other direction of a stream
constexpr uint32_t kQueueMax = 128 * 1024;

uint8_t byte_of(uint64_t stream, uint64_t k) {
  return static_cast<uint8_t>((k * 0x9e3779b97f4a7c15ULL + stream * 0xbf58476d1ce4e5b9ULL) >> 53);
}

// The header is the beginning of what the client says.
uint8_t said_byte(const StreamEnd& end, bool is_client, uint64_t stream, uint64_t k) {
  if (!is_client || k >= kHeader) return byte_of(stream, k);
  const std::array<uint32_t, 3> words = {static_cast<uint32_t>(stream), static_cast<uint32_t>(end.to_say),
                                         static_cast<uint32_t>(end.to_hear)};
  return static_cast<uint8_t>(words[k / 4] >> (8 * (k % 4)));
}

tcp::EngineSettings host_settings() {
  tcp::EngineSettings settings;
  settings.legs = settings.active_legs = 512;
  settings.chunks = settings.sent_segments = 8192;
  settings.receive_buffer = 128 * 1024;
  settings.time_wait = 1s;
  return settings;
}

}  // namespace

StreamHost::StreamHost(SwitchedNetwork& network, const IpAddress& address, MacAddress mac, rte_mempool* pool,
                       const tcp::ShardMap& shards, Instant start)
    : address_(address),
      pool_(pool),
      port_(network, mac, pool),
      engine_(host_settings(), Secret{{1, 2, 3}}, shards, pool, *this, start) {
  engine_.add_group(GroupId(1), true);
  engine_.add_address(0, address);
  engine_.add_service({.id = ServiceId(1),
                       .addresses = {},
                       .first_port = PortNumber(),
                       .last_port = PortNumber(),
                       .application = this});
}

void StreamHost::listen(PortNumber first, PortNumber last) {
  engine_.add_service({.id = ServiceId(2),
                       .addresses = {address_},
                       .first_port = first,
                       .last_port = last,
                       .application = this});
}

StreamEnd& StreamHost::open(const IpAddress& to, PortNumber to_port, uint16_t from_port, uint32_t number,
                            uint32_t up, uint32_t down, Instant now) {
  now_ = now;
  const FlowKey key{address_, to, PortNumber(from_port), to_port};
  const uint32_t leg = engine_.connect(0, key, engine_.find_service(ServiceId(1)), now);
  invariant(leg != tcp::kNone && attach(engine_, leg), "the client host has no room");
  StreamEnd& end = *ends_.back();
  end.say_stream = number;
  end.hear_stream = number | kBackendsVoice;
  end.to_say = std::max(up, kHeader);
  end.to_hear = down;
  return end;
}

bool StreamHost::attach(tcp::Engine& engine, uint32_t leg) {
  if (!engine.give_pipes(leg)) return false;
  ends_.push_back(std::make_unique<StreamEnd>());
  ends_.back()->leg = engine.legs().id_of(leg);
  ends_.back()->key = engine.legs()[leg].key;
  return true;
}

StreamEnd* StreamHost::end_of(uint32_t leg) {
  const tcp::LegId id = engine_.legs().id_of(leg);
  for (auto end = ends_.rbegin(); end != ends_.rend(); ++end)
    if ((*end)->leg == id) return end->get();
  return nullptr;
}

void StreamHost::on_open(tcp::Engine&, uint32_t leg, Instant) {
  if (StreamEnd* end = end_of(leg)) end->opened = true;
}

void StreamHost::on_data(tcp::Engine&, uint32_t leg, Instant) {
  if (StreamEnd* end = end_of(leg)) read(*end);
}

void StreamHost::on_closed(tcp::Engine&, uint32_t leg, tcp::CloseReason reason, Instant) {
  StreamEnd* end = end_of(leg);
  if (end == nullptr) return;
  if (reason == tcp::CloseReason::finished) read(*end);
  end->closed = true;
  end->reason = reason;
}

void StreamHost::hear(StreamEnd& end, std::span<const uint8_t> bytes) {
  const bool is_client = engine_.legs()[end.leg.index].active_open;
  for (const uint8_t byte : bytes) {
    if (!is_client && end.heard < kHeader) {
      uint64_t& word = end.heard < 4 ? end.hear_stream : end.heard < 8 ? end.to_hear : end.to_say;
      word |= static_cast<uint64_t>(byte) << (8 * (end.heard % 4));
      end.say_stream = end.hear_stream | kBackendsVoice;
    } else {
      end.wrong += byte != byte_of(end.hear_stream, end.heard) || end.heard >= end.to_hear;
    }
    ++end.heard;
  }
}

void StreamHost::read(StreamEnd& end) {
  if (!reading || !engine_.legs().is_live(end.leg)) return;
  const tcp::Pipe& in = engine_.pipes()[engine_.legs()[end.leg.index].rx];
  std::array<uint8_t, 4096> bytes;
  tcp::ReadCursor cursor;
  while (in.head < in.tail) {
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(bytes.size(), in.tail - in.head));
    engine_.pipes().copy_out(in, in.head, length, bytes.data(), cursor);
    hear(end, {bytes.data(), length});
    engine_.consume(end.leg.index, in.head + length);
  }
  end.peer_finished = in.fin;
}

void StreamHost::write(StreamEnd& end) {
  if (!end.opened || end.finished || !engine_.legs().is_live(end.leg)) return;
  const tcp::Connection& c = engine_.legs()[end.leg.index];
  if (!c.active_open && end.heard < kHeader) return;
  const tcp::Pipe& out = engine_.pipes()[c.tx];
  std::array<uint8_t, 4096> bytes;
  while (end.said < end.to_say && out.held() < kQueueMax) {
    const auto length = static_cast<size_t>(std::min<uint64_t>(bytes.size(), end.to_say - end.said));
    for (size_t i = 0; i < length; ++i)
      bytes[i] = said_byte(end, c.active_open, end.say_stream, end.said + i);
    if (!engine_.write(end.leg.index, {bytes.data(), length})) return;
    end.said += length;
  }
  if (end.said < end.to_say) return;
  end.finished = true;
  engine_.finish_writing(end.leg.index);
}

void StreamHost::ask(const IpAddress& ip) {
  send_arp(MacAddress::broadcast(), {.operation = wire::ArpPacket::Operation::request,
                                     .sender_mac = port_.mac(),
                                     .sender_ip = address_,
                                     .target_mac = {},
                                     .target_ip = ip});
}

void StreamHost::send_arp(const MacAddress& to, const wire::ArpPacket& packet) {
  rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
  if (frame == nullptr) return;
  auto* room = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(frame, wire::kArpFrameBytes));
  wire::build_arp_frame({room, wire::kArpFrameBytes}, to, port_.mac(), packet);
  port_.transmit({&frame, 1});
}

void StreamHost::send_to(const MacAddress& to, rte_mbuf* frame) {
  auto* ethernet = rte_pktmbuf_mtod(frame, wire::EthernetHeader*);
  ethernet->destination = to.bytes();
  ethernet->source = port_.mac().bytes();
  ethernet->type = wire::ether_type_of_packet(frame);
  port_.transmit({&frame, 1});
}

void StreamHost::transmit(rte_mbuf* frame, const FlowKey& key) {
  Neighbour& neighbour = neighbours_[key.remote];
  if (neighbour.known) return send_to(neighbour.mac, frame);
  if (neighbour.waiting.size() >= 32) return rte_pktmbuf_free(frame);
  neighbour.waiting.push_back(frame);
  if (now_ < neighbour.ask_again) return;
  neighbour.ask_again = now_ + 50ms;
  ask(key.remote);
}

// As Linux: who is known is updated by any packet; who asks for us becomes known; others are not learned.
void StreamHost::receive_arp(const wire::ArpPacket& packet) {
  const bool for_us = packet.target_ip == address_;
  const auto known = neighbours_.find(packet.sender_ip);
  if (known != neighbours_.end() || for_us) {
    Neighbour& neighbour = neighbours_[packet.sender_ip];
    neighbour.mac = packet.sender_mac;
    neighbour.known = true;
    for (rte_mbuf* frame : std::exchange(neighbour.waiting, {})) send_to(neighbour.mac, frame);
  }
  if (packet.operation != wire::ArpPacket::Operation::request || !for_us) return;
  send_arp(packet.sender_mac, {.operation = wire::ArpPacket::Operation::reply,
                               .sender_mac = port_.mac(),
                               .sender_ip = address_,
                               .target_mac = packet.sender_mac,
                               .target_ip = packet.sender_ip});
}

void StreamHost::note_reset(const wire::TcpSegment& s) {
  const uint32_t leg = engine_.legs().find({s.destination, s.source, s.destination_port, s.source_port});
  if (leg == tcp::kNone) return;
  const tcp::Connection& c = engine_.legs()[leg];
  const StreamEnd* end = end_of(leg);
  if (c.state == tcp::State::time_wait || end == nullptr || (!c.active_open && end->heard == 0)) return;
  ++resets_met_;
  last_reset_ = c.key.to_string() + " in " + std::string(name_of(c.state));
}

void StreamHost::receive(rte_mbuf* frame, Instant now) {
  wire::EthernetHeader ethernet;
  std::memcpy(&ethernet, rte_pktmbuf_mtod(frame, const void*), sizeof ethernet);
  const MacAddress to(ethernet.destination);
  const wire::ParsedFrame parsed = wire::parse_frame(frame);
  if (!answers || (to != port_.mac() && !to.is_multicast())) return rte_pktmbuf_free(frame);
  if (const auto* arp = std::get_if<wire::ArpPacket>(&parsed)) receive_arp(*arp);
  const auto* segment = std::get_if<wire::TcpSegment>(&parsed);
  if (segment == nullptr || segment->destination != address_) return rte_pktmbuf_free(frame);
  if (segment->has(wire::kRst)) note_reset(*segment);
  engine_.receive(frame, *segment, now);
}

void StreamHost::settle(Instant now) {
  for (int turn = 0; turn < 4; ++turn) {
    engine_.commit_pending();
    engine_.flush(now);
    if (engine_.log_pending().empty()) break;
  }
}

void StreamHost::round(Instant now) {
  now_ = now;
  std::array<rte_mbuf*, 32> burst;
  while (const uint16_t count = port_.receive(burst))
    for (uint16_t i = 0; i < count; ++i) receive(burst[i], now);
  engine_.run_timers(now);
  engine_.upkeep(now, 16);
  for (const auto& end : ends_) {
    if (end->closed) continue;
    read(*end);
    write(*end);
  }
  settle(now);
  for (auto& [ip, neighbour] : neighbours_) {
    if (neighbour.waiting.empty() || now < neighbour.ask_again) continue;
    neighbour.ask_again = now + 50ms;
    ask(ip);
  }
}

Instant StreamHost::next_deadline() const {
  Instant next = engine_.next_deadline();
  for (const auto& [ip, neighbour] : neighbours_)
    if (!neighbour.waiting.empty()) next = std::min(next, neighbour.ask_again);
  return next;
}

}  // namespace understudy
