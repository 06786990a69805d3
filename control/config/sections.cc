#include "control/config/sections.h"

#include <array>
#include <charconv>

#include <fmt/format.h>

namespace understudy::config {
namespace {

constexpr std::array kArbiters = {Word<Arbiter>{"none", Arbiter::none},
                                  Word<Arbiter>{"members", Arbiter::members},
                                  Word<Arbiter>{"etcd", Arbiter::etcd}};

void read_heartbeat(Reading& reading, const Value& value, ClusterConfig& cluster) {
  Fields fields(reading, value, "cluster.heartbeat", "the heartbeat");
  fields.duration("interval", cluster.heartbeat_interval, {1ms, 10s});
  fields.number("misses", cluster.heartbeat_misses, {2, 1000}, Need::optional);
  fields.finish();
}

void read_cluster(Reading& reading, const Value& value, Config& config, SecretFiles& files) {
  ClusterConfig& cluster = config.cluster;
  Fields fields(reading, value, "cluster", "the cluster");
  fields.text("name", cluster.name, Need::required);
  fields.text("secret_file", files.sealing, Need::optional);
  fields.text("accept_secret_file", files.accepted, Need::optional);
  fields.choice<Arbiter>("arbiter", cluster.arbiter, kArbiters);
  if (const Value* heartbeat = fields.mapping("heartbeat", Need::optional))
    read_heartbeat(reading, *heartbeat, cluster);
  fields.duration("standby_timeout", cluster.standby_timeout, {5ms, 10s});
  fields.duration("in_sync_lease", cluster.in_sync_lease, {2ms, 10s});
  fields.duration("reset_hold", cluster.reset_hold, {0s, 10min});
  fields.duration("lease", cluster.lease, {5ms, 1min});
  fields.duration("cold_takeover_after", cluster.cold_takeover_after, {100ms, 1h});
  if (const Value* etcd = fields.mapping("etcd", Need::optional))
    read_etcd(reading, *etcd, config.file, cluster);
  fields.number("shards", cluster.shards, {1, 256}, Need::optional);
  fields.finish();
}

constexpr std::array kEcnWords = {Word<Ecn>{"off", Ecn::off}, Word<Ecn>{"accept", Ecn::accept},
                                  Word<Ecn>{"request", Ecn::request}};

void read_tcp(Reading& reading, const Value& value, TcpConfig& tcp) {
  Fields fields(reading, value, "tcp", "tcp");
  uint64_t buffer = tcp.receive_buffer;
  fields.size("receive_buffer", buffer, {4096, 1U << 30});
  tcp.receive_buffer = static_cast<uint32_t>(buffer);
  fields.choice<Ecn>("ecn", tcp.ecn, kEcnWords);
  fields.number("hop_limit", tcp.hop_limit, {1, 255}, Need::optional);
  fields.finish();
}

// "0.0.0.0:9464", "[::]:9464"
void read_metrics(Reading& reading, const Value& value, Config& config) {
  Fields fields(reading, value, "metrics", "the metrics");
  if (const Value* listen = fields.scalar("listen", Need::required)) {
    std::string_view text = listen->text;
    const size_t colon = text.rfind(':');
    std::string_view host = text.substr(0, colon);
    const bool in_brackets = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (in_brackets) host = host.substr(1, host.size() - 2);
    const auto address = IpAddress::parse(std::string(host));
    uint16_t port = 0;
    const std::string_view digits = colon == std::string_view::npos ? "" : text.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    const bool is_port = error == std::errc() && end == digits.data() + digits.size() && port != 0;
    if (!address || !is_port || address->is_v4() == in_brackets)
      fields.fault(*listen, fmt::format("`{}` is no address and port; write 127.0.0.1:9464 or \"[::1]:9464\"",
                                        listen->text));
    else
      config.metrics = MetricsConfig{*address, PortNumber(port), listen->mark};
  }
  fields.finish();
}

void read_route(Reading& reading, const Value& value, size_t index, Config& config) {
  Fields fields(reading, value, fmt::format("routes[{}]", index), "a route");
  RouteConfig route;
  route.mark = value.mark;
  const Value* to = fields.find("to", Need::required);
  const auto destination = to != nullptr ? read_network(reading, *to) : std::nullopt;
  fields.address("via", route.via, Need::required);
  if (destination && !route.via.is_unspecified() && destination->address.is_v4() != route.via.is_v4())
    fields.fault(*to, fmt::format("the gateway of `{}`, {}, is of the other family; name one that is {}",
                                  to->text, route.via.to_string(), route.via.is_v4() ? "IPv6" : "IPv4"));
  route.destination = destination.value_or(Prefix());
  fields.finish();
  config.routes.push_back(route);
}

}  // namespace

void read_sections(Reading& reading, const Value& document, Config& config, SecretFiles& files) {
  Fields fields(reading, document, "", "the file");
  if (const Value* cluster = fields.mapping("cluster", Need::required))
    read_cluster(reading, *cluster, config, files);
  if (const Value* tcp = fields.mapping("tcp", Need::optional)) read_tcp(reading, *tcp, config.tcp);
  if (const Value* metrics = fields.mapping("metrics", Need::optional))
    read_metrics(reading, *metrics, config);
  read_nodes(reading, fields.list("nodes", Need::required), config);
  const auto routes = fields.list("routes", Need::optional);
  for (size_t i = 0; i < routes.size(); ++i) read_route(reading, routes[i], i, config);
  read_pools(reading, fields.list("pools", Need::optional), config);
  read_groups(reading, fields.list("groups", Need::required), config);
  fields.finish();
}

}  // namespace understudy::config
