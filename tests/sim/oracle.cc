#include "tests/sim/oracle.h"

#include <algorithm>

#include <fmt/format.h>

namespace understudy::sim {
namespace {

constexpr uint64_t kLateBurstMost = 64;    // frames: what two ports may hold of one burst
constexpr Duration kIntrusionMost = 20ms;  // nobody is elected and replaced within this
constexpr Duration kInFlightMost = 100ms;  // no frame is under way for longer
constexpr Duration kDeadAfter = 100ms;     // of silence; the default of a configuration

uint64_t unwrapped(uint32_t seq, uint32_t base, uint64_t near) {
  return near + static_cast<uint64_t>(
                    static_cast<int64_t>(static_cast<int32_t>(seq - (base + static_cast<uint32_t>(near)))));
}

std::string ip(uint32_t address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

}  // namespace

void Oracle::complain(const Tcp& s, const std::string& what) {
  complain_(fmt::format("{}:{} -> {}:{} {}", ip(s.source), s.source_port, ip(s.destination),
                        s.destination_port, what));
}

void Oracle::note_death(size_t node) {
  if (current_.node == node) current_.died = true;
  if (before_.node == node) before_.died = true;
}

bool Oracle::is_late(size_t node, Instant given) const {
  return node != kHost && current_.node != kHost && node != current_.node && given < current_.first;
}

void Oracle::forget(uint32_t address, Instant since) {
  for (auto& [flow, d] : directions_) {
    if (flow[0] >> 16 != address) continue;
    for (; !d.steps.empty() && d.steps.back().at >= since; d.steps.pop_back()) {
      d.acked = d.steps.back().acked;
      d.edge = d.steps.back().edge;
    }
  }
}

// By whoever else speaks now.
bool Oracle::is_contradicted(const Tenure& before, Instant now) const {
  if (before.node == kHost || !settings_.is_speaking(before.node)) return false;
  return settings_.can_hear(before.node) || now - before.last < kDeadAfter;
}

void Oracle::observe(size_t node, std::span<const uint8_t> frame, Instant given, Instant now) {
  const bool late = is_late(node, given);
  if (node != kHost) {
    if (const auto arp = read_arp(frame); arp && settings_.addresses.contains(arp->sender)) {
      ++counts_.claims;
      counts_.late_words += late;
      if (!late) take_word(node, true, now);
    }
  }
  const auto segment = read_tcp(frame);
  if (!segment) return;
  const bool from_group = settings_.addresses.contains(segment->source);
  if (node != kHost && from_group) {
    ++counts_.segments;
    counts_.resets += segment->has(kRst);
    counts_.late_words += late;
    if (late && segment->has(kSyn)) late_syns_.insert(flow_of(*segment));
    if (late) return;
    take_word(node, segment->has(kRst) || segment->has(kFin), now);
  }
  if (from_group || settings_.addresses.contains(segment->destination)) judge(*segment, node != kHost, now);
}

// A B A, with B's words within a few milliseconds: B was never elected.
void Oracle::take_word(size_t node, bool is_forbidden_late, Instant now) {
  if (node != current_.node) {
    const bool intruded = before_.node == node && current_.node != kHost && !current_.died &&
                          current_.contradicting > 0 && current_.last - current_.first < kIntrusionMost;
    if (current_.node != kHost) ++counts_.changes;
    if (intruded) {
      counts_.late_words += current_.frames;
      if (settings_.judges_voices && (current_.frames > kLateBurstMost || current_.forbidden > 0))
        complain_(fmt::format("two voices: n{} said {} frames ({} of them RST, FIN or ARP) while n{} spoke",
                              current_.node + 1, current_.frames, current_.forbidden, node + 1));
      current_ = before_;
      current_.last = now;
    } else {
      before_ = current_;
      current_ = Tenure{.node = node, .first = now, .last = now};
    }
  }
  current_.last = now;
  ++current_.frames;
  current_.contradicting += is_contradicted(before_, now);
  current_.forbidden += is_forbidden_late;
}

void Oracle::judge(const Tcp& s, bool from_node, Instant now) {
  Direction& d = directions_[flow_of(s)];
  Direction& other = directions_[reverse(flow_of(s))];
  if (s.has(kRst)) return;
  if (s.has(kSyn) && (!d.begun || d.iss != s.seq)) {
    const bool is_stray = s.has(kAck) && late_syns_.contains(reverse(flow_of(s)));
    d = Direction{.begun = true, .is_stray = is_stray, .iss = s.seq};
    other.is_stray = is_stray;
    if (!s.has(kAck)) {  // a new connection on an old tuple
      other = Direction();
      late_syns_.erase(flow_of(s));
    }
  }
  if (!d.begun || d.is_stray) return;
  if (s.has(kSyn)) {
    d.scale = s.scale.value_or(0);
    d.scale_applies = s.scale.has_value();
    d.offers_timestamps = s.timestamps.has_value();
  }
  if (from_node) judge_timestamp(s, d, other);
  const uint64_t at = unwrapped(s.seq, d.iss, d.said);
  const uint64_t length = s.payload.size() + (s.has(kSyn) ? 1 : 0) + (s.has(kFin) ? 1 : 0);
  if (from_node && !s.payload.empty() && other.has_ack) {
    const uint64_t unit = uint64_t{1} << (d.scale_applies && other.scale_applies ? other.scale : 0);
    if (at + s.payload.size() > other.edge + unit - 1)
      complain(s, fmt::format("sends {} bytes beyond its peer's window", at + s.payload.size() - other.edge));
  }
  d.said = std::max(d.said, at + length);
  if (s.has(kAck) && other.begun) judge_acknowledgement(s, d, other, now);
}

// RFC 7323 3.2: once both SYNs have offered them, every segment but a reset carries them.
void Oracle::judge_timestamp(const Tcp& s, Direction& d, const Direction& other) {
  if (!s.timestamps) {
    if (d.offers_timestamps && other.offers_timestamps)
      complain(s, "leaves out the timestamps that were agreed upon");
    return;
  }
  const auto step = static_cast<int32_t>(s.timestamps->first - d.timestamp);
  if (d.timestamped && step < 0) complain(s, fmt::format("its timestamps run back by {}", -step));
  d.timestamp = s.timestamps->first;
  d.timestamped = true;
}

void Oracle::judge_acknowledgement(const Tcp& s, Direction& d, Direction& other, Instant now) {
  const uint64_t ack = unwrapped(s.ack, other.iss, std::max(d.acked, other.said > 0 ? other.said - 1 : 0));
  const uint8_t shift = s.has(kSyn) || !d.scale_applies || !other.scale_applies ? 0 : d.scale;
  const uint64_t edge = ack + (uint64_t{s.window} << shift);
  const bool from_group = settings_.addresses.contains(s.source);
  if (from_group) {
    if (ack > other.said && ack < other.said + (uint64_t{1} << 31))
      complain(s, fmt::format("acknowledges {} bytes that were never said", ack - other.said));
    if (d.has_ack && ack < d.acked)
      complain(s, fmt::format("acknowledges {} bytes less than before", d.acked - ack));
    const uint64_t unit = uint64_t{1} << shift;
    if (d.has_ack && !s.has(kSyn) && edge + unit - 1 < d.edge)
      complain(s, fmt::format("moves its right edge back by {}", d.edge - edge));
  }
  if (d.has_ack && from_group && (ack > d.acked || edge > d.edge)) {
    while (!d.steps.empty() && d.steps.front().at + kInFlightMost < now) d.steps.pop_front();
    d.steps.push_back({now, d.acked, d.edge});
  }
  d.acked = d.has_ack ? std::max(d.acked, ack) : ack;
  d.edge = d.has_ack ? std::max(d.edge, edge) : edge;
  d.has_ack = true;
}

}  // namespace understudy::sim
