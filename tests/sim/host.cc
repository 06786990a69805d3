#include "tests/sim/host.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace understudy::sim {
namespace {

constexpr Duration kAskAgain = 50ms;

std::string place_of(const Talk& talk) {
  return talk.session == SIZE_MAX ? std::string("a connection of no session yet")
                                  : fmt::format("session {}", talk.session);
}

}  // namespace

Host::Host(SwitchedNetwork& network, const Settings& settings, const std::vector<Plan>& plans, Instant start,
           uint64_t seed, Complain complain)
    : settings_(settings),
      plans_(plans),
      start_(start),
      random_(seed),
      complain_(std::move(complain)),
      port_(network, MacAddress(settings.mac), nullptr) {}

uint32_t Host::next_iss() {
  const auto any = static_cast<uint32_t>(random_.next());
  return settings_.sequence_space_wraps ? UINT32_MAX - any % 20'000 : any;
}

void Host::begin(size_t session, uint16_t port, uint32_t to, Instant now) {
  const Plan& plan = plans_[session];
  auto talk = std::make_unique<Talk>();
  talk->plan = &plan;
  talk->session = session;
  talk->is_client = true;
  talk->say = request_of(plan, session);
  talk->expect = response_of(plan, session);
  ModelTcp::Settings tcp = settings_.tcp;
  tcp.local = settings_.address;
  tcp.remote = to;
  tcp.local_port = port;
  tcp.remote_port = port_of(plan.service);
  tcp.iss = next_iss();
  talk->tcp = std::make_unique<ModelTcp>(tcp, &talk->say, now);
  live_[{to, tcp.remote_port, port}] = talk.get();
  drain(*talk, now);
  talks_.push_back(std::move(talk));
  next_ = now;
}

bool Host::has_live_talk_on(uint16_t port) const {
  return std::ranges::any_of(talks_, [&](const auto& talk) {
    return talk->is_client && talk->tcp->settings().local_port == port && !talk->over();
  });
}

const Talk* Host::talk_of(const Tcp& s) const {
  const bool leaves = s.source == settings_.address;
  const auto found = live_.find(leaves ? Key{s.destination, s.destination_port, s.source_port}
                                       : Key{s.source, s.source_port, s.destination_port});
  return found == live_.end() || (!leaves && s.destination != settings_.address) ? nullptr : found->second;
}

Talk* Host::of_session(size_t session) {
  for (const auto& talk : talks_)
    if (talk->session == session) return talk.get();
  return nullptr;
}

void Host::send_arp(uint16_t operation, const Mac& to, const Mac& target_mac, uint32_t target) {
  port_.send(sim::write(Arp{.to_mac = to,
                            .from_mac = settings_.mac,
                            .operation = operation,
                            .sender_mac = settings_.mac,
                            .target_mac = target_mac,
                            .sender = settings_.address,
                            .target = target}));
}

void Host::send(Tcp segment, Instant now) {
  Neighbour& neighbour = neighbours_[segment.destination];
  segment.from_mac = settings_.mac;
  if (neighbour.known) {
    segment.to_mac = neighbour.mac;
    return port_.send(sim::write(segment));
  }
  const uint32_t to = segment.destination;
  if (neighbour.waiting.size() < 32) neighbour.waiting.push_back(std::move(segment));
  if (now < neighbour.ask_again) return;
  neighbour.ask_again = now + kAskAgain;
  send_arp(1, kBroadcast, {}, to);
}

// Who is known is updated by any request; who asks for us becomes known; others are not learned.
void Host::receive_arp(const Arp& packet) {
  const bool for_us = packet.target == settings_.address;
  const auto known = neighbours_.find(packet.sender);
  if (known != neighbours_.end() || for_us) {
    Neighbour& neighbour = neighbours_[packet.sender];
    neighbour.mac = packet.sender_mac;
    neighbour.known = true;
    for (Tcp& segment : std::exchange(neighbour.waiting, {})) {
      segment.to_mac = neighbour.mac;
      port_.send(sim::write(segment));
    }
  }
  if (packet.operation == 1 && for_us) send_arp(2, packet.sender_mac, packet.sender_mac, packet.sender);
}

void Host::refuse(const Tcp& s, Instant now) {
  Tcp reset;
  reset.source = s.destination;
  reset.destination = s.source;
  reset.source_port = s.destination_port;
  reset.destination_port = s.source_port;
  reset.flags = s.has(kAck) ? kRst : kRst | kAck;
  if (s.has(kAck)) {
    reset.seq = s.ack;
  } else {
    reset.ack =
        s.seq + static_cast<uint32_t>(s.payload.size()) + (s.has(kSyn) ? 1 : 0) + (s.has(kFin) ? 1 : 0);
  }
  send(reset, now);
}

void Host::accept(const Tcp& syn, const Key& key, Instant now) {
  auto talk = std::make_unique<Talk>();
  ModelTcp::Settings tcp = settings_.tcp;
  tcp.local = settings_.address;
  tcp.remote = syn.source;
  tcp.local_port = syn.destination_port;
  tcp.remote_port = syn.source_port;
  tcp.iss = next_iss();
  talk->tcp = std::make_unique<ModelTcp>(tcp, syn, now);
  live_[key] = talk.get();
  drain(*talk, now);
  talks_.push_back(std::move(talk));
}

void Host::receive_tcp(const Tcp& s, Instant now) {
  if (s.destination != settings_.address) return;
  const Key key{s.source, s.source_port, s.destination_port};
  const auto found = live_.find(key);
  Talk* talk = found == live_.end() ? nullptr : found->second;
  const bool opens = s.has(kSyn) && !s.has(kAck) && !s.has(kRst);
  if (talk != nullptr && opens && talk->tcp->may_reuse_for(s)) talk = nullptr;
  if (talk != nullptr && !talk->over()) {
    const ModelTcp::State before = talk->tcp->state();
    talk->tcp->receive(s, now);
    note_end(*talk, before, s);
    return pump(*talk, now);
  }
  if (s.has(kRst)) return;
  if (opens && accepts && settings_.listens.contains(s.destination_port)) return accept(s, key, now);
  refuse(s, now);
}

bool Host::may_end_in_any_way(const Talk& talk) const {
  if (is_excused || !settings_.watched.contains(talk.tcp->settings().remote)) return true;
  if (talk.session == SIZE_MAX)  // nothing was said yet: allowed if any session may end so
    return !excused.empty() || std::ranges::any_of(plans_, [](const Plan& p) { return p.expects_reset(); });
  return talk.plan->expects_reset() || excused.contains(talk.session);
}

void Host::note_end(Talk& talk, ModelTcp::State before, const Tcp& s) {
  using End = ModelTcp::End;
  if (!talk.over() || before == ModelTcp::State::closed) return;
  const End end = talk.tcp->end();
  if (end == End::finished || end == End::aborted || may_end_in_any_way(talk)) return;
  // A backend that was tried and left again before anything was said is not a session.
  if (!talk.is_client && talk.session == SIZE_MAX && before == ModelTcp::State::syn_received) return;
  complain_(fmt::format("a reset (seq {}) ends a live connection: {} at the {}, in {}", s.seq, place_of(talk),
                        talk.is_client ? "client" : "backend", name_of(before)));
}

void Host::drain(Talk& talk, Instant now) {
  for (Tcp& segment : std::exchange(talk.tcp->outbox(), {})) send(std::move(segment), now);
}

void Host::identify(Talk& talk, uint8_t first) {
  if (!settings_.watched.contains(talk.tcp->settings().remote)) return;
  if (first >= plans_.size()) return complain_("a request begins with a byte of no session");
  for (const auto& other : talks_)
    if (other.get() != &talk && other->session == first && !excused.contains(first))
      complain_(fmt::format("session {}: its request reached the backend twice", first));
  talk.session = first;
  talk.plan = &plans_[first];
  talk.say = response_of(*talk.plan, first);
  talk.expect = request_of(*talk.plan, first);
  talk.tcp->set_say(&talk.say);
}

bool Host::is_deaf(const Talk& talk, Instant now) const {
  if (talk.plan == nullptr) return false;
  const Duration from = talk.is_client ? talk.plan->client_deaf_from : talk.plan->backend_deaf_from;
  const Duration length = talk.is_client ? talk.plan->client_deaf_for : talk.plan->backend_deaf_for;
  return length > Duration::zero() && now >= start_ + from && now < start_ + from + length;
}

void Host::read(Talk& talk, Instant now) {
  if (is_deaf(talk, now)) return;
  const std::vector<uint8_t> bytes = talk.tcp->read(now);
  if (!bytes.empty() && talk.plan == nullptr && !talk.is_client) identify(talk, bytes[0]);
  if (talk.plan != nullptr)
    for (size_t i = 0; i < bytes.size(); ++i)
      talk.wrong += talk.heard + i >= talk.expect.size() || bytes[i] != talk.expect[talk.heard + i];
  if (talk.wrong > 0) {
    complain_(fmt::format("{} at the {}: {} wrong bytes after {}", place_of(talk),
                          talk.is_client ? "client" : "backend", talk.wrong, talk.heard));
    talk.wrong = 0;
  }
  talk.heard += bytes.size();
  if (!talk.tcp->peer_finished() || talk.heard_fin) return;
  talk.heard_fin = true;
  const bool early = talk.plan == nullptr ? false : talk.heard < talk.expect.size();
  if (early && !may_end_in_any_way(talk))
    complain_(fmt::format("{} at the {}: a FIN that nobody asked for, after {} of {} bytes", place_of(talk),
                          talk.is_client ? "client" : "backend", talk.heard, talk.expect.size()));
}

size_t Host::allowed(Talk& talk, Instant now) {
  const Plan& plan = *talk.plan;
  const uint32_t rounds = plan.rounds;
  size_t turns = rounds;
  const size_t mine = rounds == 0 ? 0 : talk.say.size() / rounds;
  const size_t theirs = rounds == 0 ? 0 : talk.expect.size() / rounds;
  if (rounds == 0 || !plan.is_proxied() || mine == 0) return talk.say.size();
  turns = theirs == 0 || talk.heard == talk.expect.size() ? rounds
                                                          : std::min<size_t>(rounds - 1, talk.heard / theirs);
  if (talk.is_client) ++turns;
  if (talk.is_client && now < start_ + plan.second_turn_at) {
    turns = 1;
    talk.turn_from = start_ + plan.second_turn_at;
  }
  return turns >= rounds ? talk.say.size() : turns * mine;
}

void Host::write(Talk& talk, Instant now) {
  if (talk.plan == nullptr || !talk.tcp->is_open()) return;
  const size_t end = allowed(talk, now);
  if (!talk.is_client && talk.plan->backend_thinks > Duration::zero() && end > talk.turn_said) {
    if (talk.turn_from == kNever) talk.turn_from = now + talk.plan->backend_thinks;
    if (now < talk.turn_from) return;
    talk.turn_from = kNever;
    talk.turn_said = end;
  }
  talk.tcp->write_up_to(end, now);
  const bool early = talk.is_client ? talk.plan->client_closes_early : talk.plan->backend_closes_early;
  if (talk.finished || talk.tcp->written() < talk.say.size()) return;
  if (!early && talk.heard < talk.expect.size()) return;
  talk.finished = true;
  talk.tcp->finish(now);
}

// Reads and writes on where that has become possible, and sends what follows from it.
void Host::pump(Talk& talk, Instant now) {
  if (!talk.aborted) {
    read(talk, now);
    write(talk, now);
    const bool unknown_is_done = talk.plan == nullptr && talk.heard_fin && !talk.finished;
    if (unknown_is_done && talk.tcp->is_open()) {
      talk.finished = true;
      talk.tcp->finish(now);
    }
    const uint64_t reset_at = talk.plan == nullptr ? UINT64_MAX
                              : talk.is_client     ? talk.plan->client_resets_at
                                                   : talk.plan->backend_resets_at;
    if (talk.heard >= reset_at && talk.tcp->is_open()) {
      talk.aborted = true;
      talk.tcp->abort(now);
    }
  }
  drain(talk, now);
}

void Host::round(Instant now) {
  if (now < next_ && !port_.has_received()) return;
  while (auto frame = port_.take()) {
    if (!answers) continue;
    if (const auto arp = read_arp(*frame)) receive_arp(*arp);
    if (const auto tcp = read_tcp(*frame)) {
      if (tcp->to_mac == settings_.mac) receive_tcp(*tcp, now);
    }
  }
  for (const auto& talk : talks_) {
    if (talk->over()) {
      if (talk->has_to_hear()) read(*talk, now);
      continue;
    }
    if (talk->tcp->deadline() <= now) {
      const ModelTcp::State before = talk->tcp->state();
      talk->tcp->tick(now);
      if (talk->tcp->end() == ModelTcp::End::timed_out && !may_end_in_any_way(*talk))
        complain_(fmt::format("{} at the {}: nobody answers any more, in {}", place_of(*talk),
                              talk->is_client ? "client" : "backend", name_of(before)));
    }
    pump(*talk, now);
  }
  for (auto& [address, neighbour] : neighbours_) {
    if (neighbour.known || neighbour.waiting.empty() || now < neighbour.ask_again) continue;
    neighbour.ask_again = now + kAskAgain;
    send_arp(1, kBroadcast, {}, address);
  }
  forget_checks();
  next_ = find_next_instant(now);
}

// Connections that have ended without becoming a session's: health checks, mostly, of which a long run has
// many.
void Host::forget_checks() {
  std::erase_if(talks_, [&](const auto& talk) {
    if (talk->session != SIZE_MAX || !talk->over()) return false;
    const ModelTcp::Settings& tcp = talk->tcp->settings();
    const auto live = live_.find({tcp.remote, tcp.remote_port, tcp.local_port});
    if (live != live_.end() && live->second == talk.get()) live_.erase(live);
    return true;
  });
}

Instant Host::find_next_instant(Instant now) const {
  Instant next = kNever;
  for (const auto& talk : talks_) {
    if (talk->over() && !talk->has_to_hear()) continue;
    next = std::min(next, talk->tcp->deadline());
    if (talk->turn_from > now) next = std::min(next, talk->turn_from);
    if (talk->plan == nullptr) continue;
    const Plan& plan = *talk->plan;
    const Instant hears = talk->is_client ? start_ + plan.client_deaf_from + plan.client_deaf_for
                                          : start_ + plan.backend_deaf_from + plan.backend_deaf_for;
    if (hears > now) next = std::min(next, hears);
  }
  for (const auto& [address, neighbour] : neighbours_)
    if (!neighbour.known && !neighbour.waiting.empty()) next = std::min(next, neighbour.ask_again);
  return next;
}

}  // namespace understudy::sim
