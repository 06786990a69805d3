#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

#include "control/config/quantity.h"
#include "control/config/sections.h"

namespace understudy::config {
namespace {

constexpr std::array kArpWords = {Word<ArpPolicy>{"virtual_mac", ArpPolicy::virtual_mac},
                                  Word<ArpPolicy>{"gratuitous", ArpPolicy::gratuitous}};
constexpr std::array kFailoverWords = {
    Word<FailoverPolicy>{"successor_order", FailoverPolicy::successor_order},
    Word<FailoverPolicy>{"none", FailoverPolicy::none}};
constexpr std::array kFailbackWords = {Word<Failback>{"never", Failback::never},
                                       Word<Failback>{"manual", Failback::manual},
                                       Word<Failback>{"when_synced", Failback::when_synced},
                                       Word<Failback>{"new_connections", Failback::new_connections}};
constexpr std::array kApplicationWords = {Word<ApplicationKind>{"proxy", ApplicationKind::proxy},
                                          Word<ApplicationKind>{"echo", ApplicationKind::echo},
                                          Word<ApplicationKind>{"discard", ApplicationKind::discard},
                                          Word<ApplicationKind>{"tally", ApplicationKind::tally}};

void read_check(Reading& reading, const Value& value, const std::string& path, CheckConfig& check) {
  Fields fields(reading, value, path, "a check");
  fields.duration("interval", check.interval, {10ms, 1h});
  fields.duration("timeout", check.timeout, {1ms, 1h});
  fields.number("rise", check.rise, {1, 1000}, Need::optional);
  fields.number("fall", check.fall, {1, 1000}, Need::optional);
  fields.port("port", check.port);
  fields.finish();
}

void read_backend(Reading& reading, const Value& value, const std::string& path, PoolConfig& pool) {
  BackendConfig backend;
  backend.mark = value.mark;
  Fields fields(reading, value, path, fmt::format("a backend of pool `{}`", pool.name));
  fields.text("name", backend.name, Need::required);
  fields.address("address", backend.address, Need::required);
  fields.port("port", backend.port);
  fields.number("weight", backend.weight, {1, 256}, Need::optional);
  fields.finish();
  pool.backends.push_back(std::move(backend));
}

void read_pool(Reading& reading, const Value& value, size_t index, Config& config) {
  PoolConfig pool;
  pool.mark = value.mark;
  pool.id = PoolId(static_cast<uint16_t>(index));
  const std::string path = fmt::format("pools[{}]", index);
  Fields fields(reading, value, path, "a pool");
  fields.text("name", pool.name, Need::required);
  if (const Value* check = fields.mapping("check", Need::optional))
    read_check(reading, *check, path + ".check", pool.check);
  const auto backends = fields.list("backends", Need::required);
  for (size_t i = 0; i < backends.size(); ++i)
    read_backend(reading, backends[i], fmt::format("{}.backends[{}]", path, i), pool);
  fields.finish();
  config.pools.push_back(std::move(pool));
}

// 80 or 19000-19099
void read_port_range(Fields& fields, ServiceConfig& service) {
  const Value* value = fields.scalar("ports", Need::required);
  if (value == nullptr) return;
  const std::string_view text = value->text;
  const size_t dash = text.find('-');
  const auto first = parse_number(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_number(text.substr(dash + 1));
  const auto fits = [](const std::optional<uint64_t>& port) { return port && *port >= 1 && *port <= 65535; };
  if (!fits(first) || !fits(last) || *first > *last) {
    fields.fault(*value,
                 fmt::format("`{}` is not a port or a range of ports; write 80 or 19000-19099, each from "
                             "1 to 65535",
                             text));
    return;
  }
  service.first_port = PortNumber(static_cast<uint16_t>(*first));
  service.last_port = PortNumber(static_cast<uint16_t>(*last));
}

void read_service_pool(Reading& reading, Fields& fields, const Config& config, ServiceConfig& service,
                       const Value& whole) {
  const bool is_proxy = service.application == ApplicationKind::proxy;
  const Value* value = fields.scalar("pool", Need::optional);
  if (value == nullptr) {
    if (is_proxy)
      reading.faults.add(whole.mark,
                         fmt::format("service `{}` is a proxy and names no `pool`; say which backends "
                                     "it sends to",
                                     service.name));
    return;
  }
  if (!is_proxy) {
    fields.fault(*value, fmt::format("service `{}` is no proxy and takes no `pool`; remove the key or set "
                                     "`application: proxy`",
                                     service.name));
    return;
  }
  std::vector<std::string_view> known;
  for (const PoolConfig& pool : config.pools) {
    if (pool.name == value->text) {
      service.pool = pool.id;
      return;
    }
    known.push_back(pool.name);
  }
  const std::string_view meant = nearest(value->text, known);
  fields.fault(*value, meant.empty()
                           ? fmt::format("there is no pool `{}`; define it under `pools`", value->text)
                           : fmt::format("there is no pool `{}`; did you mean `{}`?", value->text, meant));
}

void read_keepalive(Reading& reading, const Value& value, const std::string& path, ServiceConfig& service) {
  KeepaliveConfig& keepalive = service.keepalive.emplace();
  Fields fields(reading, value, path, fmt::format("the keep-alive of service `{}`", service.name));
  fields.duration("idle", keepalive.idle, {1s, 18h});
  fields.duration("interval", keepalive.interval, {1s, 1h});
  fields.number("probes", keepalive.probes, {2, 15},
                Need::optional);  // one may get lost (RFC 9293, MUST-29)
  fields.finish();
  if (keepalive.idle >= service.idle_timeout)
    fields.fault(
        value, fmt::format("the keep-alive of service `{}` would begin after {}, but its `idle_timeout` "
                           "ends an idle connection after {}; shorten `idle` or lengthen `idle_timeout`",
                           service.name, duration_text(keepalive.idle), duration_text(service.idle_timeout)));
}

void read_service(Reading& reading, const Value& value, const std::string& path, Config& config,
                  GroupConfig& group, size_t& services_so_far) {
  ServiceConfig service;
  service.mark = value.mark;
  service.id = ServiceId(static_cast<uint16_t>(services_so_far++));
  Fields fields(reading, value, path, fmt::format("a service of group `{}`", group.name));
  fields.text("name", service.name, Need::required);
  read_port_range(fields, service);
  if (fields.choice<ApplicationKind>("application", service.application, kApplicationWords, Need::required)) {
    read_service_pool(reading, fields, config, service, value);
  } else {
    fields.find("pool", Need::optional);  // whether it belongs here depends on the application
  }
  fields.boolean("protect", service.protect);
  fields.duration("idle_timeout", service.idle_timeout, {1s, 24 * 7 * 1h});
  if (const Value* keepalive = fields.mapping("keepalive", Need::optional))
    read_keepalive(reading, *keepalive, path + ".keepalive", service);
  fields.number("dscp", service.dscp, {0, 63}, Need::optional);
  fields.duration("connect_timeout", service.connect_timeout, {100ms, 3min});
  fields.duration("user_timeout", service.user_timeout, {1s, 24h});
  fields.finish();
  group.services.push_back(std::move(service));
}

void read_successors(Reading& reading, Fields& fields, const Config& config, GroupConfig& group) {
  std::vector<std::string_view> known;
  for (const NodeConfig& node : config.nodes) known.push_back(node.name);
  std::set<std::string> seen;
  for (const Value& item : fields.list("successors", Need::required)) {
    const NodeConfig* node = item.kind == Value::Kind::scalar ? config.find_node(item.text) : nullptr;
    group.successors.push_back(node != nullptr ? node->id : NodeId());
    if (node != nullptr) {
      if (!seen.insert(item.text).second)
        reading.faults.add(item.mark,
                           fmt::format("node `{}` stands in the list already; remove one", item.text));
      continue;
    }
    const std::string_view meant = nearest(item.text, known);
    reading.faults.add(
        item.mark,
        meant.empty()
            ? fmt::format("there is no node {}; list names that stand under `nodes`", describe(item))
            : fmt::format("there is no node {}; did you mean `{}`?", describe(item), meant));
  }
}

void read_mac(Fields& fields, GroupConfig& group) {
  const Value* value =
      fields.scalar("mac", group.arp == ArpPolicy::virtual_mac ? Need::required : Need::optional);
  if (value == nullptr) return;
  const auto mac = MacAddress::parse(value->text);
  if (!mac)
    fields.fault(*value,
                 fmt::format("`{}` is not a MAC address; write six hex pairs, as in \"02:55:53:00:00:01\"",
                             value->text));
  else if (mac->is_multicast())
    fields.fault(*value,
                 fmt::format("`{}` is a multicast address; make the first byte even, best 02", value->text));
  else if (mac->is_zero())
    fields.fault(*value, "the MAC address is all zeros; give one of your own, as in \"02:55:53:00:00:01\"");
  else
    group.mac = *mac;
}

std::vector<Prefix> read_prefixes(Reading& reading, Fields& fields, std::string_view key, Need need) {
  std::vector<Prefix> prefixes;
  for (const Value& item : fields.list(key, need))
    prefixes.push_back(read_host_prefix(reading, item).value_or(Prefix{}));
  return prefixes;
}

void read_group(Reading& reading, const Value& value, size_t index, Config& config, size_t& services_so_far) {
  GroupConfig group;
  group.mark = value.mark;
  const std::string path = fmt::format("groups[{}]", index);
  Fields fields(reading, value, path, "a group");
  fields.text("name", group.name, Need::required);
  uint64_t id = 0;
  fields.number("id", id, {1, 65535}, Need::required);
  group.id = GroupId(static_cast<uint16_t>(id));
  fields.choice<ArpPolicy>("arp", group.arp, kArpWords);
  read_mac(fields, group);
  group.virtual_ips = read_prefixes(reading, fields, "virtual_ips", Need::required);
  group.source_addresses = read_prefixes(reading, fields, "source_addresses", Need::optional);
  read_successors(reading, fields, config, group);
  fields.choice<FailoverPolicy>("failover", group.failover, kFailoverWords);
  fields.choice<Failback>("failback", group.failback, kFailbackWords);
  fields.boolean("accept_unprotected", group.accept_unprotected);
  const auto services = fields.list("services", Need::required);
  for (size_t i = 0; i < services.size(); ++i)
    read_service(reading, services[i], fmt::format("{}.services[{}]", path, i), config, group,
                 services_so_far);
  fields.finish();
  config.groups.push_back(std::move(group));
}

}  // namespace

void read_pools(Reading& reading, std::span<const Value> list, Config& config) {
  for (size_t i = 0; i < list.size(); ++i) read_pool(reading, list[i], i, config);
}

void read_groups(Reading& reading, std::span<const Value> list, Config& config) {
  size_t services_so_far = 0;
  for (size_t i = 0; i < list.size(); ++i) read_group(reading, list[i], i, config, services_so_far);
}

}  // namespace understudy::config
