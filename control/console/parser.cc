#include "control/console/parser.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <new>
#include <type_traits>

#include <cmdline.h>

#include "common/check.h"

namespace understudy::console {

// What librte_cmdline calls back with: its header must come first.
struct CommandTable::Parser::Token {
  cmdline_token_string library{};  // its own string token for fixed words; only the header for parameters
  std::string word;
  const Parameter* parameter = nullptr;
  std::vector<std::string> choices;  // of the completion under way
};

struct CommandTable::Parser::Instance {
  const Command* command = nullptr;
  Format format = Format::text;
  Parser* parser = nullptr;
  std::vector<std::unique_ptr<Token>> tokens;
  std::unique_ptr<std::byte[]> storage;  // a cmdline_parse_inst_t and its flexible array
};

namespace {

size_t length_of_word(const char* text) {
  size_t length = 0;
  while (!cmdline_isendoftoken(text[length])) ++length;
  return length;
}

}  // namespace

// The four calls of a parameter's token. The library hands back the header that it was given.
struct ParameterCalls {
  template <class Token>
  static Token& token_of(cmdline_parse_token_hdr_t* header) {
    return *reinterpret_cast<Token*>(header);
  }
  template <class Token>
  static int parse(cmdline_parse_token_hdr_t* header, const char* text, void* result, unsigned size) {
    const size_t length = length_of_word(text);
    if (length == 0 || length >= STR_TOKEN_SIZE) return -1;
    const Token& token = token_of<Token>(header);
    if (token.parameter->kind == Parameter::Kind::number &&
        (length > 18 ||
         !std::all_of(text, text + length, [](unsigned char c) { return std::isdigit(c) != 0; })))
      return -1;
    if (result != nullptr) {
      if (size <= length) return -1;
      std::memcpy(result, text, length);
      static_cast<char*>(result)[length] = '\0';
    }
    return static_cast<int>(length);
  }
  template <class Token>
  static int count(cmdline_parse_token_hdr_t* header) {
    Token& token = token_of<Token>(header);
    token.choices = token.parameter->choices ? token.parameter->choices() : std::vector<std::string>();
    return static_cast<int>(token.choices.size());
  }
  template <class Token>
  static int element(cmdline_parse_token_hdr_t* header, int index, char* into, unsigned size) {
    const Token& token = token_of<Token>(header);
    if (index < 0 || static_cast<size_t>(index) >= token.choices.size()) return -1;
    return put(token.choices[static_cast<size_t>(index)], into, size);
  }
  template <class Token>
  static int help(cmdline_parse_token_hdr_t* header, char* into, unsigned size) {
    return put(token_of<Token>(header).parameter->name, into, size);
  }
  static int put(const std::string& text, char* into, unsigned size) {
    if (size <= text.size()) return -1;
    std::memcpy(into, text.c_str(), text.size() + 1);
    return 0;
  }
};

std::vector<WordSpec> parse_words(const Command& command) {
  std::vector<WordSpec> words;
  std::string word;
  unsigned brackets = 0;
  bool inside = false;
  const auto finish_word = [&] {
    if (word.empty()) return;
    WordSpec spec{word, nullptr, inside ? brackets : 0};
    for (const Parameter& parameter : command.parameters)
      if (parameter.name == word) spec.parameter = &parameter;
    words.push_back(spec);
    word.clear();
  };
  for (const char character : command.words) {
    if (character != ' ' && character != '[' && character != ']') {
      word += character;
      continue;
    }
    finish_word();
    if (character == '[') {
      ++brackets;
      inside = true;
    }
    if (character == ']') inside = false;
  }
  finish_word();
  return words;
}

CommandTable::Parser::Parser(const std::vector<std::unique_ptr<Command>>& commands) {
  for (const auto& command : commands) add_variants(*command);
  context_.push_back(nullptr);
  cmdline_ = cmdline_new(context_.data(), "", -1, -1);
  invariant(cmdline_ != nullptr, "console: no memory for the command parser");
}

CommandTable::Parser::~Parser() {
  cmdline_free(cmdline_);
}

void CommandTable::Parser::add_variants(const Command& command) {
  std::vector<WordSpec> words = parse_words(command);
  unsigned brackets = 0;
  for (WordSpec& word : words) {
    brackets = std::max(brackets, word.bracket);
    if (word.parameter != nullptr || !std::isupper(static_cast<unsigned char>(word.text[0]))) continue;
    undeclared_.push_back(std::make_unique<Parameter>(Parameter{word.text, Parameter::Kind::text, "", {}}));
    word.parameter = undeclared_.back().get();
  }
  for (unsigned chosen = 0; chosen < 1U << brackets; ++chosen) {
    std::vector<WordSpec> variant;
    for (const WordSpec& word : words)
      if (word.bracket == 0 || (chosen >> (word.bracket - 1) & 1) != 0) variant.push_back(word);
    add_instance(command, variant, Format::text);
    variant.push_back({"json", nullptr, 0});
    add_instance(command, variant, Format::json);
  }
}

void CommandTable::Parser::add_instance(const Command& command, const std::vector<WordSpec>& words,
                                        Format format) {
  static_assert(std::is_standard_layout_v<cmdline_token_string>);
  static cmdline_token_ops parameter_ops = {ParameterCalls::parse<Token>, ParameterCalls::count<Token>,
                                            ParameterCalls::element<Token>, ParameterCalls::help<Token>};
  auto instance = std::make_unique<Instance>();
  instance->command = &command;
  instance->format = format;
  instance->parser = this;
  const size_t size = sizeof(cmdline_parse_inst_t) + (words.size() + 1) * sizeof(cmdline_parse_token_hdr_t*);
  instance->storage = std::make_unique<std::byte[]>(size);  // zeroed: the token list ends in a null
  auto* inst = new (instance->storage.get()) cmdline_parse_inst_t;
  inst->f = matched;
  inst->data = instance.get();
  inst->help_str = command.help.c_str();
  for (size_t i = 0; i < words.size(); ++i) {
    auto token = std::make_unique<Token>();
    token->word = words[i].text;
    token->parameter = words[i].parameter;
    token->library.string_data.str = token->word.c_str();
    token->library.hdr.ops = token->parameter != nullptr ? &parameter_ops : &cmdline_token_string_ops;
    token->library.hdr.offset = static_cast<unsigned>(i * STR_TOKEN_SIZE);
    inst->tokens[i] = &token->library.hdr;
    instance->tokens.push_back(std::move(token));
  }
  inst->tokens[words.size()] = nullptr;
  context_.push_back(inst);
  instances_.push_back(std::move(instance));
}

// Only notes what matched: the command runs after the library has returned.
void CommandTable::Parser::matched(void* parsed, cmdline*, void* data) {
  auto& instance = *static_cast<Instance*>(data);
  Match& match = *instance.parser->current_;
  match.command = instance.command;
  match.format = instance.format;
  for (const auto& token : instance.tokens)
    if (token->parameter != nullptr)
      match.arguments.set(token->parameter->name,
                          static_cast<const char*>(parsed) + token->library.hdr.offset);
}

CommandTable::Parser::Match CommandTable::Parser::match(std::string_view line) {
  Match match;
  current_ = &match;
  match.result = cmdline_parse(cmdline_, (std::string(line) + "\n").c_str());
  current_ = nullptr;
  return match;
}

}  // namespace understudy::console
