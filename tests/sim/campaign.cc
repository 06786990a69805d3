#include "tests/sim/campaign.h"

#include <chrono>
#include <cstdio>

#include <fmt/format.h>

namespace understudy::sim {
namespace {

constexpr uint64_t kViolationsShown = 20;

double real_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

bool Campaign::is_over() const {
  if (settings_.ends_at_violation && violations_ > 0) return true;
  return settings_.minutes > 0 && real_seconds() - began_ > settings_.minutes * 60;
}

World::Result Campaign::run_one(const Scenario& scenario, uint64_t seed, std::vector<Fault> faults,
                                const std::string& replay, const NamedFault* named) {
  World world({.seed = seed,
               .scenario = &scenario,
               .faults = std::move(faults),
               .nodes = settings_.nodes,
               .arbiter = settings_.arbiter,
               .named = named,
               .trace = settings_.trace});
  World::Result result = world.run();
  ++runs_;
  last_seed_ = seed;
  events_ += result.events;
  takeovers_ += result.takeovers;
  excused_ += result.lost;
  slowest_election_ = std::max(slowest_election_, result.slowest_election);
  probes_.add(result.probes);
  virtual_seconds_ += std::chrono::duration<double>(result.virtual_time).count();
  for (size_t i = 0; i < kFaultKinds; ++i) faults_[i] += result.faults[i];
  if (!result.violations.empty() && ++violations_ <= kViolationsShown) {
    std::printf("VIOLATION %s\n", replay.c_str());
    for (const std::string& sentence : result.violations) std::printf("  %s\n", sentence.c_str());
    std::fflush(stdout);
  }
  return result;
}

std::string Campaign::cluster_words() const {
  if (!arbitrated()) return {};
  return fmt::format("--arbiter {} --nodes {} ",
                     settings_.arbiter == config::Arbiter::members ? "members" : "etcd", settings_.nodes);
}

void Campaign::run_named(uint64_t seed) {
  for (const NamedFault& named : named_faults()) {
    if (!named.is_for(settings_.arbiter, settings_.nodes)) continue;
    if (settings_.named_fault != "all" && settings_.named_fault != named.name) continue;
    if (is_over()) return;
    run_one(named.scenario(seed), seed, named.faults_at(seed),
            fmt::format("{}--fault {} --seed {}", cluster_words(), named.name, seed), &named);
  }
}

void Campaign::run_seed(uint64_t seed) {
  if (!settings_.named_fault.empty()) return run_named(seed);
  Random random(seed * 31 + 7);
  const auto faults = [&] {
    if (!settings_.faults.empty()) return settings_.faults;
    if (settings_.arbiter == config::Arbiter::etcd) return random_etcd_faults(random, settings_.nodes);
    return arbitrated() ? random_members_faults(random, settings_.nodes) : random_faults(random);
  };
  if (settings_.scenario.empty()) {
    const Scenario scenario = arbitrated() ? random_members_scenario(seed) : random_scenario(seed);
    run_one(scenario, seed, faults(), fmt::format("{}--seed {}", cluster_words(), seed));
    return;
  }
  const Scenario& scenario = settings_.scenario == "all" ? scenarios()[seed % scenarios().size()]
                                                         : *find_scenario(settings_.scenario);
  const std::string replay = fmt::format("{}--scenario {} --seed {}", cluster_words(), scenario.name, seed);
  if (settings_.at_event > 0) {
    run_one(scenario, seed, {{.kind = FaultKind::crash_owner, .at_event = settings_.at_event}}, replay);
  } else {
    run_one(scenario, seed, faults(), replay);
  }
}

void Campaign::crash_at_every_event(const Scenario& scenario, uint64_t seed) {
  const std::string name = fmt::format("{}--scenario {} --seed {}", cluster_words(), scenario.name, seed);
  const World::Result whole = run_one(scenario, seed, {}, name + " (no crash)");
  const uint64_t before = violations_;
  uint64_t crashes = 0;
  for (uint64_t event = 1; event <= whole.events && !is_over(); ++event, ++crashes)
    run_one(scenario, seed, {{.kind = FaultKind::crash_owner, .at_event = event}},
            fmt::format("{} --at-event {}", name, event));
  crashes_ += crashes;
  if (!settings_.json)
    std::printf("%-28s %lu events, the owner died at %lu of them, %lu violations\n", scenario.name.c_str(),
                whole.events, crashes, violations_ - before);
  std::fflush(stdout);
}

void Campaign::run() {
  began_ = real_seconds();
  for (const uint64_t seed : settings_.seeds) run_seed(seed);
  for (uint64_t seed = settings_.first_seed;
       settings_.seeds.empty() && seed <= settings_.last_seed && !is_over(); ++seed) {
    if (!settings_.every_event) {
      run_seed(seed);
      continue;
    }
    for (const Scenario& scenario : scenarios())
      if (settings_.scenario.empty() || settings_.scenario == "all" || settings_.scenario == scenario.name)
        crash_at_every_event(scenario, seed);
  }
  seconds_ = real_seconds() - began_;
}

void Campaign::print_text() const {
  std::printf("seeds       %lu..%lu of %lu..%lu, %u nodes\n", settings_.first_seed, last_seed_,
              settings_.first_seed, settings_.last_seed, settings_.nodes);
  std::printf("runs        %lu in %.1f s (%.0f a second), %.0f s of virtual time\n", runs_, seconds_,
              static_cast<double>(runs_) / std::max(seconds_, 1e-9), virtual_seconds_);
  std::printf("events      %lu\n", events_);
  for (size_t i = 0; i < kFaultKinds; ++i)
    if (faults_[i] > 0)
      std::printf("fault       %-20s %lu\n", std::string(name_of(static_cast<FaultKind>(i))).c_str(),
                  faults_[i]);
  std::printf("takeovers   %lu\n", takeovers_);
  if (arbitrated())
    std::printf("elections   whoever could own had one owner after %.0f ms at the latest\n",
                static_cast<double>(slowest_election_.count()) / 1e6);
  std::printf("excused     %lu sessions that were not shown as protected\n", excused_);
  for (size_t i = 0; i < kProbes; ++i) {
    const auto probe = static_cast<Probe>(i);
    std::printf("probe       %-28s %lu%s\n", std::string(name_of(probe)).c_str(), probes_.of(probe),
                probes_.of(probe) == 0 ? "   NOT HIT" : "");
  }
  std::printf("violations  %lu\n", violations_);
}

void Campaign::print_json() const {
  const auto table = [](size_t count, auto name, auto value) {
    std::string text;
    for (size_t i = 0; i < count; ++i)
      text += fmt::format("{}\"{}\": {}", i == 0 ? "" : ", ", name(i), value(i));
    return "{" + text + "}";
  };
  const auto faults = table(
      kFaultKinds, [](size_t i) { return name_of(static_cast<FaultKind>(i)); },
      [&](size_t i) { return faults_[i]; });
  const auto probes = table(
      kProbes, [](size_t i) { return name_of(static_cast<Probe>(i)); },
      [&](size_t i) { return probes_.of(static_cast<Probe>(i)); });
  std::printf(
      "%s\n",
      fmt::format(
          "{{\"seeds\": {{\"first\": {}, \"last\": {}}}, \"nodes\": {}, \"runs\": {}, \"crashes\": {}, "
          "\"seconds\": {:.2f}, \"events\": {}, \"faults\": {}, \"takeovers\": {}, \"excused\": {}, "
          "\"probes\": {}, \"violations\": {}}}",
          settings_.first_seed, last_seed_, settings_.nodes, runs_, crashes_, seconds_, events_, faults,
          takeovers_, excused_, probes, violations_)
          .c_str());
}

int Campaign::report() const {
  if (settings_.json)
    print_json();
  else
    print_text();
  bool all_hit = true;
  for (size_t i = 0; i < kProbes; ++i) all_hit = all_hit && probes_.of(static_cast<Probe>(i)) > 0;
  return violations_ > 0 || (settings_.needs_probes && !all_hit) ? 1 : 0;
}

}  // namespace understudy::sim
