#include "tests/bench/traffic.h"

#include <algorithm>
#include <array>

#include "common/check.h"

namespace understudy::bench {
namespace {

constexpr uint64_t kQueued = 256 * 1024;  // bytes that a sender keeps ready
constexpr std::array<uint8_t, 16384> kPayload{};

}  // namespace

bool Traffic::attach(tcp::Engine& engine, uint32_t leg) {
  return engine.give_pipes(leg);
}

void Traffic::on_open(tcp::Engine&, uint32_t, Instant) {
  ++opened;
}

void Traffic::on_closed(tcp::Engine&, uint32_t, tcp::CloseReason reason, Instant) {
  ++closed;
  if (reason != tcp::CloseReason::finished) ++broken;
}

uint64_t Traffic::consume_all(tcp::Engine& engine, uint32_t leg) {
  const tcp::Pipe& in = engine.pipes()[engine.legs()[leg].rx];
  const uint64_t bytes = in.held();
  received += bytes;
  if (bytes > 0) engine.consume(leg, in.tail);
  return bytes;
}

void Bulk::on_open(tcp::Engine& engine, uint32_t leg, Instant now) {
  Traffic::on_open(engine, leg, now);
  if (sends_) legs_.push_back(engine.legs().id_of(leg));
}

void Bulk::on_data(tcp::Engine& engine, uint32_t leg, Instant) {
  consume_all(engine, leg);
}

void Bulk::pump(tcp::Engine& engine, size_t connections) {
  for (const tcp::LegId leg : std::span(legs_).first(std::min(connections, legs_.size()))) {
    if (!engine.legs().is_live(leg)) continue;
    const tcp::Pipe& out = engine.pipes()[engine.legs()[leg.index].tx];
    while (out.held() < kQueued && engine.write(leg.index, kPayload)) {
    }
  }
}

void RequestClient::on_open(tcp::Engine& engine, uint32_t leg, Instant now) {
  Traffic::on_open(engine, leg, now);
  engine.write(leg, std::span(kPayload).first(bytes_));
}

void RequestClient::on_data(tcp::Engine& engine, uint32_t leg, Instant) {
  const uint32_t before = engine.legs()[leg].application_word;
  const auto after = static_cast<uint32_t>(before + consume_all(engine, leg));
  engine.legs()[leg].application_word = after;
  if (before < bytes_ && after >= bytes_) ++done;
  if (engine.pipes()[engine.legs()[leg].rx].fin) engine.finish_writing(leg);
}

void RequestServer::on_data(tcp::Engine& engine, uint32_t leg, Instant) {
  const uint32_t before = engine.legs()[leg].application_word;
  const auto after = static_cast<uint32_t>(before + consume_all(engine, leg));
  engine.legs()[leg].application_word = after;
  if (before >= bytes_ || after < bytes_) return;
  engine.write(leg, std::span(kPayload).first(bytes_));
  engine.finish_writing(leg);
}

}  // namespace understudy::bench
