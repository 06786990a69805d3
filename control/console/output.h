#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/instant.h"

namespace understudy::console {

// Keys stand in the order in which they are set, and keep their names from version to version.
using Json = nlohmann::ordered_json;

enum class Format { text, json };

// What a command says. A handler looks at format() and calls put() or put_json(), or fail().
class Output {
 public:
  explicit Output(Format format) : format_(format) {}
  Format format() const { return format_; }
  void put(std::string_view text) { text_ += text; }
  void put_json(const Json& json);
  // The command did not work; `sentence` says why and what to do.
  void fail(std::string sentence) { failure_ = std::move(sentence); }
  bool ok() const { return !failure_; }
  // Everything to show, ending in a line feed unless empty. Control characters but line feeds are
  // replaced, so that no answer can look like the end of one on the socket.
  std::string rendered() const;

 private:
  Format format_;
  std::string text_;
  std::optional<std::string> failure_;
};

enum class Align { left, right };

// Columns as wide as their widest cell.
class TextTable {
 public:
  struct Column {
    std::string title;
    Align align = Align::left;
  };
  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string to_string(unsigned indent = 0) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

std::string joined(const std::vector<std::string>& words, std::string_view between);

// "12.3 ms", "4.5 s", "3 min 20 s"; "-" for none.
std::string span_text(Duration span);
std::string span_text(const std::optional<Duration>& span);
// Microseconds, or null.
Json span_json(const std::optional<Duration>& span);
template <class T>
Json optional_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

}  // namespace understudy::console
