// The commit gate: what a packet promises lags behind what was received (ARCHITECTURE.md, "The commit gate").
#include <algorithm>

#include "dataplane/tcp/engine.h"

namespace understudy::tcp {

void Engine::decide_edge(Connection& c) {
  if (c.rx == kNone || c.state == State::syn_sent) return;
  const Pipe& rx = pipes_[c.rx];
  const uint64_t held = std::min<uint64_t>(rx.held(), c.receive_buffer);
  int64_t free = static_cast<int64_t>(c.receive_buffer - held);
  // A unit that cannot be shifted into 16 bits would be cut off by the header field.
  free = std::min<int64_t>(free, int64_t{65535} << c.rcv_scale);
  // A FIN takes a number and no room: what stands behind it is as wide as before, as other systems have it.
  const Seq wanted = receive_seq_of(c, rx.tail) + (c.fin_received ? 1 : 0) + free;
  if (after(wanted, c.rcv.edge)) c.rcv.edge = wanted;
}

void Engine::commit(Connection& c, Seq nxt, Seq edge, uint64_t sendable) {
  c.rcv.committed = later_of(c.rcv.committed, nxt);
  c.rcv.committed_edge = later_of(c.rcv.committed_edge, edge);
  if (c.tx != kNone) {
    Pipe& tx = pipes_[c.tx];
    if (tx.sendable != UINT64_MAX) tx.sendable = std::max(tx.sendable, sendable);
  }
}

void Engine::commit_all(Connection& c) {
  decide_edge(c);
  if (!c.mirrored) keep_no_more(c);
  if (c.state == State::syn_sent) return;
  commit(c, c.rcv.nxt, c.rcv.edge, c.tx == kNone ? 0 : pipes_[c.tx].tail);
}

void Engine::commit_pending() {
  for (size_t i = 0; i < log_pending_.size(); ++i) {
    const uint32_t leg = log_pending_[i];
    if (!legs_.is_live(leg) || !legs_[leg].log_pending) continue;
    legs_[leg].log_pending = false;
    commit_all(legs_[leg]);
    want_output(leg);
  }
  log_pending_.clear();
  closed_legs_.clear();
}

uint32_t Engine::insert_mirrored(const FlowKey& key, const Service* service, GroupIndex group) {
  const uint32_t leg = legs_.insert(key);
  if (leg == kNone) return kNone;
  Connection& c = legs_[leg];
  c.group = group;
  c.adopted = true;
  c.resumed = false;
  c.shard = shards_.shard_of(key);
  c.receive_buffer = settings_.receive_buffer;
  if (service != nullptr) {
    c.service = service->id;
    c.protect = service->protect;
    c.nagle = service->nagle;
  }
  count_leg(c);
  return leg;
}

}  // namespace understudy::tcp
