#include "control/etcd/own_cluster.h"

#include <charconv>
#include <string_view>

#include <fmt/format.h>

namespace understudy::etcd {
namespace {

constexpr std::string_view kWord = "etcd cluster_id 0x";
constexpr size_t kDigits = 16;

}  // namespace

std::vector<uint8_t> encode_cluster_id(uint64_t id) {
  const std::string line = fmt::format("{}{:016x}\n", kWord, id);
  return {line.begin(), line.end()};
}

std::optional<uint64_t> decode_cluster_id(std::span<const uint8_t> bytes) {
  if (bytes.size() != kWord.size() + kDigits + 1) return std::nullopt;
  const std::string line(bytes.begin(), bytes.end());
  uint64_t id = 0;
  const char* digits = line.data() + kWord.size();
  const auto [end, error] = std::from_chars(digits, digits + kDigits, id, 16);
  if (error != std::errc() || end != digits + kDigits) return std::nullopt;
  // Capitals, for example, are somebody else's.
  const auto again = encode_cluster_id(id);
  return std::equal(bytes.begin(), bytes.end(), again.begin(), again.end()) ? std::optional(id)
                                                                            : std::nullopt;
}

OwnCluster::OwnCluster(Settings settings)
    : settings_(std::move(settings)), is_kept_(settings_.id.has_value()) {}

std::optional<std::string> OwnCluster::objection(uint64_t answering) const {
  if (!settings_.id || *settings_.id == answering) return std::nullopt;
  const std::string differs =
      fmt::format("it belongs to etcd cluster {:#x}, and this node to {:#x}", answering, *settings_.id);
  if (settings_.is_configured)
    return fmt::format(
        "{}, as cluster.etcd.cluster_id says; correct the endpoint, or stop all nodes and "
        "correct that id",
        differs);
  return fmt::format(
      "{}, which was the first to answer it; correct the endpoint, or, if etcd was set up "
      "anew, stop all nodes and remove {} of each",
      differs, settings_.kept_in);
}

void OwnCluster::accept(uint64_t answering, cluster::Actions& actions) {
  if (settings_.id) return;
  settings_.id = answering;
  keep(actions);
}

void OwnCluster::keep(cluster::Actions& actions) {
  keep_again_ = kNever;
  actions.push_back(cluster::Keep{++sequence_, encode_cluster_id(*settings_.id)});
}

void OwnCluster::on_kept(uint64_t sequence, bool is_kept, Instant now, cluster::Actions& actions) {
  if (sequence != sequence_) return;
  is_kept_ = is_kept;
  if (!is_kept) keep_again_ = now + settings_.keep_again;
  if (is_kept && has_failed_)
    actions.push_back(
        cluster::Event{LogLevel::notice, "to which etcd cluster this node belongs is on disk now"});
  if (!is_kept && !has_failed_) actions.push_back(cluster::Event{LogLevel::error, *obstacle()});
  has_failed_ = !is_kept;
}

void OwnCluster::tick(Instant now, cluster::Actions& actions) {
  if (now >= keep_again_) keep(actions);
}

std::optional<std::string> OwnCluster::obstacle() const {
  if (is_kept_) return std::nullopt;
  return fmt::format(
      "to which etcd cluster this node belongs is not in {} yet, and before that it claims "
      "nothing; see that the file can be written, or set cluster.etcd.cluster_id",
      settings_.kept_in);
}

}  // namespace understudy::etcd
