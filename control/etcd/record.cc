#include "control/etcd/record.h"

#include <array>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace understudy::etcd {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr size_t kRequestMax = 128;

// nlohmann's accessors throw on another type; what comes from outside is looked at first.
std::optional<int64_t> number(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  if (found->is_number_integer()) return found->get<int64_t>();
  if (!found->is_string()) return std::nullopt;
  const std::string& text = found->get_ref<const std::string&>();
  uint64_t value = 0;  // cluster ids take all 64 bits
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return static_cast<int64_t>(value);
}

const Json* object(const Json& parent, const char* key) {
  const auto found = parent.find(key);
  return found != parent.end() && found->is_object() ? &*found : nullptr;
}

Error bad(std::string_view why) {
  return Error{fmt::format("its answer is not one of etcd: {}", why)};
}

Result<Json> parse(int status, std::string_view body) {
  Json json = Json::parse(body, nullptr, false);
  if (status != 200) {
    std::string why = fmt::format("it answers with status {}", status);
    if (json.is_object() && json.contains("error") && json["error"].is_string())
      why += ": " + json["error"].get<std::string>().substr(0, 200);
    return Error{why};
  }
  if (!json.is_object()) return bad("no JSON object");
  return json;
}

// Puts the one entry of a range into `answer`; a sentence if it is none.
std::optional<std::string> take_range(const Json& range, std::string_view key, Answer& answer) {
  const auto kvs = range.find("kvs");
  if (kvs == range.end()) return std::nullopt;  // the key does not exist
  if (!kvs->is_array() || kvs->size() != 1 || !(*kvs)[0].is_object()) return "not one entry";
  const Json& entry = (*kvs)[0];
  const auto name = entry.find("key"), value = entry.find("value");
  if (name == entry.end() || !name->is_string() ||
      from_base64(name->get_ref<const std::string&>()) != std::string(key))
    return "an entry of another key";
  const auto revision = number(entry, "mod_revision");
  if (!revision || *revision <= 0) return "an entry without revision";
  answer.revision = *revision;
  if (value == entry.end()) return std::nullopt;  // empty
  const auto bytes = value->is_string() ? from_base64(value->get_ref<const std::string&>()) : std::nullopt;
  if (!bytes) return "a value that is not base64";
  answer.value = *bytes;
  return std::nullopt;
}

}  // namespace

std::string base64(std::string_view bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    const size_t have = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k)
      word = word << 8 | (k < have ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (size_t k = 0; k < 4; ++k) text += k <= have ? kAlphabet[word >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t word = 0;
    size_t padding = 0;
    for (size_t k = 0; k < 4; ++k) {
      const char c = text[i + k];
      const bool may_pad = i + 4 == text.size() && k >= 2;
      const size_t digit = kAlphabet.find(c);
      if (c == '=' && may_pad)
        ++padding;
      else if (digit == std::string_view::npos || padding > 0)
        return std::nullopt;
      word = word << 6 | static_cast<uint32_t>(c == '=' ? 0 : digit);
    }
    for (size_t k = 0; k < 3 - padding; ++k) bytes += static_cast<char>(word >> (16 - 8 * k) & 0xff);
  }
  return bytes;
}

std::string encode(const Record& record) {
  Json in_sync = Json::array();
  if (record.epoch.node != NodeId()) in_sync.push_back(record.epoch.node.value());
  if (record.standby != NodeId()) in_sync.push_back(record.standby.value());
  return Json{{"epoch", {record.epoch.counter, record.epoch.node.value()}},
              {"in_sync", in_sync},
              {"owner", record.epoch.node.value()},
              {"released", record.released},
              {"request", record.request}}
      .dump();
}

std::optional<Record> decode_record(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto is = [](const Json& value, uint64_t most) {
    return value.is_number_unsigned() && value.get<uint64_t>() <= most;
  };
  const auto epoch = json.find("epoch"), in_sync = json.find("in_sync"), owner = json.find("owner"),
             released = json.find("released"), request = json.find("request");
  for (const auto& each : {epoch, in_sync, owner, released, request})
    if (each == json.end()) return std::nullopt;
  if (!epoch->is_array() || epoch->size() != 2 || !is((*epoch)[0], UINT32_MAX) ||
      !is((*epoch)[1], UINT16_MAX))
    return std::nullopt;
  if (!in_sync->is_array() || in_sync->size() > 2 || !released->is_boolean() || !request->is_string())
    return std::nullopt;
  Record record;
  record.epoch = {(*epoch)[0].get<uint32_t>(), NodeId((*epoch)[1].get<uint16_t>())};
  if (!is(*owner, UINT16_MAX) || NodeId(owner->get<uint16_t>()) != record.epoch.node) return std::nullopt;
  for (const Json& node : *in_sync) {
    if (!is(node, UINT16_MAX)) return std::nullopt;
    if (NodeId(node.get<uint16_t>()) != record.epoch.node) record.standby = NodeId(node.get<uint16_t>());
  }
  record.released = released->get<bool>();
  record.request = request->get<std::string>();
  if (record.request.size() > kRequestMax) return std::nullopt;
  return record;
}

std::string range_request(std::string_view key) {
  return Json{{"key", base64(key)}}.dump();
}

std::string swap_request(std::string_view key, int64_t revision, std::string_view value) {
  const std::string name = base64(key);
  return Json{
      {"compare",
       {{{"key", name}, {"target", "MOD"}, {"result", "EQUAL"}, {"mod_revision", std::to_string(revision)}}}},
      {"success", {{{"request_put", {{"key", name}, {"value", base64(value)}}}}}},
      {"failure", {{{"request_range", {{"key", name}}}}}}}
      .dump();
}

Result<Answer> parse_range_answer(int status, std::string_view body, std::string_view key) {
  const auto json = parse(status, body);
  if (!json) return json.error();
  const Json* header = object(json.value(), "header");
  const auto cluster = header == nullptr ? std::nullopt : number(*header, "cluster_id");
  if (!cluster) return bad("no cluster id");
  Answer answer{.cluster = static_cast<uint64_t>(*cluster), .value = {}};
  if (const auto fault = take_range(json.value(), key, answer)) return bad(*fault);
  return answer;
}

Result<Answer> parse_swap_answer(int status, std::string_view body, std::string_view key) {
  const auto json = parse(status, body);
  if (!json) return json.error();
  const Json* header = object(json.value(), "header");
  const auto cluster = header == nullptr ? std::nullopt : number(*header, "cluster_id");
  const auto revision = header == nullptr ? std::nullopt : number(*header, "revision");
  if (!cluster || !revision || *revision <= 0) return bad("no cluster id or no revision");
  Answer answer{.cluster = static_cast<uint64_t>(*cluster), .value = {}};
  const auto succeeded = json.value().find("succeeded");
  answer.swapped = succeeded != json.value().end() && succeeded->is_boolean() && succeeded->get<bool>();
  const auto responses = json.value().find("responses");
  const bool has_one = responses != json.value().end() && responses->is_array() && responses->size() == 1 &&
                       (*responses)[0].is_object();
  if (!has_one) return bad("not one response");
  if (answer.swapped) {
    if (object((*responses)[0], "response_put") == nullptr) return bad("no response to the put");
    answer.revision = *revision;
    return answer;
  }
  const Json* range = object((*responses)[0], "response_range");
  if (range == nullptr) return bad("no response to the read");
  if (const auto fault = take_range(*range, key, answer)) return bad(*fault);
  return answer;
}

}  // namespace understudy::etcd
