#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/console/output.h"

namespace understudy::console {

// The values of a command's parameters, by name. An optional one that was not given is absent.
class Arguments {
 public:
  std::optional<std::string> text(const std::string& name) const;
  std::optional<uint64_t> number(const std::string& name) const;
  void set(const std::string& name, std::string value) { values_[name] = std::move(value); }

 private:
  std::map<std::string, std::string> values_;
};

// A parameter is text unless it is declared otherwise.
struct Parameter {
  enum class Kind { text, number };
  std::string name;
  Kind kind = Kind::text;
  std::string help;
  std::function<std::vector<std::string>()> choices;  // offered by completion; empty: none
};

// Whether a command may run while the workers do.
enum class WorkersMust { run, pause };

struct Command {
  // Lower-case words stand for themselves, CAPITALS for parameters, [brackets] around what may be left
  // out: "show conn [group GROUP] [limit COUNT]". Every command takes a last word `json` besides.
  std::string words;
  std::string help;
  std::vector<Parameter> parameters;
  std::function<void(const Arguments&, Output&)> handler;
  WorkersMust workers_must = WorkersMust::run;
};

struct Reply {
  bool ok = true;
  std::string text;  // ends in a line feed unless empty
};

// All commands, over librte_cmdline's parser. Commands are added before the first line is executed;
// execute() may be called from several threads and runs one command at a time.
class CommandTable {
 public:
  static constexpr size_t kLineMax = 480;  // librte_cmdline edits lines of 512

  CommandTable();
  ~CommandTable();
  CommandTable(const CommandTable&) = delete;
  CommandTable& operator=(const CommandTable&) = delete;

  void add(Command command);
  // Called with true before, and with false after a command that needs paused workers.
  void set_pauser(std::function<void(bool)> pauser) { pauser_ = std::move(pauser); }
  const std::vector<std::unique_ptr<Command>>& commands() const { return commands_; }

  // Any bytes; an empty line or a comment (#) is a success without text.
  Reply execute(std::string_view line);
  // As librte_cmdline's rdline wants it: see cmdline_complete().
  int complete(const char* buffer, int* state, char* into, unsigned size);

 private:
  class Parser;
  Parser& parser();
  Reply run(const Command& command, const Arguments& arguments, Format format);
  std::string misfit_sentence(std::string_view line) const;

  std::mutex one_at_a_time_;
  std::vector<std::unique_ptr<Command>> commands_;
  std::unique_ptr<Parser> parser_;
  std::function<void(bool)> pauser_;
};

// A sentence when `line` cannot be a command whatever the table: too long, or bytes that nobody types.
std::optional<std::string> unreadable(std::string_view line);

}  // namespace understudy::console
