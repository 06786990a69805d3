#include "control/appliance/options.h"

#include <algorithm>
#include <exception>

#include <boost/program_options.hpp>
#include <fmt/format.h>

namespace understudy::appliance {
namespace {

namespace po = boost::program_options;
using Words = std::vector<std::string>;

constexpr std::string_view kUsageRun = "understudy run CONFIG --node NAME [--interactive] [-- EAL ARGUMENTS]";
constexpr std::string_view kUsageCheck = "understudy check CONFIG";
constexpr std::string_view kUsageConsole =
    "understudy console [--socket PATH] [--stop-on-error] [--echo] [COMMAND...]";
constexpr std::string_view kUsageDoctor = "understudy doctor [CONFIG] [--node NAME]";
constexpr std::string_view kUsageVersion = "understudy version";

Error misuse(std::string_view what, std::string_view usage) {
  return Error{fmt::format("{}; usage: {}", what, usage)};
}

// Boost throws on a misfit; its sentence becomes ours.
Result<po::variables_map> parse(const Words& words, const po::options_description& named, int positional_max,
                                std::string_view usage) {
  po::options_description all = named;
  all.add_options()("words", po::value<Words>());
  po::positional_options_description positional;
  positional.add("words", positional_max);
  try {
    using namespace po::command_line_style;
    po::variables_map values;
    po::store(po::command_line_parser(words)
                  .options(all)
                  .positional(positional)
                  .style(allow_long | long_allow_adjacent | long_allow_next)
                  .run(),
              values);
    po::notify(values);
    return values;
  } catch (const std::exception& fault) {
    return misuse(fault.what(), usage);
  }
}

Words words_of(const po::variables_map& values) {
  return values.count("words") != 0 ? values["words"].as<Words>() : Words();
}

Result<Options> parse_run(const Words& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  po::options_description named;
  named.add_options()("node", po::value<std::string>())("interactive", po::bool_switch());
  const auto values = parse(Words(words.begin(), dashes), named, -1, kUsageRun);
  if (!values) return values.error();
  const Words given = words_of(values.value());
  if (given.empty()) return misuse("`run` needs a configuration file", kUsageRun);
  if (given.size() > 1) return misuse(fmt::format("`{}` is a word too many", given[1]), kUsageRun);
  if (values.value().count("node") == 0)
    return misuse("`run` needs --node, which of the file's nodes to be", kUsageRun);
  RunOptions options;
  options.config = given[0];
  options.node = values.value()["node"].as<std::string>();
  options.interactive = values.value()["interactive"].as<bool>();
  if (dashes != words.end()) options.eal_arguments.assign(dashes + 1, words.end());
  return Options(options);
}

Result<Options> parse_check(const Words& words) {
  const auto values = parse(words, po::options_description(), -1, kUsageCheck);
  if (!values) return values.error();
  const Words given = words_of(values.value());
  if (given.empty()) return misuse("`check` needs a configuration file", kUsageCheck);
  if (given.size() > 1) return misuse(fmt::format("`{}` is a word too many", given[1]), kUsageCheck);
  return Options(CheckOptions{given[0]});
}

Result<Options> parse_console(const Words& words) {
  // Options end where the command begins: its words are the node's to read.
  auto command = words.begin();
  while (command != words.end() && command->starts_with("--") && *command != "--")
    command += *command == "--socket" && command + 1 != words.end() ? 2 : 1;
  po::options_description named;
  named.add_options()("socket", po::value<std::string>())("stop-on-error", po::bool_switch())(
      "echo", po::bool_switch());
  const auto values = parse(Words(words.begin(), command), named, -1, kUsageConsole);
  if (!values) return values.error();
  if (command != words.end() && *command == "--") ++command;
  ConsoleOptions options;
  if (values.value().count("socket") != 0) options.client.socket = values.value()["socket"].as<std::string>();
  options.client.stop_on_error = values.value()["stop-on-error"].as<bool>();
  options.client.echo = values.value()["echo"].as<bool>();
  options.client.command.assign(command, words.end());
  return Options(options);
}

Result<Options> parse_doctor(const Words& words) {
  po::options_description named;
  named.add_options()("node", po::value<std::string>());
  const auto values = parse(words, named, -1, kUsageDoctor);
  if (!values) return values.error();
  const Words given = words_of(values.value());
  if (given.size() > 1) return misuse(fmt::format("`{}` is a word too many", given[1]), kUsageDoctor);
  DoctorOptions options;
  if (!given.empty()) options.config = given[0];
  if (values.value().count("node") != 0) {
    if (given.empty()) return misuse("--node needs the configuration file that has it", kUsageDoctor);
    options.node = values.value()["node"].as<std::string>();
  }
  return Options(options);
}

}  // namespace

std::string help_text() {
  return fmt::format(
      "Understudy: a load balancer whose TCP connections survive its own death.\n\n"
      "  {}\n      be a node\n"
      "  {}\n      tell every fault of a configuration\n"
      "  {}\n      talk to a running node; interactive without a command\n"
      "  {}\n      tell what this machine lacks, and the command that mends it\n"
      "  {}\n",
      kUsageRun, kUsageCheck, kUsageConsole, kUsageDoctor, kUsageVersion);
}

Result<Options> parse_options(const std::vector<std::string>& words) {
  if (words.empty()) return Error{"a command is missing; `understudy help` lists them"};
  const std::string& command = words[0];
  const Words rest(words.begin() + 1, words.end());
  if (command == "help" || command == "--help" || command == "-h") return Options(HelpOptions{});
  // Behind `--`, and among the words of a console command, help is not for us.
  const auto own_end = command == "console" ? rest.begin() + (rest.empty() ? 0 : 1)
                                            : std::find(rest.begin(), rest.end(), "--");
  if (std::find(rest.begin(), own_end, "--help") != own_end) return Options(HelpOptions{});
  if (command == "run") return parse_run(rest);
  if (command == "check") return parse_check(rest);
  if (command == "console") return parse_console(rest);
  if (command == "doctor") return parse_doctor(rest);
  if (command == "version" || command == "--version") {
    if (!rest.empty()) return misuse(fmt::format("`{}` is a word too many", rest[0]), kUsageVersion);
    return Options(VersionOptions{});
  }
  return Error{fmt::format("there is no command `{}`; `understudy help` lists them", command)};
}

}  // namespace understudy::appliance
