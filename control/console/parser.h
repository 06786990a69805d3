#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <cmdline_parse.h>
#include <cmdline_parse_string.h>

#include "control/console/command_table.h"

namespace understudy::console {

// One element of a command's words: fixed, or a parameter; with the number of its brackets, 0 outside.
struct WordSpec {
  std::string text;
  const Parameter* parameter = nullptr;
  unsigned bracket = 0;
};
std::vector<WordSpec> parse_words(const Command& command);

// The commands as librte_cmdline's instances: one for every choice of optional parts, with and without
// `json`. They are built at run time, because the library's static initialisers are C.
class CommandTable::Parser {
 public:
  explicit Parser(const std::vector<std::unique_ptr<Command>>& commands);
  ~Parser();
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  struct Match {
    int result = 0;  // CMDLINE_PARSE_*, or positive
    const Command* command = nullptr;
    Arguments arguments;
    Format format = Format::text;
  };
  // `line` without a line feed.
  Match match(std::string_view line);
  cmdline* library() { return cmdline_; }

 private:
  struct Token;
  struct Instance;
  static void matched(void* parsed, cmdline*, void* instance);
  void add_variants(const Command& command);
  void add_instance(const Command& command, const std::vector<WordSpec>& words, Format format);

  std::vector<std::unique_ptr<Parameter>> undeclared_;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::vector<cmdline_parse_inst_t*> context_;
  cmdline* cmdline_ = nullptr;
  Match* current_ = nullptr;
};

}  // namespace understudy::console
