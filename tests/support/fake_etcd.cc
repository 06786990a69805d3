#include "tests/support/fake_etcd.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace understudy::etcd {

using Json = nlohmann::json;

std::pair<int, std::string> FakeEtcd::execute(const std::string& path, const std::string& body) {
  const Json request = Json::parse(body);
  const auto range = [&](const std::string& key) {
    Json answer = Json::object();
    if (const auto found = keys_.find(*from_base64(key)); found != keys_.end()) {
      answer["kvs"] = Json::array({{{"key", key},
                                    {"mod_revision", std::to_string(found->second.revision)},
                                    {"value", base64(found->second.bytes)}}});
      answer["count"] = "1";
    }
    return answer;
  };
  Json answer;
  if (path == kRangePath) {
    answer = range(request["key"]);
  } else {
    const Json& compare = request["compare"][0];
    const auto found = keys_.find(*from_base64(compare["key"].get<std::string>()));
    const int64_t revision = found == keys_.end() ? 0 : found->second.revision;
    if (std::to_string(revision) == compare["mod_revision"].get<std::string>()) {
      const Json& put = request["success"][0]["request_put"];
      keys_[*from_base64(put["key"].get<std::string>())] = {*from_base64(put["value"].get<std::string>()),
                                                            ++revision_};
      answer["succeeded"] = true;
      answer["responses"] = Json::array({{{"response_put", Json::object()}}});
    } else {
      answer["responses"] =
          Json::array({{{"response_range", range(request["failure"][0]["request_range"]["key"])}}});
    }
  }
  answer["header"] = {{"cluster_id", std::to_string(cluster)}, {"revision", std::to_string(revision_)}};
  return {200, answer.dump()};
}

std::optional<Record> FakeEtcd::record(const std::string& key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? std::nullopt : decode_record(found->second.bytes);
}

class EtcdNetwork::Way final : public Transport {
 public:
  Way(EtcdNetwork& network, size_t node) : network_(network), node_(node) {}
  size_t endpoints() const override { return 1; }
  const std::string& name(size_t) const override { return name_; }
  void gather() override {}
  std::vector<Reply> take_replies() override { return std::exchange(*replies_, {}); }
  bool has_replies() const override { return !replies_->empty(); }

  void post(uint64_t call, size_t, const char* path, std::string body, Duration timeout) override {
    ++network_.calls_[node_];
    Random& random = network_.random_;
    const EtcdWay& way = network_.ways[node_];
    const Instant sent = network_.now_;
    const auto delay = [&] {
      return way.delay_least +
             Duration(random.below(static_cast<uint32_t>((way.delay_most - way.delay_least).count()) + 1));
    };
    auto answered = std::make_shared<bool>(false);
    const auto answer = [replies = replies_, answered](Reply reply) {
      if (!std::exchange(*answered, true)) replies->push_back(std::move(reply));
    };
    if (way.refuses) return answer({.call = call, .body = {}, .error = "connection refused", .left = false});
    network_.due_.push_back(
        {sent + timeout, [=] { answer({.call = call, .body = {}, .error = "timed out", .left = true}); }});
    if (way.cut || random.below(100) < way.request_loss) return;
    Duration there = delay();
    if (random.below(100) < way.late) there = Duration(random.below(400'000'000));
    const bool lost = random.below(100) < way.answer_loss;
    const Duration back = delay();
    EtcdNetwork* network = &network_;
    const size_t node = node_;
    network_.due_.push_back(
        {sent + there, [=, path = std::string(path), body = std::move(body)] {
           std::pair<int, std::string> said = network->etcd.execute(path, body);
           if (network->ways[node].lie) said = network->ways[node].lie(said);
           if (lost) return;
           network->due_.push_back(
               {network->now_ + back,
                [=] { answer({.call = call, .status = said.first, .body = said.second, .error = {}}); }});
         }});
  }

 private:
  EtcdNetwork& network_;
  size_t node_;
  std::string name_ = "http://etcd:2379";
  std::shared_ptr<std::vector<Reply>> replies_ = std::make_shared<std::vector<Reply>>();
};

std::unique_ptr<Transport> EtcdNetwork::connect(size_t node) {
  calls_[node] = 0;
  return std::make_unique<Way>(*this, node);
}

uint64_t EtcdNetwork::calls(size_t node) const {
  const auto found = calls_.find(node);
  return found == calls_.end() ? 0 : found->second;
}

// What is done makes more to do, later.
void EtcdNetwork::run(Instant now) {
  now_ = now;
  for (size_t i = 0; i < due_.size();) {
    if (due_[i].when > now) {
      ++i;
      continue;
    }
    const Due due = std::move(due_[i]);
    due_.erase(due_.begin() + static_cast<ptrdiff_t>(i));
    due.then();
    i = 0;
  }
}

Instant EtcdNetwork::next_due() const {
  Instant next = kNever;
  for (const Due& due : due_) next = std::min(next, due.when);
  return next;
}

}  // namespace understudy::etcd
