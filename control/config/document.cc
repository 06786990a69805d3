#include "control/config/document.h"

#include <algorithm>
#include <exception>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

namespace understudy::config {
namespace {

constexpr int kDepthMax = 32;
constexpr size_t kValuesMax = 200'000;  // aliases can multiply a small file without bound

struct TooLarge : std::exception {
  const char* what() const noexcept override {
    return "nested too deep or too large; a configuration has a few hundred values, look for an alias that "
           "repeats itself";
  }
};

// Where documents begin, and nothing else.
struct DocumentStarts final : YAML::EventHandler {
  std::vector<YAML::Mark> marks;
  void OnDocumentStart(const YAML::Mark& mark) override { marks.push_back(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
  }
  void OnMapEnd() override {}
};

// At most two: yaml-cpp 0.7 takes a stray `,` or `]` for the start of a document and does not move past it,
// so that YAML::LoadAll never ends.
std::vector<YAML::Mark> document_starts(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  DocumentStarts starts;
  while (starts.marks.size() < 2 && parser.HandleNextDocument(starts)) {
  }
  return starts.marks;
}

Mark mark_of(const YAML::Mark& mark, const std::string& name) {
  return Mark{name, mark.line + 1, mark.column + 1};
}

Value convert(const YAML::Node& node, const std::string& name, int depth, size_t& budget) {
  if (depth > kDepthMax || budget == 0) throw TooLarge();
  --budget;
  Value value;
  value.mark = mark_of(node.Mark(), name);
  switch (node.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null:
      break;
    case YAML::NodeType::Scalar:
      value.kind = Value::Kind::scalar;
      value.text = node.Scalar();
      break;
    case YAML::NodeType::Sequence:
      value.kind = Value::Kind::list;
      for (const auto& item : node) value.items.push_back(convert(item, name, depth + 1, budget));
      break;
    case YAML::NodeType::Map:
      value.kind = Value::Kind::mapping;
      for (const auto& entry : node) {
        value.keys.push_back(convert(entry.first, name, depth + 1, budget));
        value.items.push_back(convert(entry.second, name, depth + 1, budget));
      }
      break;
  }
  return value;
}

}  // namespace

std::string Mark::to_string() const {
  return fmt::format("{}:{}:{}", file, line, column);
}

std::string describe(const Value& value) {
  switch (value.kind) {
    case Value::Kind::nothing:
      return "nothing";
    case Value::Kind::scalar:
      return fmt::format("`{}`", value.text);
    case Value::Kind::list:
      return "a list";
    case Value::Kind::mapping:
      return "a mapping";
  }
  return "nothing";
}

Result<Value> parse_document(const std::string& text, const std::string& name) {
  try {
    const std::vector<YAML::Mark> starts = document_starts(text);
    if (starts.empty())
      return Error{fmt::format("{}:1:1: the file is empty; start from one of the samples in conf/", name)};
    if (starts.size() > 1) {
      const std::string second = mark_of(starts[1], name).to_string();
      const auto at = std::min(static_cast<size_t>(starts[1].pos), text.size());
      if (std::string_view(text).substr(at).starts_with("---"))
        return Error{fmt::format("{}: a second document begins; remove the `---` before it", second)};
      return Error{fmt::format(
          "{}: this is not YAML: what stands here belongs to nothing; remove it or quote the value", second)};
    }
    size_t budget = kValuesMax;
    return convert(YAML::Load(text), name, 0, budget);
  } catch (const YAML::Exception& fault) {
    const Mark where = mark_of(fault.mark, name);
    return Error{fmt::format("{}: this is not YAML: {}; correct the line or quote the value",
                             Mark{name, std::max(1, where.line), std::max(1, where.column)}.to_string(),
                             fault.msg)};
  } catch (const std::exception& fault) {
    return Error{fmt::format("{}:1:1: the file cannot be read as YAML: {}", name, fault.what())};
  }
}

}  // namespace understudy::config
