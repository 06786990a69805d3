#include <algorithm>

#include <fmt/format.h>

#include "control/console/commands.h"

namespace understudy::console {
namespace {

Json to_json(const PortView& port) {
  return {{"name", port.name},
          {"device", port.device},
          {"roles", port.roles},
          {"mac", port.mac.to_string()},
          {"link_up", port.link_up},
          {"mtu", port.mtu},
          {"rx_frames", port.received_frames},
          {"rx_bytes", port.received_bytes},
          {"rx_missed", port.receive_missed},
          {"rx_dropped", port.receive_dropped},
          {"tx_frames", port.transmitted_frames},
          {"tx_bytes", port.transmitted_bytes},
          {"tx_dropped", port.transmit_dropped},
          {"rx_frames_per_second", optional_json(port.receive_frames_per_second)},
          {"rx_bits_per_second", optional_json(port.receive_bits_per_second)},
          {"tx_frames_per_second", optional_json(port.transmit_frames_per_second)},
          {"tx_bits_per_second", optional_json(port.transmit_bits_per_second)}};
}

std::string rate_text(const std::optional<uint64_t>& rate) {
  return rate ? std::to_string(*rate) : "-";
}

// The layout of testpmd's statistics, which people who run DPDK programs read at a glance.
std::string to_text(const PortView& port) {
  return fmt::format(
      "  ######################## NIC statistics for port {} ########################\n"
      "  {} ({}), MAC {}, MTU {}, link {}\n"
      "  RX-packets: {:<12} RX-missed: {:<12} RX-dropped: {:<12} RX-bytes: {}\n"
      "  TX-packets: {:<12} TX-dropped: {:<35} TX-bytes: {}\n"
      "\n"
      "  Throughput (over the last second)\n"
      "  Rx-pps: {:>14}          Rx-bps: {:>14}\n"
      "  Tx-pps: {:>14}          Tx-bps: {:>14}\n"
      "  ###########################################################################\n",
      port.name, port.device, port.roles, port.mac.to_string(), port.mtu, port.link_up ? "up" : "DOWN",
      port.received_frames, port.receive_missed, port.receive_dropped, port.received_bytes,
      port.transmitted_frames, port.transmit_dropped, port.transmitted_bytes,
      rate_text(port.receive_frames_per_second), rate_text(port.receive_bits_per_second),
      rate_text(port.transmit_frames_per_second), rate_text(port.transmit_bits_per_second));
}

std::vector<std::string> port_names(Source& source) {
  std::vector<std::string> names;
  for (const PortView& port : source.ports()) names.push_back(port.name);
  return names;
}

void show(Source& source, const std::string& wanted, Output& out) {
  Json list = Json::array();
  std::string text;
  for (const PortView& port : source.ports()) {
    if (wanted != "all" && port.name != wanted) continue;
    list.push_back(to_json(port));
    if (!text.empty()) text += "\n";
    text += to_text(port);
  }
  if (list.empty() && wanted != "all")
    out.fail(
        fmt::format("there is no port `{}`; this node has: {}", wanted, joined(port_names(source), ", ")));
  else if (out.format() == Format::json)
    out.put_json(Json{{"ports", list}});
  else
    out.put(text);
}

}  // namespace

void add_show_port(CommandTable& table, Source& source) {
  const auto choices = [&source] {
    auto names = port_names(source);
    names.insert(names.begin(), "all");
    return names;
  };
  table.add(
      {"show port stats PORT",
       "frames and bytes of one port by its name, or of `all`",
       {{"PORT", Parameter::Kind::text, "a port's name or `all`", choices}},
       [&source](const Arguments& arguments, Output& out) { show(source, *arguments.text("PORT"), out); }});
}

}  // namespace understudy::console
