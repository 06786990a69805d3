#include "tests/support/conversation.h"

#include <algorithm>
#include <array>
#include <string>

namespace understudy {
namespace {

// Byte k of a stream is a function of the stream and k alone.
uint8_t byte_of(uint64_t stream, uint64_t k) {
  return static_cast<uint8_t>((k * 0x9e3779b97f4a7c15ULL + stream * 0xbf58476d1ce4e5b9ULL) >> 53);
}

std::vector<uint8_t> stream_of(uint64_t stream, uint32_t length) {
  std::vector<uint8_t> bytes(length);
  for (uint32_t k = 0; k < length; ++k) bytes[k] = byte_of(stream, k);
  return bytes;
}

}  // namespace

std::vector<uint8_t> Conversation::request_of(const SessionPlan& plan, size_t index) {
  auto bytes = stream_of(1000 + index, plan.request);
  if (!bytes.empty()) bytes[0] = static_cast<uint8_t>(index);  // tells the backend which session this is
  return bytes;
}

std::vector<uint8_t> Conversation::response_of(const SessionPlan& plan, size_t index) {
  const auto request = request_of(plan, index);
  switch (plan.service) {
    case SessionPlan::Service::proxy:
      return stream_of(2000 + index, plan.response);
    case SessionPlan::Service::echo:
      return request;
    case SessionPlan::Service::discard:
      return {};
    case SessionPlan::Service::tally:
      break;
  }
  std::vector<uint8_t> answer;
  for (size_t k = 0; k < request.size(); ++k) {
    if (request[k] != '\n') continue;
    const std::string line = std::to_string(k + 1) + "\n";
    answer.insert(answer.end(), line.begin(), line.end());
  }
  return answer;
}

Side& Conversation::add(tcp::Engine& engine, uint32_t leg) {
  sides_.push_back(std::make_unique<Side>());
  Side& side = *sides_.back();
  side.is_client = is_client_;
  side.leg = engine.legs().id_of(leg);
  return side;
}

bool Conversation::attach(tcp::Engine& engine, uint32_t leg) {
  if (!engine.give_pipes(leg)) return false;
  add(engine, leg);
  return true;
}

bool Conversation::begin(tcp::Engine& engine, uint32_t leg, size_t index) {
  if (!attach(engine, leg)) return false;
  Side& side = *sides_.back();
  side.plan = &plans_[index];
  side.say = request_of(plans_[index], index);
  side.expect = response_of(plans_[index], index);
  return true;
}

void Conversation::identify(Side& side, uint8_t first) {
  if (first >= plans_.size()) return faults_.push_back("a request begins with a byte of no session");
  for (const auto& other : sides_)
    if (other.get() != &side && other->plan == &plans_[first])
      faults_.push_back("session " + std::to_string(first) + ": its request reached the backend twice");
  side.plan = &plans_[first];
  side.say = response_of(plans_[first], first);
  side.expect = request_of(plans_[first], first);
}

Side* Conversation::of_leg(tcp::LegId leg) {
  for (const auto& side : sides_)
    if (side->leg == leg) return side.get();
  return nullptr;
}

Side* Conversation::of_session(size_t index) {
  for (const auto& side : sides_)
    if (side->plan == &plans_[index]) return side.get();
  return nullptr;
}

void Conversation::on_open(tcp::Engine& engine, uint32_t leg, Instant) {
  if (Side* side = of_leg(engine.legs().id_of(leg))) side->opened = true;
}

void Conversation::on_data(tcp::Engine& engine, uint32_t leg, Instant now) {
  if (Side* side = of_leg(engine.legs().id_of(leg))) read(engine, *side, now);
}

void Conversation::on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant now) {
  Side* side = of_leg(engine.legs().id_of(leg));
  if (side == nullptr) return;
  if (reason == tcp::CloseReason::finished) read(engine, *side, now, true);  // what it was deaf to until now
  side->closed = true;
  side->reason = reason;
}

bool Conversation::is_deaf(const Side& side, Instant now) const {
  if (side.plan == nullptr) return false;
  const Duration from = is_client_ ? side.plan->client_deaf_from : side.plan->backend_deaf_from;
  const Duration length = is_client_ ? side.plan->client_deaf_for : side.plan->backend_deaf_for;
  return now >= start_ + from && now < start_ + from + length;
}

void Conversation::read(tcp::Engine& engine, Side& side, Instant now, bool even_if_deaf) {
  if (!engine.legs().is_live(side.leg) || (is_deaf(side, now) && !even_if_deaf)) return;
  const tcp::Pipe& in = engine.pipes()[engine.legs()[side.leg.index].rx];
  std::array<uint8_t, 2048> bytes;
  tcp::ReadCursor cursor;
  while (in.head < in.tail) {
    const auto length = static_cast<uint32_t>(std::min<uint64_t>(bytes.size(), in.tail - in.head));
    engine.pipes().copy_out(in, in.head, length, bytes.data(), cursor);
    if (side.plan == nullptr) identify(side, bytes[0]);
    for (uint32_t i = 0; i < length; ++i)
      side.wrong += side.heard + i >= side.expect.size() || bytes[i] != side.expect[side.heard + i];
    side.heard += length;
    engine.consume(side.leg.index, in.head + length);
  }
  if (!in.fin || side.peer_finished) return;
  side.peer_finished = true;
  if (side.plan == nullptr || side.heard != side.expect.size())
    faults_.push_back(std::string(is_client_ ? "client" : "backend") +
                      ": a FIN that nobody asked for, after " + std::to_string(side.heard) + " of " +
                      std::to_string(side.expect.size()) + " bytes");
}

size_t Conversation::allowed(const Side& side, Instant now) const {
  const uint32_t rounds = side.plan->rounds;
  if (rounds == 0 || side.plan->service != SessionPlan::Service::proxy) return side.say.size();
  const size_t mine = side.say.size() / rounds;
  const size_t theirs = side.expect.size() / rounds;
  if (mine == 0) return side.say.size();
  size_t turns = theirs == 0 || side.heard == side.expect.size()
                     ? rounds
                     : std::min<size_t>(rounds - 1, side.heard / theirs);
  if (is_client_) ++turns;
  if (is_client_ && now < start_ + side.plan->second_turn_at) turns = 1;
  return turns >= rounds ? side.say.size() : turns * mine;
}

void Conversation::write(tcp::Engine& engine, Side& side, Instant now) {
  if (!side.opened || side.plan == nullptr || !engine.legs().is_live(side.leg)) return;
  const tcp::Pipe& out = engine.pipes()[engine.legs()[side.leg.index].tx];
  const size_t end = allowed(side, now);
  while (side.said < end && out.held() < 64 * 1024) {
    const size_t length = std::min<size_t>(4096, end - side.said);
    if (!engine.write(side.leg.index, {side.say.data() + side.said, length})) return;
    side.said += length;
  }
  const bool early = is_client_ ? side.plan->client_closes_early : side.plan->backend_closes_early;
  if (side.finished || side.said < side.say.size()) return;
  if (!early && side.heard < side.expect.size()) return;
  side.finished = true;
  engine.finish_writing(side.leg.index);
}

void Conversation::pump(tcp::Engine& engine, Instant now) {
  for (const auto& side : sides_) {
    if (!engine.legs().is_live(side->leg)) continue;
    read(engine, *side, now);
    write(engine, *side, now);
    if (side->plan == nullptr || side->aborted || !side->opened) continue;
    if (side->heard < (is_client_ ? side->plan->client_resets_at : side->plan->backend_resets_at)) continue;
    side->aborted = side->closed = true;
    engine.abort(side->leg.index, now);
  }
}

}  // namespace understudy
