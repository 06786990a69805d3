#include "dataplane/service/proxy.h"

namespace understudy::service {

bool Proxy::attach(tcp::Engine& engine, uint32_t leg) {
  const uint32_t from_client = engine.create_pipe();
  if (from_client == tcp::kNone) return false;
  engine.set_receive_pipe(leg, from_client);
  const uint32_t to_client = engine.create_pipe();
  if (to_client == tcp::kNone) return false;
  engine.set_send_pipe(leg, to_client);
  return true;
}

// application_word of a client leg counts the backends that were tried.
bool Proxy::open_backend(tcp::Engine& engine, uint32_t client, Instant now) {
  tcp::Connection& c = engine.legs()[client];
  while (c.application_word < kTriesMax) {
    const auto id = c.application_word > 0 ? backends_.pick(c.backend) : backends_.pick();
    ++c.application_word;
    if (!id) break;
    const Backend& backend = backends_[*id];
    const auto key =
        sources_.pick(engine, c.group, backend.address, backend.port.value_or(c.key.local_port), c.shard);
    if (!key) continue;
    const uint32_t leg = engine.connect(c.group, *key, engine.find_service(c.service), now);
    if (leg == tcp::kNone) break;
    engine.legs()[leg].backend = engine.legs()[client].backend = *id;
    engine.link(client, leg);
    ++counters_.sessions;
    return true;
  }
  ++counters_.no_backend;
  return false;
}

void Proxy::on_open(tcp::Engine& engine, uint32_t leg, Instant now) {
  if (engine.legs()[leg].active_open) return;
  if (!open_backend(engine, leg, now)) engine.abort(leg, now);
}

// The partner is gone for good: nobody will send these bytes.
void Proxy::on_data(tcp::Engine& engine, uint32_t leg, Instant) {
  const tcp::Connection& c = engine.legs()[leg];
  if (c.opened && c.partner == tcp::kNone) engine.consume(leg, engine.pipes()[c.rx].tail);
}

void Proxy::on_closed(tcp::Engine& engine, uint32_t leg, tcp::CloseReason reason, Instant now) {
  tcp::Connection& c = engine.legs()[leg];
  const uint32_t partner = c.partner;
  if (reason == tcp::CloseReason::finished || partner == tcp::kNone) return;
  const bool never_opened = c.active_open && c.state == tcp::State::syn_sent;
  c.partner = tcp::kNone;
  engine.legs()[partner].partner = tcp::kNone;
  if (never_opened) {
    // Nothing has reached this backend: another one, or another port, may serve as well.
    ++counters_.backend_retries;
    if (open_backend(engine, partner, now)) return;
  }
  engine.abort(partner, now);
}

}  // namespace understudy::service
