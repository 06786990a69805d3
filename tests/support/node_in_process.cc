#include "tests/support/node_in_process.h"

#include <algorithm>

#include <fmt/format.h>

#include "control/appliance/wiring.h"

namespace understudy {

NodeInProcess::NodeInProcess(const Settings& settings, Random& random, Instant now,
                             appliance::NodeControl::LogLine log)
    : settings_(settings), born_(now), pool_(settings.buffers), control_due_(now) {
  static int unique = 0;
  name_ = fmt::format("s{}", unique++);
  for (size_t n = 0; n < settings_.networks.size(); ++n) {
    const MacAddress mac({2, 0, 0, 0, settings_.slot, static_cast<uint8_t>(n)});
    ports_.push_back(std::make_unique<SwitchPort>(*settings_.networks[n], mac, pool_.get()));
  }
  seen_ = local_time(now);
  if (settings_.config->cluster.arbiter != config::Arbiter::none) {
    leases_ = std::make_shared<worker::Leases>(settings_.config->groups.size());
    for (const auto& port : ports_)
      leased_ports_.push_back(std::make_unique<worker::LeasedPort>(
          *port, leases_, appliance::leased_addresses(*settings_.config), [this] { return seen_; }));
  }
  make_workers(random, local_time(now), std::move(log));
  control_->start(local_time(now));
}

Port& NodeInProcess::outer_port(size_t index) {
  if (leased_ports_.empty()) return *ports_[index];
  return *leased_ports_[index];
}

void NodeInProcess::make_handover(size_t port) {
  const unsigned others = settings_.node->workers - 1;
  std::vector<worker::HandoverPort*> rings;
  handovers_.emplace_back();
  for (unsigned w = 1; w <= others; ++w) {
    handovers_[port].push_back(std::make_unique<worker::HandoverPort>(fmt::format("{}h{}w{}", name_, port, w),
                                                                      *ports_[port], [] {}));
    rings.push_back(handovers_[port].back().get());
  }
  const std::vector<std::function<void()>> wake(others, [] {});
  distributors_.push_back(
      std::make_unique<worker::Distributor>(outer_port(port), rings, wake, *settings_.shards));
}

// As control/appliance/node.cc does it.
void NodeInProcess::make_workers(Random& random, Instant now, appliance::NodeControl::LogLine log) {
  std::vector<appliance::OpenPort> open;
  std::vector<MacAddress> macs;
  const unsigned count = settings_.node->workers;
  for (size_t p = 0; p < ports_.size(); ++p) {
    open.push_back({&outer_port(p), &settings_.node->ports[p]});
    macs.push_back(ports_[p]->mac());
    if (count > 1) make_handover(p);
  }
  const BootId boot(random.next());
  worker::WorkerSettings settings =
      worker_settings(*settings_.config, *settings_.node, boot, open, settings_.buffers);
  settings.leases = leases_;
  settings.shards = settings_.shards;
  if (settings_.adjust) settings_.adjust(settings);
  std::vector<worker::Worker*> workers;
  for (unsigned w = 0; w < count; ++w) {
    settings.index = static_cast<uint16_t>(w);
    for (size_t p = 0; p < ports_.size() && count > 1; ++p)
      settings.ports[p].port =
          w == 0 ? static_cast<Port*>(distributors_[p].get()) : handovers_[p][w - 1].get();
    workers_.push_back(std::make_unique<worker::Worker>(fmt::format("{}w{}", name_, w), settings, pool_.get(),
                                                        random.next(), now));
    workers.push_back(workers_.back().get());
  }
  deadlines_.assign(count, now);
  worker_paused_until_.assign(count, Instant{});
  busy_.assign(count, 1);
  const appliance::NodeControl::Settings control{
      .config = settings_.config,
      .node = settings_.node,
      .boot = boot,
      .macs = macs,
      .pool = pool_.get(),
      .now = now,
      .leases = leases_,
      .transport = settings_.transport,
      .memory = settings_.disk == nullptr ? cluster::KeptMemory() : *settings_.disk,
      .keep = [this](const cluster::Keep& keep) {
        keeping_.emplace_back(seen_ + settings_.disk_takes, keep);
      }};
  control_ =
      std::make_unique<appliance::NodeControl>(control, workers, Random(random.next()), std::move(log));
}

Instant NodeInProcess::local_time(Instant now) const {
  const int64_t age = (now - born_).count();
  return now + settings_.clock_ahead +
         Duration(age / 1'000'000 * settings_.clock_ppm + age % 1'000'000 * settings_.clock_ppm / 1'000'000);
}

// Never earlier than what local_time() maps to `local`; late by a nanosecond or two at most.
Instant NodeInProcess::world_time(Instant local) const {
  if (local == kNever) return local;
  local -= settings_.clock_ahead;
  if (settings_.clock_ppm == 0) return local;
  const auto age = static_cast<double>((local - born_).count());
  return born_ + Duration(static_cast<int64_t>(age * 1e6 / (1e6 + settings_.clock_ppm)) + 2);
}

void NodeInProcess::retire(Instant now) {
  retiring_ = true;
  control_->retire(local_time(now));
}

bool NodeInProcess::has_work(size_t w, Instant now) const {
  if (worker_paused_until_[w] > now) return false;
  if (busy_[w] != 0 || deadlines_[w] <= local_time(now) || workers_[w]->has_mail()) return true;
  if (w == 0)
    return std::ranges::any_of(ports_, [](const auto& port) { return port->has_received(); }) ||
           std::ranges::any_of(distributors_, [](const auto& port) { return port->has_to_send(); });
  return std::ranges::any_of(handovers_,
                             [&](const auto& by_worker) { return by_worker[w - 1]->has_received(); });
}

void NodeInProcess::run_workers(Instant now) {
  const Instant local = local_time(now);
  for (int turn = 0; turn < 16; ++turn) {
    bool any = false;
    for (size_t w = 0; w < workers_.size(); ++w) {
      if (!has_work(w, now)) continue;
      any = true;
      if (w == 0 && std::exchange(reopen_, false)) {
        for (const auto& port : ports_) port->reopen();
        workers_[0]->ports_reopened();
        ++reopened_;
        if (settings_.reopening > Duration::zero()) {
          worker_paused_until_[0] = now + settings_.reopening;
          continue;
        }
      }
      busy_[w] = workers_[w]->run_once(local) ? 1 : 0;
      deadlines_[w] = workers_[w]->next_deadline();
    }
    if (!any) return;
  }
}

// As control/appliance/promise_keeper.cc does it.
void NodeInProcess::keep_promises(Instant now) {
  for (const auto& [when, keep] : std::exchange(keeping_, {})) {
    if (when > now) {
      keeping_.emplace_back(when, keep);
      continue;
    }
    if (settings_.disk != nullptr) *settings_.disk = {cluster::KeptMemory::State::readable, keep.bytes};
    control_->on_kept(keep.sequence, true, now);
  }
}

void NodeInProcess::run(Instant now, bool workers_first) {
  if (paused_ || !last_words_.empty()) return;
  seen_ = local_time(now);
  if (!keeping_.empty()) keep_promises(seen_);
  if (workers_first) run_workers(now);
  bool is_urgent = false;
  for (const auto& worker : workers_) is_urgent = worker->take_urgent() || is_urgent;
  is_urgent = is_urgent || has_replies();
  if (control_due_ <= now || is_urgent) {
    control_due_ = now + settings_.control_round;
    control_->gather();
    control_->round(local_time(now));
    if (control_->take_reopen_wish()) reopen_ = true;
    if (control_->stop()) last_words_ = *control_->stop();
    if (retiring_ && control_->retired()) last_words_ = "retired";
    if (!last_words_.empty()) return;
  }
  run_workers(now);
}

Instant NodeInProcess::next_instant(Instant now) const {
  if (paused_ || !last_words_.empty()) return kNever;
  Instant next = has_replies() ? now : control_due_;
  for (const auto& [when, keep] : keeping_) next = std::min(next, std::max(now, world_time(when)));
  for (size_t w = 0; w < workers_.size(); ++w) {
    const Instant due = has_work(w, now) ? now : world_time(deadlines_[w]);
    next = std::min(next, std::max(due, worker_paused_until_[w]));
  }
  return next;
}

}  // namespace understudy
