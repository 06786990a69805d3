#include <algorithm>

#include "tests/support/mirrored_pair_node.h"

// What a MirroredPair finds fault with, and when its sessions are over.
namespace understudy {

// Promise 1: neither the acknowledgement number nor the right edge runs ahead of what the standby has
// applied.
void MirroredPair::check_promise(Node& from, const wire::TcpSegment& s) {
  if (from.log->state() == mirror::OwnerLog::State::closed || !s.has(wire::kAck)) return;
  const FlowKey key{s.source, s.destination, s.source_port, s.destination_port};
  const uint32_t leg = from.engine.legs().find(key);
  if (leg == tcp::kNone || !from.engine.legs()[leg].mirrored) return;
  const tcp::Connection& c = from.engine.legs()[leg];
  const uint32_t held = standby_->engine.legs().find(key);
  if (held == tcp::kNone) {
    if (standby_->cluster->replica.state() == mirror::Replica::State::synced)
      fault("promise 1: " + place_of(s) + " acknowledges, and the standby does not have the connection");
    return;
  }
  const tcp::Connection& mirror = standby_->engine.legs()[held];
  if (standby_->cluster->replica.state() != mirror::Replica::State::synced) return;
  ++checked_;
  if (after(s.ack, mirror.rcv.nxt))
    fault("promise 1: " + place_of(s) + " acknowledges " + std::to_string(s.ack - mirror.rcv.nxt) +
          " bytes that the standby does not hold");
  if (s.has(wire::kRst)) return;
  const Seq edge = s.ack + (static_cast<int64_t>(s.window) << (s.has(wire::kSyn) ? 0 : c.rcv_scale));
  if (after(edge, mirror.rcv.edge + (from.engine.window_unit(c) - 1)))
    fault("promise 1: " + place_of(s) + " advertises " + std::to_string(edge - mirror.rcv.edge) +
          " beyond the edge that the standby knows");
}

// Promise 2: no reset reaches a live connection unless the plan asks for one.
void MirroredPair::check_reset(Node& to, const wire::TcpSegment& s) {
  const uint32_t leg = to.engine.legs().find({s.destination, s.source, s.destination_port, s.source_port});
  if (leg == tcp::kNone || to.cluster != nullptr) return;
  const tcp::Connection& c = to.engine.legs()[leg];
  const bool counts =
      c.state == tcp::State::syn_sent || (tcp::is_synchronised(c.state) && c.state != tcp::State::time_wait);
  if (!counts) return;
  const Side* side = to.conversation->of_leg(to.engine.legs().id_of(leg));
  if (side != nullptr && side->plan != nullptr) {
    const auto index = static_cast<size_t>(side->plan - settings_.plans.data());
    if (side->plan->expects_reset() || std::ranges::find(lost_, index) != lost_.end()) return;
  } else if (!lost_.empty()) {
    return;
  } else {
    for (const SessionPlan& plan : settings_.plans)
      if (plan.expects_reset()) return;
  }
  fault("a reset reaches a live connection: " + place_of(s) + " in " + std::string(name_of(c.state)));
}

// The counts that are on display are the true ones: of legs that are mirrored, of those that ought to be, and
// of the others.
void MirroredPair::check_leg_count(Node& node) {
  uint32_t mirrored = 0;
  uint32_t legs = 0;
  uint32_t exempt = 0;
  for (uint32_t leg = 0; leg < node.engine.legs().capacity(); ++leg) {
    if (!node.engine.legs().is_live(leg)) continue;
    mirrored += node.engine.legs()[leg].mirrored;
    ++(node.engine.legs()[leg].protect ? legs : exempt);
  }
  const tcp::Group& group = node.engine.group(0);
  const auto counts = [](uint32_t of_mirrored, uint32_t of_all, uint32_t of_exempt) {
    return std::to_string(of_mirrored) + " of " + std::to_string(of_all) + " legs as mirrored, and " +
           std::to_string(of_exempt) + " exempt";
  };
  if (mirrored != group.legs_mirrored || legs != group.legs || exempt != group.legs_exempt)
    fault("the group counts " + counts(group.legs_mirrored, group.legs, group.legs_exempt) + "; it is " +
          counts(mirrored, legs, exempt));
}

// Sessions that the owner did not count as protected may end in any way.
void MirroredPair::note_unprotected_sessions() {
  const mirror::Replica& replica = standby_->cluster->replica;
  const bool ready = replica.state() == mirror::Replica::State::synced || replica.is_inheriting();
  for (size_t i = 0; i < begun_; ++i) {
    if (session_done(i) || std::ranges::find(lost_, i) != lost_.end()) continue;
    const auto port = kPorts[static_cast<size_t>(settings_.plans[i].service)];
    const uint32_t leg =
        dead_->engine.legs().find({addresses_.virtual_ip, addresses_.client, PortNumber(port),
                                   PortNumber(static_cast<uint16_t>(kFirstClientPort + i))});
    const bool is_new = leg == tcp::kNone && client_->conversation->of_session(i)->heard == 0;
    if (is_new) continue;  // its SYN is still to come
    const bool is_mirrored = leg == tcp::kNone || dead_->engine.legs()[leg].mirrored;
    bool whole = ready && (is_mirrored || replica.is_inheriting());
    if (leg != tcp::kNone && !whole) {
      const tcp::Connection& c = dead_->engine.legs()[leg];
      whole = !after(c.rcv.committed, c.rcv.irs);  // nothing was promised: the SYN will be sent again
    }
    if (!whole) lost_.push_back(i);
  }
}

bool MirroredPair::session_done(size_t index) {
  const SessionPlan& plan = settings_.plans[index];
  const Side* client = client_->conversation->of_session(index);
  const Side* backend = backend_->conversation->of_session(index);
  if (client == nullptr) return false;
  if (plan.expects_reset()) return client->closed && (backend == nullptr || backend->closed);
  if (!client->complete()) return false;
  return plan.service != SessionPlan::Service::proxy || plan.request == 0 ||
         (backend != nullptr && backend->complete());
}

bool MirroredPair::all_done() {
  if (begun_ < settings_.plans.size() || promote_at_ != kNever) return false;
  for (size_t i = 0; i < begun_; ++i)
    if (!session_done(i) && std::ranges::find(lost_, i) == lost_.end()) return false;
  return true;
}

bool MirroredPair::all_quiet() {
  return client_->engine.legs().size() == 0 && backend_->engine.legs().size() == 0 &&
         owner_->engine.legs().size() == 0 && (!standby_->alive || standby_->engine.legs().size() == 0);
}

std::vector<std::string> MirroredPair::faults() const {
  auto all = faults_;
  for (const auto* host : {client_.get(), backend_.get()})
    for (const auto& sentence : host->conversation->faults()) all.push_back(sentence);
  for (const auto* host : {client_.get(), backend_.get()})
    for (size_t i = 0; i < begun_; ++i)
      if (const Side* side = host->conversation->of_session(i); side != nullptr && side->wrong > 0)
        all.push_back("session " + std::to_string(i) + ": " + std::to_string(side->wrong) + " wrong bytes");
  return all;
}

std::string MirroredPair::describe() {
  std::string text;
  for (size_t i = 0; i < begun_; ++i)
    for (const auto& host : {client_.get(), backend_.get()}) {
      const Side* side = host->conversation->of_session(i);
      if (side == nullptr) continue;
      text += "\n  session " + std::to_string(i) + (side->is_client ? " client" : " backend") + ": said " +
              std::to_string(side->said) + "/" + std::to_string(side->say.size()) + " heard " +
              std::to_string(side->heard) + "/" + std::to_string(side->expect.size()) +
              (side->peer_finished ? " peer finished" : "") +
              (side->closed ? " closed: " + std::string(name_of(side->reason)) : "");
    }
  for (const auto& [who, node] :
       {std::pair{"owner", owner_}, {"client", client_.get()}, {"backend", backend_.get()}})
    for (uint32_t leg = 0; leg < node->engine.legs().capacity(); ++leg) {
      if (!node->engine.legs().is_live(leg)) continue;
      const tcp::Connection& c = node->engine.legs()[leg];
      text += "\n  " + std::string(who) + " " + c.key.to_string() + " " + std::string(name_of(c.state)) +
              (c.resumed ? "" : " asleep") + " una+" + std::to_string(c.snd.una - c.snd.iss) + " nxt+" +
              std::to_string(c.snd.nxt - c.snd.iss) + " wnd " + std::to_string(c.snd.wnd) + " rcv+" +
              std::to_string(c.rcv.nxt - c.rcv.irs) + " committed+" +
              std::to_string(c.rcv.committed - c.rcv.irs) + " edge+" +
              std::to_string(c.rcv.edge_sent - c.rcv.irs);
      if (c.tx != tcp::kNone) {
        const tcp::Pipe& tx = node->engine.pipes()[c.tx];
        text += " tx " + std::to_string(tx.head) + ".." + std::to_string(tx.tail) + (tx.fin ? " fin" : "");
      }
    }
  return text;
}

}  // namespace understudy
