// understudy-sim: whole clusters in virtual time, broken at random or at every event, judged from the wires.
#include <cstdio>
#include <sstream>
#include <string>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "tests/sim/campaign.h"

namespace {

namespace sim = understudy::sim;
namespace po = boost::program_options;

int list() {
  std::puts("scenarios (without --scenario, everything is drawn from the seed):");
  for (const sim::Scenario& s : sim::scenarios())
    std::puts(fmt::format("  {:28} {}", s.name, s.text).c_str());
  std::puts("faults:");
  for (size_t i = 0; i < sim::kFaultKinds; ++i) {
    const auto kind = static_cast<sim::FaultKind>(i);
    std::puts(fmt::format("  {:28} {}", name_of(kind), text_of(kind)).c_str());
  }
  std::puts("probes:");
  for (size_t i = 0; i < sim::kProbes; ++i) {
    const auto probe = static_cast<sim::Probe>(i);
    std::puts(fmt::format("  {:28} {}", name_of(probe), text_of(probe)).c_str());
  }
  return 0;
}

bool parse_seeds(const std::string& text, sim::Campaign::Settings& settings) {
  const size_t dots = text.find("..");
  try {
    settings.first_seed = std::stoull(text);
    settings.last_seed = dots == std::string::npos ? settings.first_seed : std::stoull(text.substr(dots + 2));
  } catch (const std::exception&) {
    return false;
  }
  return settings.first_seed <= settings.last_seed;
}

int usage(const std::string& complaint) {
  std::fprintf(stderr, "understudy-sim: %s; see --help\n", complaint.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  sim::Campaign::Settings settings;
  std::string seeds;
  uint64_t seed = 0;
  po::options_description options("understudy-sim");
  options.add_options()("help", "this text")("list", "names scenarios, faults and probes")(
      "seeds", po::value(&seeds), "FIRST..LAST")("seed", po::value(&seed), "one seed")(
      "scenario", po::value(&settings.scenario), "a named one, or all; otherwise drawn from the seed")(
      "nodes", po::value(&settings.nodes)->default_value(2), "of the cluster")(
      "minutes", po::value(&settings.minutes), "begin no further run after so many minutes of real time")(
      "crash-at-every-event", po::bool_switch(&settings.every_event),
      "instead of random faults: one run per event of the scenario, in which the owner dies there")(
      "at-event", po::value(&settings.at_event), "with a scenario: the owner dies there (replays the above)")(
      "trace", po::bool_switch(&settings.trace), "every frame and every decision")(
      "need-probes", po::bool_switch(&settings.needs_probes), "exit 1 when a probe was not hit")(
      "first-violation", po::bool_switch(&settings.ends_at_violation), "end at the first violation")(
      "json", po::bool_switch(&settings.json), "the summary as JSON");
  po::variables_map given;
  try {
    po::store(po::parse_command_line(argc, argv, options), given);
    po::notify(given);
  } catch (const po::error& error) {
    return usage(error.what());
  }
  if (given.contains("help")) {
    std::puts(fmt::format("{}", (std::ostringstream() << options).str()).c_str());
    return 0;
  }
  if (given.contains("list")) return list();
  if (given.contains("seed")) seeds = std::to_string(seed);
  if (seeds.empty() && settings.every_event) seeds = std::to_string(1);
  if (seeds.empty() || !parse_seeds(seeds, settings))
    return usage("--seeds FIRST..LAST or --seed S is needed");
  if (!settings.scenario.empty() && settings.scenario != "all" &&
      sim::find_scenario(settings.scenario) == nullptr)
    return usage("no scenario is named '" + settings.scenario + "'");
  if (settings.nodes < 1 || settings.nodes > 16) return usage("--nodes takes 1 to 16");
  sim::Campaign campaign(settings);
  campaign.run();
  return campaign.report();
}
