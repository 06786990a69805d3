#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "control/config/sections.h"

namespace understudy::config {
namespace {

constexpr std::array kIdleWords = {Word<Idle>{"poll", Idle::poll}, Word<Idle>{"adaptive", Idle::adaptive}};
constexpr std::array kHugepagesWords = {Word<Hugepages>{"automatic", Hugepages::automatic},
                                        Word<Hugepages>{"always", Hugepages::always},
                                        Word<Hugepages>{"never", Hugepages::never}};
constexpr uint64_t kMebibyte = 1U << 20;
constexpr uint64_t kCpusMax = 1024;

// 0000:03:00.0 or 03:00.0
bool is_pci_address(std::string_view text) {
  if (text.size() == 12) {
    if (text[4] != ':') return false;
    for (const char digit : text.substr(0, 4))
      if (!std::isxdigit(static_cast<unsigned char>(digit))) return false;
    text.remove_prefix(5);
  }
  const auto hex = [&](size_t i) { return std::isxdigit(static_cast<unsigned char>(text[i])) != 0; };
  return text.size() == 7 && hex(0) && hex(1) && text[2] == ':' && hex(3) && hex(4) && text[5] == '.' &&
         text[6] >= '0' && text[6] <= '7';
}

void read_roles(Reading& reading, Fields& fields, PortConfig& port) {
  for (const Value& role : fields.list("roles", Need::required)) {
    if (role.text == "front")
      port.front = true;
    else if (role.text == "back")
      port.back = true;
    else if (role.text == "peer")
      port.peer = true;
    else
      reading.faults.add(role.mark,
                         fmt::format("a role cannot be {}; choose from: front, back, peer", describe(role)));
  }
}

void read_fragments(Reading& reading, Fields& fields, PortConfig& port) {
  const Value* fragments = fields.scalar("fragments", Need::optional);
  if (fragments == nullptr) return;
  port.reassembles = fragments->text == "reassemble";
  if (!port.reassembles && fragments->text != "drop")
    reading.faults.add(fragments->mark, fmt::format("`fragments` cannot be {}; choose from: drop, reassemble",
                                                    describe(*fragments)));
}

// One address, or a list with one or more of each family. A faulty one leaves an unspecified prefix behind,
// so that nothing is concluded from what would be missing.
void read_port_addresses(Reading& reading, const Value& value, const std::string& path, PortConfig& port) {
  const bool is_list = value.kind == Value::Kind::list && value.items.size() != 1;
  const std::span<const Value> items = is_list ? std::span(value.items) : std::span(&value, 1);
  for (size_t i = 0; i < items.size(); ++i) {
    reading.places.record(fmt::format("{}[{}]", path, i), items[i].mark);
    port.addresses.push_back(read_host_prefix(reading, items[i]).value_or(Prefix()));
  }
  if (items.empty())
    reading.faults.add(value.mark, "`address` is an empty list; give one address, or leave the key out");
}

void read_port(Reading& reading, const Value& value, const std::string& path, NodeConfig& node) {
  PortConfig port;
  port.mark = value.mark;
  Fields fields(reading, value, path, fmt::format("a port of node `{}`", node.name));
  fields.text("name", port.name, Need::required);
  if (const Value* device = fields.scalar("device", Need::required)) {
    port.device = device->text;
    if (!is_pci_address(port.device) && !port.device.starts_with("net_"))
      fields.fault(*device,
                   fmt::format("`{}` is neither a PCI address (0000:03:00.0) nor a virtual device; for a "
                               "kernel interface write \"net_af_packet0,iface=NAME\"",
                               port.device));
  }
  read_roles(reading, fields, port);
  if (const Value* address = fields.find("address", Need::optional)) {
    read_port_addresses(reading, *address, path + ".address", port);
  } else if (port.front || port.back) {
    reading.faults.add(value.mark,
                       fmt::format("port `{}` of node `{}` has a front or back role and no `address`; "
                                   "give it the node's own address there, as in 10.10.0.11/24",
                                   port.name, node.name));
  }
  fields.number("mtu", port.mtu, {576, 9600}, Need::optional);
  fields.number("vlan", port.vlan, {1, 4094}, Need::optional);
  read_fragments(reading, fields, port);
  fields.finish();
  node.ports.push_back(std::move(port));
}

void read_cpus(Reading& reading, Fields& fields, NodeConfig& node) {
  const auto list = fields.list("cpus", Need::optional);
  for (const Value& item : list) {
    const auto [end, fault] = std::pair{item.text.find_first_not_of("0123456789"), item.text.size() > 4};
    const bool is_number = item.kind == Value::Kind::scalar && !item.text.empty() && end == std::string::npos;
    const uint64_t cpu = is_number && !fault ? std::stoul(item.text) : kCpusMax;
    if (cpu >= kCpusMax) {
      reading.faults.add(item.mark, fmt::format("{} is not the number of a processor; see `lscpu --extended`",
                                                describe(item)));
      continue;
    }
    if (std::find(node.cpus.begin(), node.cpus.end(), cpu) != node.cpus.end())
      reading.faults.add(item.mark, fmt::format("processor {} is listed twice; remove one", cpu));
    node.cpus.push_back(static_cast<unsigned>(cpu));
  }
  if (!list.empty() && list.size() < node.workers)
    reading.faults.add(
        list.front().mark,
        fmt::format("node `{}` has {} workers and only {} of `cpus`; list one for each worker, or "
                    "remove the key to run on any",
                    node.name, node.workers, list.size()));
}

void read_node(Reading& reading, const Value& value, size_t index, Config& config) {
  NodeConfig node;
  node.mark = value.mark;
  Fields fields(reading, value, fmt::format("nodes[{}]", index), "a node");
  fields.text("name", node.name, Need::required);
  uint64_t id = 0;
  fields.number("id", id, {1, 65535}, Need::required);
  node.id = NodeId(static_cast<uint16_t>(id));
  fields.number("workers", node.workers, {1, 128}, Need::optional);
  read_cpus(reading, fields, node);
  fields.choice<Idle>("idle", node.idle, kIdleWords);
  fields.choice<Hugepages>("hugepages", node.hugepages, kHugepagesWords);
  uint64_t memory = node.memory_mb * kMebibyte;
  fields.size("memory", memory, {32 * kMebibyte, kMebibyte * kMebibyte});
  node.memory_mb = static_cast<unsigned>(memory / kMebibyte);
  fields.number("connections", node.connections, {16, 100'000'000}, Need::optional);
  node.console_socket = fmt::format("/run/understudy/{}.sock", node.name);
  if (const Value* socket = fields.scalar("console_socket", Need::optional)) {
    node.console_socket = socket->text;
    constexpr size_t kPathMax = 107;  // sockaddr_un
    if (socket->text.empty() || socket->text.front() != '/' || socket->text.size() > kPathMax)
      fields.fault(*socket, fmt::format("`{}` cannot be a socket; give an absolute path of at most {} bytes",
                                        socket->text, kPathMax));
  }
  node.promises = fmt::format("/var/lib/understudy/{}.promises", node.name);
  if (const Value* promises = fields.scalar("promises", Need::optional)) {
    node.promises = promises->text;
    if (promises->text.empty() || promises->text.front() != '/')
      fields.fault(*promises, fmt::format("`{}` is no absolute path; name the file in which this node keeps "
                                          "what it promised as a member",
                                          promises->text));
  }
  const auto ports = fields.list("ports", Need::required);
  for (size_t i = 0; i < ports.size(); ++i)
    read_port(reading, ports[i], fmt::format("nodes[{}].ports[{}]", index, i), node);
  fields.finish();
  config.nodes.push_back(std::move(node));
}

}  // namespace

void read_nodes(Reading& reading, std::span<const Value> list, Config& config) {
  for (size_t i = 0; i < list.size(); ++i) read_node(reading, list[i], i, config);
}

}  // namespace understudy::config
