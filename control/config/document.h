#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "control/config/config.h"

namespace understudy::config {

// A YAML document as plain values, each with its place. Only document.cc knows the YAML library.
struct Value {
  enum class Kind { nothing, scalar, list, mapping };
  Kind kind = Kind::nothing;
  Mark mark;
  std::string text;          // scalar
  std::vector<Value> items;  // the elements of a list, the values of a mapping
  std::vector<Value> keys;   // mapping: one for each of items, in file order, repeated ones included
};

// The text's one document. An Error is a whole fault line, "file:line:column: ...".
Result<Value> parse_document(const std::string& text, const std::string& name);

// "a list", "a mapping", "nothing", "`text`": what stands there, for messages.
std::string describe(const Value& value);

}  // namespace understudy::config
