#include "tests/sim/world.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "common/check.h"
#include "tests/sim/configuration.h"

namespace understudy::sim {
namespace {

constexpr uint16_t kFirstClientPort = 40000;
constexpr uint8_t kFirstSlotMac = 0x10;
constexpr unsigned kNodeBuffers = 2047;
constexpr Duration kBetweenBoots = 1000s;     // of machines: their clocks differ
constexpr Duration kSessionsTakeMost = 120s;  // of virtual time; a session that takes longer hangs
constexpr Duration kRecoveryMost = 90s;

const tcp::ShardMap& shards() {
  static const tcp::ShardMap map(64);
  return map;
}

}  // namespace

World::World(const Settings& settings)
    : settings_(settings),
      scenario_(*settings.scenario),
      random_(settings.seed * 0x9e3779b97f4a7c15ULL + 1),
      config_(cluster_configuration(settings.nodes, scenario_.workers, scenario_.receive_buffer,
                                    settings.arbiter)),
      etcd_(settings.nodes, settings.seed),
      voices_([this](const std::string& sentence) { complain(sentence); }),
      stranger_(settings.seed),
      slots_(settings.nodes),
      session_begun_(scenario_.plans.size(), 0) {
  settings_.faults.insert(settings_.faults.end(), scenario_.faults.begin(), scenario_.faults.end());
  fault_applied_.assign(settings_.faults.size(), 0);
  oracle_ = std::make_unique<Oracle>(
      Oracle::Settings{.addresses = {kVirtualAddress, kSourceAddress},
                       .judges_voices = !arbitrated(),  // there Voices does, more exactly
                       .is_speaking = [this](size_t slot) { return is_speaking(slot); },
                       .can_hear =
                           [this](size_t slot) {
                             const NodeInProcess* node = slots_[slot].node.get();
                             return node != nullptr && rte_mempool_avail_count(node->pool()) > 0;
                           }},
      [this](const std::string& sentence) { complain(sentence); });
  for (Slot& slot : slots_) slot.clock_ppm = static_cast<int32_t>(random_.below(4001)) - 2000;
  make_networks();
  make_hosts();
}

World::~World() {
  for (const auto& network : networks_) network->on_loss = nullptr;
  for (Slot& slot : slots_) slot.node.reset();
  hosts_.clear();
}

void World::complain(const std::string& sentence) {
  const std::string line =
      fmt::format("event {}, {:.3f} ms: {}", events_,
                  start_ == kNever ? 0.0 : static_cast<double>((now_ - start_).count()) / 1e6, sentence);
  trace("VIOLATION " + sentence);
  if (result_.violations.size() < 5) result_.violations.push_back(line);
}

void World::trace(const std::string& sentence) const {
  if (!settings_.trace) return;
  std::printf("%9.3f ms event %5lu  %s\n",
              start_ == kNever ? -1.0 : static_cast<double>((now_ - start_).count()) / 1e6, events_,
              sentence.c_str());
}

void World::make_networks() {
  const Scenario::Network* given[] = {&scenario_.front, &scenario_.back, &scenario_.peer};
  for (size_t n = 0; n < networks; ++n) {
    networks_[n] = std::make_unique<SwitchedNetwork>(random_.next());
    networks_[n]->delay = given[n]->delay;
    networks_[n]->bits_per_second = given[n]->bits_per_second;
    networks_[n]->damages_cluster_frames = true;
    if (arbitrated())
      networks_[n]->separates = [this](const SwitchPort& from, const SwitchPort& to) {
        const uint8_t a = from.mac().bytes()[4], b = to.mac().bytes()[4];
        if (a < kFirstSlotMac || b < kFirstSlotMac) return false;
        const Slot &one = slots_[a - kFirstSlotMac], &other = slots_[b - kFirstSlotMac];
        return one.half != other.half || (one.is_apart && other.is_apart);
      };
    if (n == peer) {
      networks_[n]->observer = [this](const SwitchPort& from, std::span<const uint8_t> frame) {
        stranger_.hear(from.mac().bytes()[4] - kFirstSlotMac, frame, now_);
      };
      continue;
    }
    networks_[n]->observer = [this](const SwitchPort& from, std::span<const uint8_t> frame) {
      const uint8_t slot = from.mac().bytes()[4];
      // Where the wire is cut nothing is said or promised to anybody.
      if (!from.cut_out)
        oracle_->observe(slot < kFirstSlotMac ? Oracle::kHost : size_t{slot} - kFirstSlotMac, frame,
                         from.given_at(), now_);
      if (arbitrated() && slot >= kFirstSlotMac)
        take_word_of(size_t{slot} - kFirstSlotMac, frame, from.given_at() < now_);
      if (settings_.trace) trace(describe_frame(frame));
      note_reset(frame);
    };
    networks_[n]->on_loss = [this](std::span<const uint8_t> frame) { note_frame_lost(frame); };
  }
}

void World::make_hosts() {
  const auto complains = [this](const std::string& sentence) { complain(sentence); };
  const auto add = [&](Network on, uint32_t address, uint8_t mac, const ModelTcp::Settings& tcp,
                       std::set<uint16_t> listens) {
    Host::Settings settings{.address = address,
                            .mac = {2, 0, 0, 0, 1, mac},
                            .tcp = tcp,
                            .listens = std::move(listens),
                            .watched = {kVirtualAddress, kSourceAddress},
                            .sequence_space_wraps = scenario_.sequence_space_wraps};
    settings.tcp.timestamp_offset =
        scenario_.sequence_space_wraps ? UINT32_MAX - 10'100 : static_cast<uint32_t>(random_.next());
    hosts_.push_back(
        std::make_unique<Host>(*networks_[on], settings, scenario_.plans, now_, random_.next(), complains));
  };
  add(front, kClientAddress, 1, scenario_.client_tcp, {});
  for (uint8_t b = 0; b < 2; ++b)
    add(back, kFirstBackend + b, static_cast<uint8_t>(2 + b), scenario_.backend_tcp, {80});
}

void World::start(size_t slot) {
  Slot& s = slots_[slot];
  s.node.reset();
  s.transport = etcd_.connect(slot);
  // Whichever etcd answers first, before a node knows its own by configuration or from a former life, is
  // that.
  const bool knows = config_.cluster.etcd && (config_.cluster.etcd->cluster_id || !s.disk.bytes.empty());
  if (!knows && std::exchange(etcd_.ways[slot].lie, nullptr)) etcd_.ways[slot].cut = true;
  ++s.life;
  NodeInProcess::Settings settings{
      .config = &config_,
      .node = config_.find_node(fmt::format("n{}", slot + 1)),
      .shards = &shards(),
      .networks = {networks_[front].get(), networks_[back].get(), networks_[peer].get()},
      .slot = static_cast<uint8_t>(kFirstSlotMac + slot),
      .buffers = kNodeBuffers,
      .control_round = 4ms,
      .clock_ahead = (slots_.size() - slot) * kBetweenBoots,
      .clock_ppm = s.clock_ppm,
      .disk = &s.disk,
      .transport = s.transport.get()};
  settings.adjust = [this](worker::WorkerSettings& w) {
    w.mirror_window = scenario_.mirror_window;
    w.syn_filter_lines = 64;
    w.engine.legs = w.engine.active_legs = 256;
    w.engine.sent_segments = 4096;
  };
  s.node =
      std::make_unique<NodeInProcess>(settings, random_, now_, [this, slot](const appliance::NodeEvent& e) {
        if (settings_.trace) trace(fmt::format("n{} {}: {}", slot + 1, e.subject, e.sentence));
      });
}

void World::kill(size_t slot) {
  Slot& s = slots_[slot];
  if (s.node == nullptr) return;
  result_.probes.harvest(*s.node);
  oracle_->note_death(slot);
  // What it has handed to its ports may still arrive, or some of it, or nothing.
  const uint32_t lost_per_mille = random_.below(3) * 500;
  for (size_t n = 0; n < networks; ++n) {
    const Instant since = networks_[n]->lose_in_flight(s.node->port(n), lost_per_mille);
    if (n == front) oracle_->forget(kVirtualAddress, since);
    if (n == back) oracle_->forget(kSourceAddress, since);
  }
  s.node.reset();
  s.is_owner = s.is_leaving = false;
  s.stops_for.reset();
  trace(fmt::format("n{} is dead, {} per mille of its frames in flight are lost", slot + 1, lost_per_mille));
}

// The others, if any, join when the sessions begin.
size_t World::nodes_at_boot() const {
  if (!scenario_.standby_joins) return settings_.nodes;
  return settings_.arbiter == config::Arbiter::members ? settings_.nodes / 2 + 1 : 1;
}

bool World::boot() {
  for (size_t slot = 0; slot < nodes_at_boot(); ++slot) {
    start(slot);
    run_until([] { return false; }, 3ms);
  }
  const bool up =
      run_until([&] { return scenario_.standby_joins ? owner().has_value() : is_settled(); }, 10s);
  const bool checked = run_until(
      [&] {
        return std::ranges::all_of(slots_, [](const Slot& s) {
          return s.node == nullptr || s.node->control().health().up_count(PoolId(0)) == 2;
        });
      },
      3s);
  result_.takeovers = 0;
  return up && checked;
}

void World::begin_sessions() {
  for (size_t i = 0; i < scenario_.plans.size(); ++i) {
    const Plan& plan = scenario_.plans[i];
    if (session_begun_[i] || start_ + plan.start > now_) continue;
    const uint16_t port =
        plan.client_port != 0 ? plan.client_port : static_cast<uint16_t>(kFirstClientPort + i);
    if (plan.client_port != 0 && hosts_[0]->has_live_talk_on(port)) continue;
    session_begun_[i] = 1;
    ++begun_;
    if (arbitrated() && now_ < trouble_until_) {
      lost_.insert(i);
      for (const auto& host : hosts_) host->excused = lost_;
    }
    hosts_[0]->begin(i, port, kVirtualAddress, now_);
  }
}

Instant World::next_instant() const {
  Instant next = now_ + 5ms;
  for (const auto& network : networks_) next = std::min(next, network->next_arrival());
  for (const auto& host : hosts_) next = std::min(next, host->next_instant(now_));
  for (const Slot& slot : slots_)
    if (slot.node != nullptr) next = std::min(next, slot.node->next_instant(now_));
  for (const Undo& undo : undo_) next = std::min(next, undo.at);
  next = std::min(next, etcd_.next_due());
  return std::max(next, now_ + 1us);
}

bool World::has_something_to_do(const NodeInProcess& node) const {
  if (node.next_instant(now_) <= now_) return true;
  for (size_t w = 0; w < node.workers(); ++w)
    if (node.worker(w).is_urgent()) return true;
  return false;
}

void World::step() {
  now_ = next_instant();
  etcd_.run(now_);
  for (const auto& network : networks_) {
    network->set_now(now_);
    network->deliver_due();
  }
  for (const auto& host : hosts_) host->round(now_);
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    Slot& s = slots_[slot];
    if (s.node == nullptr) continue;
    const bool workers_first = random_.chance(1, 2);
    if (!has_something_to_do(*s.node)) continue;
    s.node->run(now_, workers_first);
    if (s.stops_for) stop_in_mid_burst(slot);
    if (!s.node->last_words().empty()) {
      bury(slot);
      continue;
    }
    const bool owns = !s.node->paused() && s.node->control().owns(GroupId(1));
    if (owns && !s.is_owner) {
      ++result_.takeovers;
      result_.probes.hit(Probe::takeover);
    }
    if (!s.node->paused()) s.is_owner = owns;
  }
  if (arbitrated()) count_voices();
  if (settings_.named != nullptr) watch_succession();
  excuse_those_whom_nobody_serves();
  undo_what_is_due();
  uint64_t frames = 0;
  for (const auto& network : networks_) frames += network->frames();
  if (start_ != kNever && frames != frames_seen_) ++events_;
  frames_seen_ = frames;
}

bool World::run_until(const std::function<bool()>& until, Duration limit) {
  const Instant end = now_ + limit;
  while (!until()) {
    if (now_ >= end) return false;
    step();
  }
  return true;
}

bool World::session_done(size_t index) {
  if (lost_.contains(index)) return true;
  if (!session_begun_[index]) return false;
  const Plan& plan = scenario_.plans[index];
  const Talk* client = hosts_[0]->of_session(index);
  if (plan.expects_reset()) return client->over() || client->complete() || waits_for_a_lost_reset(index);
  if (!client->complete()) return false;
  if (!plan.is_proxied() || plan.request == 0) return true;
  for (size_t b = 1; b < hosts_.size(); ++b)
    if (const Talk* talk = hosts_[b]->of_session(index); talk != nullptr && talk->complete()) return true;
  return false;
}

bool World::all_done() {
  for (size_t i = 0; i < scenario_.plans.size(); ++i)
    if (!session_done(i)) return false;
  return true;
}

// One owner that says protected, a standby that says synced, nothing unprotected.
bool World::is_settled() {
  const auto slot = owner();
  if (!slot) return false;
  size_t others = 0;
  for (size_t i = 0; i < slots_.size(); ++i) others += i != *slot && slots_[i].node != nullptr;
  if (others == 0) return true;
  return is_shown_protected(*slot) && standby().has_value();
}

// Every node is there to stay.
bool World::is_complete() const {
  return std::ranges::none_of(slots_, [](const Slot& s) { return s.node == nullptr || s.is_leaving; });
}

std::string World::describe_sessions() {
  std::string text;
  for (size_t h = 0; h < hosts_.size(); ++h)
    for (const auto& talk : hosts_[h]->talks()) {
      if (talk->session == SIZE_MAX || lost_.contains(talk->session) || session_done(talk->session)) continue;
      text += fmt::format("; session {} ({}) at {}: said {}/{} heard {}/{} {}", talk->session,
                          describe(*talk->plan), h == 0 ? "the client" : "a backend", talk->tcp->written(),
                          talk->say.size(), talk->heard, talk->expect.size(), talk->tcp->describe());
    }
  return text;
}

std::string World::describe_unprotected() {
  const auto slot = owner();
  std::string text;
  for (size_t w = 0; slot && w < slots_[*slot].node->workers(); ++w) {
    const tcp::Engine& engine = slots_[*slot].node->worker(w).engine();
    for (uint32_t leg = 0; leg < engine.legs().capacity(); ++leg) {
      if (!engine.legs().is_live(leg)) continue;
      const tcp::Connection& c = engine.legs()[leg];
      if (c.mirrored || engine.group(c.group).always_local) continue;
      text += fmt::format("; {} in {}{}{}", c.key.to_string(), tcp::name_of(c.state),
                          c.partner == tcp::kNone ? ", alone" : "", c.resumed ? "" : ", not resumed");
    }
  }
  return text;
}

World::Result World::run() {
  if (!boot()) {
    complain("the cluster does not come up");
    return result_;
  }
  if (settings_.named != nullptr) begin_as_expected();
  start_ = now_;
  for (const auto& host : hosts_) host->set_start(now_);
  for (size_t n = 0; n < networks; ++n) {
    const Scenario::Network& given = *std::array{&scenario_.front, &scenario_.back, &scenario_.peer}[n];
    networks_[n]->loss_per_mille = given.loss_per_mille;
    networks_[n]->duplicate_per_mille = given.duplicate_per_mille;
    networks_[n]->reorder_per_mille = given.reorder_per_mille;
    networks_[n]->corrupt_per_mille = given.corrupt_per_mille;
  }
  hosts_[1]->accepts = !scenario_.first_backend_refuses;
  hosts_[1]->answers = !scenario_.first_backend_dies;
  for (size_t slot = nodes_at_boot(); slot < slots_.size(); ++slot) start(slot);
  const Instant end = start_ + kSessionsTakeMost;
  while (now_ < end && result_.violations.size() < 5) {
    begin_sessions();
    apply_due_faults();
    const bool faults_done = std::ranges::all_of(fault_applied_, [](char applied) { return applied != 0; });
    const bool may_end = faults_done || (!arbitrated() && begun_ == scenario_.plans.size());
    const bool leaves = arbitrated() && std::ranges::any_of(slots_, &Slot::is_leaving);
    if (may_end && undo_.empty() && !leaves && all_done()) break;
    step();
  }
  finish();
  return result_;
}

void World::finish() {
  if (result_.violations.empty() && !all_done()) complain("the sessions do not end" + describe_sessions());
  if (settings_.named != nullptr && result_.violations.empty()) end_as_expected();
  if (arbitrated() && settings_.named == nullptr && result_.violations.empty()) finish_with_a_majority();
  undo_everything();
  if (result_.violations.empty() &&
      !run_until([&] { return is_complete() && is_settled() && unprotected_shown() == 0; }, kRecoveryMost))
    complain(fmt::format("the cluster does not recover: {}{}", owner() ? "" : "no owner, or two; ",
                         unprotected_shown() > 0 ? "connections stay unprotected" + describe_unprotected()
                                                 : "no synced standby"));
  if (result_.takeovers > 1) result_.probes.hit(Probe::second_takeover);
  for (Slot& slot : slots_)
    if (slot.node != nullptr) result_.probes.harvest(*slot.node);
  result_.events = events_;
  result_.lost = lost_.size();
  if (!lost_.empty()) result_.probes.hit(Probe::session_excused, lost_.size());
  result_.late_words = oracle_->counts().late_words;
  result_.probes.hit(Probe::late_words, result_.late_words);
  result_.virtual_time = now_ - start_;
}

}  // namespace understudy::sim
