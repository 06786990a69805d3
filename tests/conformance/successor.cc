#include "tests/conformance/successor.h"

#include <algorithm>
#include <cstring>

#include "tests/conformance/virtual_host.h"
#include "tests/support/plain_frame.h"

namespace understudy::conformance {
namespace {

// A standby that has been told the clock lately starts this far ahead of it (ARCHITECTURE.md, "Takeover").
constexpr Duration kClockLeap = 500ms;
// The tool's scripts make do with less.
constexpr int64_t kRepeatMost = 1400;

FlowKey own_flow(const wire::TcpSegment& s) {
  return {s.source, s.destination, s.source_port, s.destination_port};
}

FlowKey peer_flow(const wire::TcpSegment& s) {
  return {s.destination, s.source, s.destination_port, s.source_port};
}

std::span<const uint8_t> payload_of(const rte_mbuf* frame, const wire::TcpSegment& s) {
  return {rte_pktmbuf_mtod_offset(frame, const uint8_t*, s.payload_offset), s.payload_length};
}

}  // namespace

Successor::Successor(const ProfileSettings& settings, rte_mempool* pool, Instant start, System& reference)
    : pool_(pool),
      reference_(reference),
      system_(settings, pool, start, NodeId(2),
              [this](std::span<const uint8_t> packet) { says(packet, false); }) {}

void Successor::fault(const FlowKey& key, const std::string& what) {
  faults_.push_back(key.to_string() + ": " + what);
}

Successor::Story* Successor::story_of(const FlowKey& key) {
  const auto at = stories_.find(key);
  return at == stories_.end() ? nullptr : &at->second;
}

uint32_t Successor::leg_of(const FlowKey& key) {
  const Story* story = story_of(key);
  if (!lives_ || story == nullptr || !story->is_inherited) return tcp::kNone;
  const uint32_t leg = engine().legs().find(key);
  return leg != tcp::kNone && engine().legs()[leg].snd.iss == story->iss ? leg : tcp::kNone;
}

void Successor::take_over(Instant now) {
  reference_.die_for(system_, now, kClockLeap);
  lives_ = true;
  for (auto& [key, story] : stories_) {
    const uint32_t leg = reference_.engine().legs().find(key);
    if (leg == tcp::kNone || reference_.engine().legs()[leg].snd.iss != story.iss) continue;
    story.is_inherited = true;
    if (leg_of(key) == tcp::kNone) fault(key, "is not known to the successor");
  }
  settle(now);
}

void Successor::settle(Instant now) {
  for (int round = 0; round < 2; ++round) system_.settle(now);
}

void Successor::advance_to(Instant until) {
  while (lives_ && engine().next_deadline() <= until) {
    const Instant at = engine().next_deadline();
    engine().run_timers(at);
    settle(at);
  }
}

void Successor::reference_says(std::span<const uint8_t> packet) {
  says(packet, true);
}

void Successor::says(std::span<const uint8_t> packet, bool is_reference) {
  rte_mbuf* frame = frame_of(packet, pool_);
  const wire::ParsedFrame parsed = wire::parse_frame(frame);
  if (const auto* s = std::get_if<wire::TcpSegment>(&parsed)) {
    const FlowKey key = own_flow(*s);
    if (is_reference && s->has(wire::kSyn) && !s->has(wire::kRst)) {
      Story& story = stories_[key];
      if (story.iss != s->seq || !story.has_promised) {
        const Story peer = story;
        story = Story();
        story.iss = s->seq;
        if (s->has(wire::kAck)) {  // what its SYN said came before
          story.irs = s->ack - 1;
          story.has_peer = true;
          story.received = peer.received;
          story.peer_end = peer.peer_end;
          story.peer_window = peer.peer_window;
          story.peer_timestamp = peer.peer_timestamp;
        }
      }
    }
    if (Story* story = story_of(key)) {
      // Out of TIME-WAIT the peer may open anew: that connection was not there when the owner died.
      const uint32_t known = reference_.engine().legs().find(key);
      const bool may_be_over =
          known == tcp::kNone || reference_.engine().legs()[known].state == tcp::State::time_wait;
      if (!is_reference && s->has(wire::kSyn) && s->seq != story->iss && may_be_over)
        story->is_inherited = false;
      if (s->has(wire::kRst))
        (is_reference ? story->reset_by_reference : story->reset_by_successor) = true;
      else if (is_reference ? !lives_ : story->is_inherited)
        check(*story, key, *s, payload_of(frame, *s));
    }
  }
  rte_pktmbuf_free(frame);
}

// Both what the owner said before it died and what its successor says afterwards.
void Successor::check(Story& story, const FlowKey& key, const wire::TcpSegment& s,
                      std::span<const uint8_t> payload) {
  if (s.options.window_scale) story.scale = *s.options.window_scale;
  if (s.options.timestamps && story.has_timestamp &&
      static_cast<int32_t>(s.options.timestamps->value - story.timestamp) < 0)
    fault(key, "timestamps run back");
  if (s.options.timestamps) {
    story.has_timestamp = true;
    story.timestamp = s.options.timestamps->value;
  }
  if (!s.has(wire::kAck)) return;
  const tcp::Engine& engine = lives_ ? system_.engine() : reference_.engine();
  const uint32_t leg = engine.legs().find(key);
  const uint32_t scale = s.has(wire::kSyn) || leg == tcp::kNone ? 0 : uint32_t{engine.legs()[leg].rcv_scale};
  const Seq edge = s.ack + (static_cast<int64_t>(s.window) << scale);
  if (story.has_promised && before(s.ack, story.ack))
    fault(key, "acknowledges " + std::to_string(story.ack - s.ack) + " less than was acknowledged");
  if (story.has_promised && before(edge, story.edge))
    fault(key, "the right edge moves left by " + std::to_string(story.edge - edge));
  if (story.has_peer && lives_ && s.ack - story.irs > story.peer_end)
    fault(key, "acknowledges what the peer did not send");
  story.ack = story.has_promised ? later_of(story.ack, s.ack) : s.ack;
  story.edge = story.has_promised ? later_of(story.edge, edge) : edge;
  story.has_promised = true;
  for (size_t i = 0; lives_ && i < payload.size(); ++i) {
    const auto at = story.written.find(s.seq - story.iss + static_cast<int64_t>(i));
    if (at != story.written.end() && at->second == payload[i]) continue;
    return fault(key, "sends a byte at " + std::to_string(s.seq - story.iss + static_cast<int64_t>(i)) +
                          " that was not written there");
  }
}

void Successor::peer_says(std::span<const uint8_t> packet, const wire::TcpSegment& s, const rte_mbuf* frame,
                          Instant now) {
  const FlowKey key = peer_flow(s);
  const uint32_t known = reference_.engine().legs().find(key);
  if (s.has(wire::kSyn) && !s.has(wire::kRst)) {
    // A connection of the peer's, or its answer to ours.
    const bool answers =
        known != tcp::kNone && reference_.engine().legs()[known].state == tcp::State::syn_sent;
    if (known == tcp::kNone) stories_[key] = Story();
    Story& story = stories_[key];
    if (answers || known == tcp::kNone) {
      story.irs = s.seq;
      story.has_peer = true;
      story.peer_end = 1;
    }
  }
  if (Story* story = story_of(key); story != nullptr && story->has_peer) {
    const int64_t begin = s.seq - story->irs + (s.has(wire::kSyn) ? 1 : 0);
    const auto payload = payload_of(frame, s);
    for (size_t i = 0; i < payload.size(); ++i)
      story->received.emplace(begin + static_cast<int64_t>(i), payload[i]);
    if (s.has(wire::kFin)) story->peer_finished = true;
    story->peer_end =
        std::max(story->peer_end, begin + static_cast<int64_t>(payload.size()) + (s.has(wire::kFin) ? 1 : 0));
    if (!s.has(wire::kSyn)) story->peer_window = s.window;
    if (s.options.timestamps) story->peer_timestamp = s.options.timestamps->value;
    if (now - story->peer_spoke_at > 24 * 24h) story->has_timestamp = false;
    story->peer_spoke_at = now;
  }
  if (leg_of(key) == tcp::kNone) return;
  rte_mbuf* copy = frame_of(packet, pool_);
  const wire::ParsedFrame parsed = wire::parse_frame(copy);
  engine().receive(copy, std::get<wire::TcpSegment>(parsed), now);
  settle(now);
}

void Successor::network_says(const wire::IcmpError& error, Instant now) {
  if (lives_) engine().receive_error(error, now);
}

void Successor::writes(const tcp::Connection& c, std::span<const uint8_t> bytes) {
  const tcp::Pipe& tx = reference_.engine().pipes()[c.tx];
  Story& story = stories_[c.key];
  for (size_t i = 0; i < bytes.size(); ++i) story.written[static_cast<int64_t>(tx.tail + i) + 1] = bytes[i];
  if (const uint32_t leg = leg_of(c.key); leg != tcp::kNone && engine().legs()[leg].tx != tcp::kNone)
    engine().write(leg, bytes);
}

void Successor::consumes(const tcp::Connection& c, uint64_t up_to_offset) {
  if (const uint32_t leg = leg_of(c.key); leg != tcp::kNone) engine().consume(leg, up_to_offset);
}

void Successor::finishes(const tcp::Connection& c) {
  if (const uint32_t leg = leg_of(c.key); leg != tcp::kNone) engine().finish_writing(leg);
}

void Successor::aborts(const tcp::Connection& c, Instant now) {
  if (const uint32_t leg = leg_of(c.key); leg != tcp::kNone) engine().abort(leg, now);
}

void Successor::after_event(Instant now) {
  if (!lives_) return;
  settle(now);
  repeat_what_is_missing(now);
  for (const auto& [key, story] : stories_) check_received(key, story);
}

// What came out of order is soft state and went with the owner; its sender has not been told that it arrived,
// and sends it again.
void Successor::repeat_what_is_missing(Instant now) {
  for (auto& [key, story] : stories_) {
    for (int times = 0; times < 100; ++times) {
      const uint32_t leg = leg_of(key);
      const uint32_t known = reference_.engine().legs().find(key);
      if (leg == tcp::kNone || known == tcp::kNone || !story.has_peer) break;
      const tcp::Connection& c = engine().legs()[leg];
      const tcp::Connection& r = reference_.engine().legs()[known];
      if (!tcp::is_synchronised(c.state) || !tcp::is_synchronised(r.state) || r.snd.iss != story.iss ||
          at_or_after(c.rcv.nxt, r.rcv.nxt))
        break;
      const int64_t first = c.rcv.nxt - story.irs;
      std::vector<uint8_t> bytes;
      for (auto at = story.received.find(first);
           at != story.received.end() && at->first == first + static_cast<int64_t>(bytes.size()) &&
           at->first < r.rcv.nxt - story.irs && static_cast<int64_t>(bytes.size()) < kRepeatMost;
           ++at)
        bytes.push_back(at->second);
      const bool fin = r.fin_received && c.rcv.nxt + static_cast<int64_t>(bytes.size()) + 1 == r.rcv.nxt;
      if (bytes.empty() && !fin) break;
      rte_mbuf* frame = rte_pktmbuf_alloc(pool_);
      if (!bytes.empty())
        std::memcpy(rte_pktmbuf_append(frame, static_cast<uint16_t>(bytes.size())), bytes.data(),
                    bytes.size());
      wire::TcpSegmentToSend segment;
      segment.key = {key.remote, key.local, key.remote_port, key.local_port};
      segment.seq = c.rcv.nxt;
      segment.ack = r.snd.una;
      segment.window = story.peer_window;
      segment.flags = static_cast<uint8_t>(wire::kAck | (fin ? wire::kFin : 0));
      if (c.timestamps) segment.options.timestamps = {story.peer_timestamp, 0};
      wire::build_tcp_frame(frame, segment);
      put_plain_ethernet(frame);
      const Seq was = c.rcv.nxt;
      const wire::ParsedFrame parsed = wire::parse_frame(frame);
      engine().receive(frame, std::get<wire::TcpSegment>(parsed), now);
      settle(now);
      const uint32_t after = leg_of(key);
      if (after == tcp::kNone || engine().legs()[after].rcv.nxt == was) break;
    }
  }
}

void Successor::check_received(const FlowKey& key, const Story& story) {
  const uint32_t leg = leg_of(key);
  if (leg == tcp::kNone || engine().legs()[leg].rx == tcp::kNone || !story.has_peer) return;
  const tcp::Pipe& rx = engine().pipes()[engine().legs()[leg].rx];
  std::vector<uint8_t> held(rx.held());
  tcp::ReadCursor cursor;
  if (!held.empty())
    engine().pipes().copy_out(rx, rx.head, static_cast<uint32_t>(held.size()), held.data(), cursor);
  for (size_t i = 0; i < held.size(); ++i) {
    const auto at = story.received.find(static_cast<int64_t>(rx.head + i) + 1);
    if (at == story.received.end() || at->second != held[i])
      return fault(key, "a byte that the peer did not send");
  }
}

std::vector<std::string> Successor::faults() {
  for (const auto& [key, story] : stories_) {
    if (!lives_ || !story.is_inherited) continue;
    if (story.reset_by_successor && !story.reset_by_reference) fault(key, "the successor resets it");
    const uint32_t known = reference_.engine().legs().find(key);
    if (known == tcp::kNone) continue;
    const tcp::Connection& r = reference_.engine().legs()[known];
    if (r.snd.iss != story.iss || r.state == tcp::State::time_wait) continue;
    const uint32_t leg = leg_of(key);
    if (leg == tcp::kNone) {
      fault(key, "is gone, and the reference is in " + std::string(name_of(r.state)));
      continue;
    }
    const tcp::Connection& c = engine().legs()[leg];
    if (!tcp::is_synchronised(r.state)) continue;
    if (before(c.rcv.nxt, r.rcv.nxt))
      fault(key, "has received " + std::to_string(r.rcv.nxt - c.rcv.nxt) + " less than the reference");
    if (before(c.snd.una, r.snd.una))
      fault(key, "knows of " + std::to_string(r.snd.una - c.snd.una) + " less that was acknowledged");
  }
  return std::exchange(faults_, {});
}

}  // namespace understudy::conformance
