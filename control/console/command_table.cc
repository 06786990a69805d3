#include "control/console/command_table.h"

#include <charconv>
#include <exception>

#include <fmt/format.h>

#include "control/console/parser.h"

namespace understudy::console {
namespace {

std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  for (const char character : line) {
    if (character == '#') break;
    if (character != ' ' && character != '\t') {
      word += character;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, ""));
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

}  // namespace

std::optional<std::string> Arguments::text(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

std::optional<uint64_t> Arguments::number(const std::string& name) const {
  const auto digits = text(name);
  uint64_t value = 0;
  if (!digits || std::from_chars(digits->data(), digits->data() + digits->size(), value).ec != std::errc())
    return std::nullopt;
  return value;
}

std::optional<std::string> unreadable(std::string_view line) {
  if (line.size() > CommandTable::kLineMax)
    return fmt::format("the line is longer than {} characters and was not looked at", CommandTable::kLineMax);
  for (const char character : line) {
    const auto byte = static_cast<unsigned char>(character);
    if ((byte < 0x20 && byte != '\t') || byte >= 0x7f)
      return fmt::format("the line holds the byte 0x{:02x}, which no command has; `help` lists the commands",
                         byte);
  }
  return std::nullopt;
}

CommandTable::CommandTable() = default;
CommandTable::~CommandTable() = default;

void CommandTable::add(Command command) {
  commands_.push_back(std::make_unique<Command>(std::move(command)));
  parser_.reset();
}

CommandTable::Parser& CommandTable::parser() {
  if (!parser_) parser_ = std::make_unique<Parser>(commands_);
  return *parser_;
}

std::string CommandTable::misfit_sentence(std::string_view line) const {
  const std::vector<std::string> given = split(line);
  const Command* best = nullptr;
  size_t best_score = 0;
  for (const auto& command : commands_) {
    size_t score = 0;
    for (const WordSpec& word : parse_words(*command)) {
      if (score >= given.size() || word.text != given[score]) break;
      ++score;
    }
    if (score <= best_score) continue;
    best = command.get();
    best_score = score;
  }
  const std::string shown = joined(given, " ");
  if (best == nullptr) return fmt::format("there is no command `{}`; `help` lists the commands", shown);
  std::string usages;
  for (const auto& command : commands_) {
    const auto words = parse_words(*command);
    bool alike = words.size() >= best_score;
    for (size_t i = 0; alike && i < best_score; ++i) alike = words[i].text == given[i];
    if (alike) usages += fmt::format("\n  {} [json]", command->words);
  }
  return fmt::format("`{}` is not complete or has a word too many; what begins like it:{}", shown, usages);
}

Reply CommandTable::run(const Command& command, const Arguments& arguments, Format format) {
  Output output(format);
  const bool pause = command.workers_must == WorkersMust::pause && pauser_;
  if (pause) pauser_(true);
  try {
    command.handler(arguments, output);
  } catch (const std::exception& fault) {
    output.fail(fmt::format("the command failed: {}", fault.what()));
  }
  if (pause) pauser_(false);
  return Reply{output.ok(), output.rendered()};
}

Reply CommandTable::execute(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (const auto sentence = unreadable(line)) return Reply{false, *sentence + "\n"};
  if (split(line).empty()) return Reply{};
  const std::lock_guard lock(one_at_a_time_);
  const Parser::Match match = parser().match(line);
  if (match.result >= 0 && match.command != nullptr)
    return run(*match.command, match.arguments, match.format);
  const std::vector<std::string> words = split(line);
  Output output(words.back() == "json" ? Format::json : Format::text);
  output.fail(misfit_sentence(line));
  return Reply{false, output.rendered()};
}

int CommandTable::complete(const char* buffer, int* state, char* into, unsigned size) {
  const std::lock_guard lock(one_at_a_time_);
  return cmdline_complete(parser().library(), buffer, state, into, size);
}

}  // namespace understudy::console
