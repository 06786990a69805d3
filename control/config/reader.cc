#include "control/config/reader.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include <fmt/format.h>

#include "control/config/quantity.h"

namespace understudy::config {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string joined(const std::vector<std::string_view>& words) {
  std::string text;
  for (const auto& word : words) {
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text;
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
             std::string_view::npos;
}

}  // namespace

void FaultList::add(const Mark& mark, std::string_view sentence) {
  faults_.push_back({mark, std::string(sentence)});
}

Faults FaultList::sorted() const {
  std::vector<Entry> ordered = faults_;
  std::stable_sort(ordered.begin(), ordered.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.mark.line, a.mark.column) < std::tie(b.mark.line, b.mark.column);
  });
  Faults faults;
  for (const Entry& entry : ordered)
    faults.lines.push_back(fmt::format("{}: {}", entry.mark.to_string(), entry.sentence));
  return faults;
}

const Mark& Places::at(const std::string& path) const {
  std::string ancestor = path;
  for (;;) {
    const auto found = marks_.find(ancestor);
    if (found != marks_.end()) return found->second;
    const size_t end = ancestor.find_last_of(".[");
    if (end == std::string::npos) break;
    ancestor.resize(end);
  }
  static const Mark nowhere;
  const auto root = marks_.find("");
  return root != marks_.end() ? root->second : nowhere;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  std::string_view best;
  size_t best_distance = std::min(std::max<size_t>(2, word.size() / 3) + 1, word.size());
  if (word.size() > 64) return best;
  for (const auto& candidate : known) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

Fields::Fields(Reading& reading, const Value& value, std::string path, std::string what)
    : reading_(reading), value_(value), path_(std::move(path)), what_(std::move(what)) {
  reading_.places.record(path_, value_.mark);
  if (value_.kind != Value::Kind::mapping)
    reading_.faults.add(value_.mark, fmt::format("{} must be a mapping of keys to values, but {} stands here",
                                                 what_, describe(value_)));
}

std::string Fields::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const Value* Fields::find(std::string_view key, Need need) {
  asked_.emplace_back(key);
  if (value_.kind != Value::Kind::mapping) return nullptr;
  for (size_t i = 0; i < value_.keys.size(); ++i) {
    const Value &name = value_.keys[i], &value = value_.items[i];
    if (name.kind != Value::Kind::scalar || name.text != key) continue;
    reading_.places.record(path_of(key), value.mark);
    if (value.kind == Value::Kind::nothing) {
      reading_.faults.add(name.mark,
                          fmt::format("`{}` of {} has no value; give one or remove the key", key, what_));
      return nullptr;
    }
    return &value;
  }
  if (need == Need::required)
    reading_.faults.add(value_.mark, fmt::format("{} has no `{}`; add the key", what_, key));
  return nullptr;
}

const Value* Fields::scalar(std::string_view key, Need need) {
  const Value* value = find(key, need);
  if (value == nullptr || value->kind == Value::Kind::scalar) return value;
  fault(*value, fmt::format("`{}` must be a single value, but {} stands here", key, describe(*value)));
  return nullptr;
}

const Value* Fields::mapping(std::string_view key, Need need) {
  return find(key, need);  // the Fields made of it say what is wrong with its kind
}

std::span<const Value> Fields::list(std::string_view key, Need need) {
  const Value* value = find(key, need);
  if (value == nullptr) return {};
  if (value->kind != Value::Kind::list) {
    fault(*value, fmt::format("`{}` must be a list, but {} stands here; write [a, b] or one `- ` per line",
                              key, describe(*value)));
    return {};
  }
  if (value->items.empty() && need == Need::required)
    fault(*value, fmt::format("`{}` of {} is empty; list at least one", key, what_));
  for (size_t i = 0; i < value->items.size(); ++i)
    reading_.places.record(fmt::format("{}[{}]", path_of(key), i), value->items[i].mark);
  return value->items;
}

void Fields::text(std::string_view key, std::string& into, Need need) {
  const Value* value = scalar(key, need);
  if (value == nullptr) return;
  if (key == "name" && !is_name(value->text)) {
    fault(*value,
          fmt::format("`{}` cannot be a name; use up to 63 letters, digits, `-`, `_` and `.`", value->text));
    return;
  }
  if (value->text.empty()) {
    fault(*value, fmt::format("`{}` of {} is empty; give a value", key, what_));
    return;
  }
  into = value->text;
}

void Fields::number(std::string_view key, uint64_t& into, NumberRange range, Need need) {
  const Value* value = scalar(key, need);
  if (value == nullptr) return;
  const auto number = parse_number(value->text);
  if (number && *number >= range.least && *number <= range.most)
    into = *number;
  else
    fault(*value, fmt::format("`{}` must be a whole number from {} to {}, but `{}` stands here", key,
                              range.least, range.most, value->text));
}

void Fields::duration(std::string_view key, Duration& into, DurationRange range) {
  const Value* value = scalar(key, Need::optional);
  if (value == nullptr) return;
  const auto duration = parse_duration(value->text);
  if (!duration)
    fault(*value,
          fmt::format("`{}` is not a duration; `{}` takes a whole number and a unit: 500us, 20ms, 1s, "
                      "5min, 1h",
                      value->text, key));
  else if (*duration < range.least || *duration > range.most)
    fault(*value, fmt::format("`{}` must be from {} to {}, but `{}` stands here", key,
                              duration_text(range.least), duration_text(range.most), value->text));
  else
    into = *duration;
}

void Fields::size(std::string_view key, uint64_t& into, NumberRange range) {
  const Value* value = scalar(key, Need::optional);
  if (value == nullptr) return;
  const auto size = parse_size(value->text);
  if (!size)
    fault(*value,
          fmt::format("`{}` is not a size; `{}` takes a whole number and a unit: 256KiB, 512MiB, 2GiB",
                      value->text, key));
  else if (*size < range.least || *size > range.most)
    fault(*value, fmt::format("`{}` must be from {} to {}, but `{}` stands here", key, size_text(range.least),
                              size_text(range.most), value->text));
  else
    into = *size;
}

void Fields::boolean(std::string_view key, bool& into) {
  const Value* value = scalar(key, Need::optional);
  if (value == nullptr) return;
  const auto parsed = parse_switch(value->text);
  if (parsed)
    into = *parsed;
  else
    fault(*value, fmt::format("`{}` must be true or false, but `{}` stands here", key, value->text));
}

void Fields::address(std::string_view key, IpAddress& into, Need need) {
  const Value* value = scalar(key, need);
  if (value == nullptr) return;
  const auto parsed = read_address(reading_, *value);
  if (parsed) into = *parsed;
}

void Fields::port(std::string_view key, std::optional<PortNumber>& into) {
  uint64_t number = 0;
  this->number(key, number, {1, 65535}, Need::optional);
  if (number != 0) into = PortNumber(static_cast<uint16_t>(number));
}

void Fields::unknown_word(const Value& value, std::string_view key,
                          const std::vector<std::string_view>& known) {
  const std::string_view meant = nearest(value.text, known);
  if (meant.empty())
    fault(value, fmt::format("`{}` cannot be `{}`; choose from: {}", key, value.text, joined(known)));
  else
    fault(value, fmt::format("`{}` cannot be `{}`; did you mean `{}`?", key, value.text, meant));
}

void Fields::finish() {
  const std::vector<std::string_view> known(asked_.begin(), asked_.end());
  std::set<std::string> seen;
  for (const Value& key : value_.keys) {
    if (key.kind != Value::Kind::scalar) {
      fault(key, fmt::format("a key of {} must be a word, but {} stands here", what_, describe(key)));
      continue;
    }
    if (!seen.insert(key.text).second) {
      fault(key, fmt::format("`{}` stands twice in {}; remove one", key.text, what_));
      continue;
    }
    if (std::find(asked_.begin(), asked_.end(), key.text) != asked_.end()) continue;
    const std::string_view meant = nearest(key.text, known);
    if (meant.empty())
      fault(key, fmt::format("unknown key `{}` in {}; known keys: {}", key.text, what_, joined(known)));
    else
      fault(key, fmt::format("unknown key `{}` in {}; did you mean `{}`?", key.text, what_, meant));
  }
}

}  // namespace understudy::config
