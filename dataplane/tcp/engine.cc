#include "dataplane/tcp/engine.h"

#include <algorithm>
#include <string_view>

namespace understudy::tcp {
namespace {

constexpr std::string_view kTableSeed = "connection table";
// Room for what bursts and timers close; only a group that is discarded whole may ask for more.
constexpr uint32_t kClosedPerBurst = 8192;

}  // namespace

Engine::Engine(const EngineSettings& settings, const Secret& secret, const ShardMap& shards,
               rte_mempool* pool, SegmentSink& sink, Instant start)
    : settings_(settings),
      secret_(secret),
      shards_(shards),
      pool_(pool),
      sink_(sink),
      start_(start),
      legs_(settings.legs, static_cast<uint32_t>(siphash(secret, kTableSeed.data(), kTableSeed.size()))),
      pipes_({.pipes = settings.legs + settings.legs / 8 + 16,
              .chunks = settings.chunks,
              .pinned_max = settings.pinned_max},
             pool),
      soft_(settings.active_legs),
      sent_(settings.sent_segments),
      wheel_(settings.active_legs, start),
      embryonic_(soft_),
      stalled_(soft_),
      sources_(settings.active_legs + std::min(settings.active_legs, settings.legs / 2), secret),
      is_silent_(settings.legs, false),
      path_mtus_(secret),
      resets_(secret),
      reset_limit_(settings.resets_per_second),
      time_wait_((settings.legs + 1) / 2),
      upkeep_at_(start) {
  settings_.half_open_max =
      std::max(1U, std::min({settings.half_open_max, settings.active_legs / 2, settings.legs / 2}));
  settings_.silent_max = std::min({settings.silent_max, settings.active_legs, settings.legs / 2});
  // A leg stands in a list at most once, but its slot may be taken again within a round.
  const uint32_t listed = settings.legs + 4096;
  output_pending_.reserve(listed);
  output_round_.reserve(listed);
  log_pending_.reserve(listed);
  closed_legs_.reserve(kClosedPerBurst);
}

GroupIndex Engine::add_group(GroupId id, bool always_local) {
  Group group;
  group.id = id;
  group.always_local = always_local;
  group.voice = always_local;
  groups_.push_back(group);
  return static_cast<GroupIndex>(groups_.size() - 1);
}

void Engine::add_address(GroupIndex group, const IpAddress& address) {
  addresses_.push_back({address, group});
}

void Engine::add_service(const Service& service) {
  services_.push_back(service);
}

const Service* Engine::find_service(ServiceId id) const {
  for (const Service& service : services_)
    if (service.id == id) return &service;
  return nullptr;
}

void Engine::limit_segments(ServiceId id, uint16_t segment_max) {
  for (Service& service : services_)
    if (service.id == id) service.segment_max = segment_max;
}

void Engine::stop_listening(ServiceId id) {
  for (Service& service : services_)
    if (service.id == id) service.addresses.clear();
}

const Service* Engine::find_listener(const IpAddress& address, PortNumber port) const {
  for (const Service& service : services_) {
    if (port < service.first_port || port > service.last_port) continue;
    if (std::ranges::find(service.addresses, address) != service.addresses.end()) return &service;
  }
  return nullptr;
}

void Engine::set_receive_pipe(uint32_t leg, uint32_t pipe) {
  legs_[leg].rx = pipe;
  pipes_[pipe].source = leg;
}

void Engine::set_send_pipe(uint32_t leg, uint32_t pipe) {
  legs_[leg].tx = pipe;
  pipes_[pipe].sink = leg;
}

bool Engine::give_pipes(uint32_t leg) {
  const uint32_t in = create_pipe();
  if (in == kNone) return false;
  set_receive_pipe(leg, in);
  const uint32_t out = create_pipe();
  if (out == kNone) return false;
  set_send_pipe(leg, out);
  return true;
}

void Engine::link(uint32_t client, uint32_t backend) {
  Connection& c = legs_[client];
  pipes_.add_reference(c.rx);
  pipes_.add_reference(c.tx);
  set_send_pipe(backend, c.rx);
  set_receive_pipe(backend, c.tx);
  c.partner = backend;
  c.opened = true;
  legs_[backend].partner = client;
  legs_[backend].opened = true;  // nobody but its client waits for it
}

void Engine::want_output(uint32_t leg) {
  Connection& c = legs_[leg];
  if (c.output_pending) return;
  c.output_pending = true;
  output_pending_.push_back(leg);
}

void Engine::want_log(uint32_t leg) {
  Connection& c = legs_[leg];
  if (c.log_pending) return;
  c.log_pending = true;
  log_pending_.push_back(leg);
}

void Engine::consume(uint32_t leg, uint64_t up_to_offset) {
  Connection& c = legs_[leg];
  Pipe& rx = pipes_[c.rx];
  pipes_.acknowledge(rx, std::min(up_to_offset, rx.tail));
  want_log(leg);  // the window may open
}

bool Engine::write(uint32_t leg, std::span<const uint8_t> bytes) {
  Connection& c = legs_[leg];
  Pipe& tx = pipes_[c.tx];
  const Service* service = find_service(c.service);
  if (service != nullptr && service->application->output_waits_for_commit() && tx.sendable == UINT64_MAX)
    tx.sendable = tx.tail;
  if (!pipes_.append_bytes(tx, bytes)) return false;
  want_output(leg);
  want_log(leg);
  return true;
}

void Engine::finish_writing(uint32_t leg) {
  Pipe& tx = pipes_[legs_[leg].tx];
  if (tx.fin) return;
  tx.fin = true;
  want_output(leg);
  want_log(leg);
}

Soft* Engine::soft_for(Connection& c, uint32_t leg, Instant now) {
  if (c.soft != kNone) return &soft_[c.soft];
  const uint32_t index = soft_.take();
  if (index == kNone) return nullptr;
  c.soft = index;
  Soft& soft = soft_[index];
  soft.leg = leg;
  soft.congestion.start(settings_.congestion, c.mss);
  soft.last_sent_at = now;
  soft.quick_acks = settings_.quick_acks;
  if (const Service* service = find_service(c.service)) {
    soft.user_timeout = c.state == State::syn_sent ? service->connect_timeout : service->user_timeout;
    soft.dscp = service->dscp;
  }
  return &soft;
}

void Engine::release_soft(Connection& c) {
  if (c.soft == kNone) return;
  Soft& soft = soft_[c.soft];
  relieve(c);
  drop_reassembly(soft);
  for (uint32_t at = soft.sent_first; at != kNone;) {
    const uint32_t next = sent_[at].next;
    sent_.release(at);
    at = next;
  }
  wheel_.cancel(c.soft);
  soft_.release(c.soft);
  c.soft = kNone;
}

void Engine::count_leg(const Connection& c) {
  ++(c.protect ? groups_[c.group].legs : groups_[c.group].legs_exempt);
}

void Engine::free_leg(uint32_t leg) {
  Connection& c = legs_[leg];
  --(c.protect ? groups_[c.group].legs : groups_[c.group].legs_exempt);
  if (c.mirrored) {
    closed_legs_.push_back({legs_.id_of(leg), c.group, c.shard});
    --groups_[c.group].legs_mirrored;
  }
  release_soft(c);
  forget_silence(c, leg);
  if (c.rx != kNone) {
    if (pipes_[c.rx].source == leg) pipes_[c.rx].source = kNone;
    pipes_.release(c.rx);
  }
  if (c.tx != kNone) {
    if (pipes_[c.tx].sink == leg) pipes_[c.tx].sink = kNone;
    pipes_.release(c.tx);
  }
  if (c.partner != kNone && legs_.is_live(c.partner) && legs_[c.partner].partner == leg)
    legs_[c.partner].partner = kNone;
  legs_.erase(leg);
}

void Engine::close(uint32_t leg, CloseReason reason, Instant now) {
  Connection& c = legs_[leg];
  if (c.mirrored && c.rx != kNone && groups_[c.group].voice && pipes_[c.rx].logged < pipes_[c.rx].tail)
    sink_.closes_unlogged(leg);
  const Service* service = find_service(c.service);
  if (service != nullptr) service->application->on_closed(*this, leg, reason, now);
  free_leg(leg);
}

uint32_t Engine::connect(GroupIndex group, const FlowKey& key, const Service* service, Instant now) {
  if (key.remote.is_multicast() || key.remote.is_unspecified()) return kNone;  // RFC 9293, MUST-46
  const uint32_t leg = insert_leg(key, now);
  if (leg == kNone) return kNone;
  Connection& c = legs_[leg];
  c.group = group;
  c.state = State::syn_sent;
  c.active_open = true;
  c.shard = shards_.shard_of(key);
  note_heard(c, now);
  if (service != nullptr) {
    c.service = service->id;
    c.protect = service->protect;
    c.nagle = service->nagle;
  }
  count_leg(c);
  choose_numbers(c, now);
  if (soft_for(c, leg, now) == nullptr) {
    free_leg(leg);
    return kNone;
  }
  ++counters_.active_opens;
  want_output(leg);
  want_log(leg);
  return leg;
}

void Engine::abort(uint32_t leg, Instant now) {
  Connection& c = legs_[leg];
  if (groups_[c.group].voice && c.state != State::syn_sent && c.state != State::time_wait) {
    const bool syn_committed = !c.resumed || after(c.rcv.committed, c.rcv.irs);
    if (syn_committed)
      send_reset(c, now);
    else
      send_reset(c.key, c.snd.nxt, Seq(0), wire::kRst);
  }
  free_leg(leg);
}

}  // namespace understudy::tcp
