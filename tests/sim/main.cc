// understudy-sim: whole clusters in virtual time, broken at random or at every event, judged from the wires.
#include <charconv>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "tests/sim/campaign.h"

namespace {

namespace sim = understudy::sim;
using std::chrono_literals::operator""ms;
using understudy::config::Arbiter;
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
  std::puts("named faults:");
  for (const sim::NamedFault& named : sim::named_faults())
    std::puts(fmt::format("  {:28} {} ({})", named.name, named.text, named.clusters()).c_str());
  std::puts("probes:");
  for (size_t i = 0; i < sim::kProbes; ++i) {
    const auto probe = static_cast<sim::Probe>(i);
    std::puts(fmt::format("  {:28} {}", name_of(probe), text_of(probe)).c_str());
  }
  return 0;
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

// FIRST..LAST stays a range, which may be long; a list may have ranges among its entries.
bool parse_seeds(const std::string& text, sim::Campaign::Settings& settings) {
  std::istringstream list(text);
  const bool is_list = text.find(',') != std::string::npos;
  for (std::string one; std::getline(list, one, ',');) {
    const size_t dots = one.find("..");
    const auto first = parse_number(std::string_view(one).substr(0, dots));
    const auto last =
        dots == std::string::npos ? first : parse_number(std::string_view(one).substr(dots + 2));
    if (!first || !last || *first > *last) return false;
    if (is_list)
      for (uint64_t seed = *first; seed <= *last; ++seed) settings.seeds.push_back(seed);
    else
      std::tie(settings.first_seed, settings.last_seed) = std::tie(*first, *last);
  }
  if (!settings.seeds.empty()) {
    settings.first_seed = settings.seeds.front();
    settings.last_seed = settings.seeds.back();
  }
  return true;
}

// KIND@AT+LASTS in milliseconds.
bool parse_fault(const std::string& text, sim::Campaign::Settings& settings) {
  const size_t at = text.find('@');
  const size_t plus = text.find('+', at);
  const auto kind = sim::fault_named(text.substr(0, at));
  if (!kind || at == std::string::npos) return false;
  try {
    sim::Fault fault{.kind = *kind, .at = std::stoll(text.substr(at + 1)) * understudy::Duration(1ms)};
    if (plus != std::string::npos)
      fault.lasts = std::stoll(text.substr(plus + 1)) * understudy::Duration(1ms);
    settings.faults.push_back(fault);
  } catch (const std::exception&) {
    return false;
  }
  return true;
}

int usage(const std::string& complaint) {
  std::fprintf(stderr, "understudy-sim: %s; see --help\n", complaint.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  sim::Campaign::Settings settings;
  std::string seeds, arbiter;
  std::vector<std::string> faults;
  uint64_t seed = 0;
  po::options_description options("understudy-sim");
  options.add_options()("help", "this text")("list", "names scenarios, faults and probes")(
      "seeds", po::value(&seeds), "FIRST..LAST, or a list: 40,53,68..70")(
      "seed", po::value(&seed), "one seed")("scenario", po::value(&settings.scenario),
                                            "a named one, or all; otherwise drawn from the seed")(
      "arbiter", po::value(&arbiter)->default_value("none"), "of the cluster: none, members, etcd")(
      "nodes", po::value(&settings.nodes)->default_value(2), "of the cluster")(
      "minutes", po::value(&settings.minutes), "begin no further run after so many minutes of real time")(
      "crash-at-every-event", po::bool_switch(&settings.every_event),
      "instead of random faults: one run per event of the scenario, in which the owner dies there")(
      "at-event", po::value(&settings.at_event), "with a scenario: the owner dies there (replays the above)")(
      "fault", po::value(&faults),
      "KIND@AT+LASTS in ms, for example pause_owner@20+90; may be repeated; instead of drawn faults. Or a "
      "named one, or all of these that the arbiter and the number of nodes are meant for")(
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
  settings.arbiter = arbiter == "members" ? Arbiter::members
                     : arbiter == "etcd"  ? Arbiter::etcd
                                          : Arbiter::none;
  if (settings.arbiter == Arbiter::none && arbiter != "none")
    return usage("--arbiter takes none, members or etcd");
  if (settings.arbiter == Arbiter::members && settings.nodes < 3)
    return usage("--arbiter members needs --nodes 3 or more");
  for (const std::string& fault : faults) {
    if (fault.find('@') == std::string::npos && sim::is_named_fault(fault, settings.arbiter, settings.nodes))
      settings.named_fault = fault;
    else if (!parse_fault(fault, settings))
      return usage("no fault reads '" + fault + "', or none for this arbiter and number of nodes");
  }
  sim::Campaign campaign(settings);
  campaign.run();
  return campaign.report();
}
