#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/config/quantity.h"
#include "control/config/sections.h"

// The section `cluster.etcd`: where the arbiter `etcd` is.

namespace understudy::config {
namespace {

constexpr size_t kEndpointsMost = 16;
constexpr size_t kPrefixMost = 128;
constexpr size_t kNodesMost = 16;
// Of requests within a lease: one that fails, and one more.
constexpr int kRequestsInLease = 2;

bool is_host(std::string_view host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    const auto address = IpAddress::parse(std::string(host.substr(1, host.size() - 2)));
    return address && !address->is_v4();
  }
  return !host.empty() && std::ranges::all_of(host, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
  });
}

// https://etcd1.example:2379, http://[fd00::1]:2379
bool is_endpoint(std::string_view text) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!text.starts_with(scheme)) continue;
    const std::string_view rest = text.substr(scheme.size());
    const size_t colon = rest.rfind(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view digits = rest.substr(colon + 1);
    uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    return error == std::errc() && end == digits.data() + digits.size() && port != 0 &&
           is_host(rest.substr(0, colon));
  }
  return false;
}

bool is_tls(const std::string& endpoint) {
  return endpoint.starts_with("https://");
}

void read_endpoints(Reading& reading, Fields& fields, EtcdConfig& etcd) {
  const auto list = fields.list("endpoints", Need::required);
  if (list.size() > kEndpointsMost)
    reading.faults.add(list[kEndpointsMost].mark,
                       fmt::format("more than {} endpoints are of no use; remove some", kEndpointsMost));
  for (const Value& item : list) {
    if (item.kind != Value::Kind::scalar || !is_endpoint(item.text))
      reading.faults.add(item.mark, fmt::format("`{}` is no endpoint of etcd; write its scheme, host and "
                                                "port, as in \"https://etcd1.example:2379\"",
                                                item.text));
    else if (std::ranges::find(etcd.endpoints, item.text) != etcd.endpoints.end())
      reading.faults.add(item.mark, fmt::format("`{}` is listed twice; remove one", item.text));
    else
      etcd.endpoints.push_back(item.text);
  }
}

void read_prefix(Fields& fields, EtcdConfig& etcd) {
  const Value* prefix = fields.scalar("prefix", Need::optional);
  if (prefix == nullptr) return;
  const bool is_plain = std::ranges::all_of(prefix->text, [](unsigned char c) {
    return std::isalnum(c) != 0 || std::strchr("-_./", c) != nullptr;
  });
  if (!is_plain || prefix->text.empty() || prefix->text.size() > kPrefixMost)
    fields.fault(*prefix,
                 fmt::format("`{}` cannot begin the names of keys; use up to {} letters, digits, `-`, "
                             "`_`, `.` and `/`, as in understudy/",
                             prefix->text, kPrefixMost));
  else
    etcd.prefix = prefix->text;
}

// As etcd and its tools show it: etcdctl's JSON and the gateway in decimal, etcd's log and tables in
// hexadecimal.
std::optional<uint64_t> cluster_id_of(std::string_view text) {
  const bool has_prefix = text.starts_with("0x") || text.starts_with("0X");
  if (has_prefix) text.remove_prefix(2);
  const bool is_decimal =
      !has_prefix && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, is_decimal ? 10 : 16);
  if (error != std::errc() || end != text.data() + text.size() || id == 0) return std::nullopt;
  return id;
}

void read_cluster_id(Fields& fields, EtcdConfig& etcd) {
  const Value* value = fields.scalar("cluster_id", Need::optional);
  if (value == nullptr) return;
  etcd.cluster_id = cluster_id_of(value->text);
  if (!etcd.cluster_id)
    fields.fault(
        *value, fmt::format("`{}` is no id of an etcd cluster; write it as `etcdctl endpoint status -w json` "
                            "shows `cluster_id` (14841639068965178418), or in hexadecimal as etcd's log does "
                            "(0xcdf818194e3a8c32)",
                            value->text));
}

// Beside the configuration, unless its path is absolute.
void read_tls_file(Reading& reading, Fields& fields, const char* key, const std::string& config_file,
                   std::string& into) {
  const Value* value = fields.scalar(key, Need::optional);
  if (value == nullptr) return;
  into = (std::filesystem::path(config_file).parent_path() / value->text).string();
  struct stat status {};
  std::string why;
  if (value->text.empty() || stat(into.c_str(), &status) != 0 || access(into.c_str(), R_OK) != 0)
    why = value->text.empty() ? "no name" : std::strerror(errno);
  else if (!S_ISREG(status.st_mode))
    why = "not a regular file";
  if (!why.empty())
    reading.faults.add(value->mark,
                       fmt::format("the {} {} cannot be read: {}; name one in PEM format", key, into, why));
}

void check_tls(Reading& reading, const EtcdConfig& etcd) {
  const auto fault = [&](const std::string& field, const std::string& sentence) {
    reading.faults.add(reading.places.at("cluster.etcd." + field), sentence);
  };
  if (etcd.certificate_file.empty() != etcd.key_file.empty())
    fault(etcd.key_file.empty() ? "certificate_file" : "key_file",
          "this node shows itself to etcd with a certificate and its key; give both `certificate_file` and "
          "`key_file`, or neither");
  const bool has_files = !etcd.ca_file.empty() || !etcd.certificate_file.empty() || !etcd.key_file.empty();
  for (size_t i = 0; i < etcd.endpoints.size() && has_files; ++i)
    if (!is_tls(etcd.endpoints[i]))
      fault(fmt::format("endpoints[{}]", i),
            fmt::format("`{}` is spoken to without TLS, and yet there are files for it; write https:// or "
                        "remove the files",
                        etcd.endpoints[i]));
}

}  // namespace

void read_etcd(Reading& reading, const Value& value, const std::string& config_file, ClusterConfig& cluster) {
  EtcdConfig& etcd = cluster.etcd.emplace();
  Fields fields(reading, value, "cluster.etcd", "etcd");
  read_endpoints(reading, fields, etcd);
  read_prefix(fields, etcd);
  fields.duration("timeout", etcd.timeout, {1ms, 10s});
  read_cluster_id(fields, etcd);
  read_tls_file(reading, fields, "ca_file", config_file, etcd.ca_file);
  read_tls_file(reading, fields, "certificate_file", config_file, etcd.certificate_file);
  read_tls_file(reading, fields, "key_file", config_file, etcd.key_file);
  fields.finish();
}

void validate_etcd(Reading& reading, const Config& config) {
  const ClusterConfig& cluster = config.cluster;
  const size_t nodes = config.nodes.size();
  if (nodes < 2 || nodes > kNodesMost)
    reading.faults.add(
        reading.places.at("cluster.arbiter"),
        fmt::format("`arbiter: etcd` decides between 2 to {} nodes, and there {} {}; {}", kNodesMost,
                    nodes == 1 ? "is" : "are", nodes, nodes < 2 ? "choose `none`" : "remove some"));
  if (!cluster.etcd) {
    reading.faults.add(reading.places.at("cluster.arbiter"),
                       "`arbiter: etcd` needs to know where etcd is; add `etcd: {endpoints: "
                       "[\"http://10.30.0.1:2379\"]}` to the cluster");
    return;
  }
  check_tls(reading, *cluster.etcd);
  const Duration lease = cluster.lease_length(), timeout = cluster.etcd_timeout();
  if (kRequestsInLease * timeout > lease)
    reading.faults.add(
        reading.places.at("cluster.etcd.timeout"),
        fmt::format(
            "a request to etcd is given up after {}, and an owner that nobody echoes has to be "
            "confirmed within its lease of {}: one lost answer would silence it; shorten `timeout` to {} "
            "or lengthen `lease`",
            duration_text(timeout), duration_text(lease),
            duration_text(std::chrono::duration_cast<std::chrono::milliseconds>(lease / kRequestsInLease))));
}

}  // namespace understudy::config
