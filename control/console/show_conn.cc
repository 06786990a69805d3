#include <algorithm>

#include <fmt/format.h>

#include "control/console/commands.h"

namespace understudy::console {
namespace {

Json key_json(const FlowKey& key) {
  return {{"local", key.local.to_string()},
          {"local_port", key.local_port.value()},
          {"remote", key.remote.to_string()},
          {"remote_port", key.remote_port.value()}};
}

Json to_json(const ConnectionsView& view) {
  Json list = Json::array();
  for (const ConnectionView& connection : view.connections)
    list.push_back({{"key", key_json(connection.key)},
                    {"state", connection.state},
                    {"service", connection.service},
                    {"group", connection.group},
                    {"protected", connection.is_protected},
                    {"partner", connection.partner ? key_json(*connection.partner) : Json(nullptr)},
                    {"bytes_held", connection.bytes_held},
                    {"rtt_us", span_json(connection.rtt)},
                    {"cwnd_bytes", connection.congestion_window}});
  return {{"total", view.total}, {"shown", view.connections.size()}, {"connections", list}};
}

std::string to_text(const ConnectionsView& view) {
  TextTable table({{"REMOTE"},
                   {"LOCAL"},
                   {"STATE"},
                   {"GROUP"},
                   {"SERVICE"},
                   {"PROTECTED"},
                   {"HELD", Align::right},
                   {"RTT", Align::right},
                   {"CWND", Align::right},
                   {"PARTNER"}});
  for (const ConnectionView& connection : view.connections) {
    const FlowKey& key = connection.key;
    const auto& partner = connection.partner;
    table.row({with_port(key.remote, key.remote_port), with_port(key.local, key.local_port), connection.state,
               connection.group, connection.service, connection.is_protected ? "yes" : "no",
               std::to_string(connection.bytes_held), span_text(connection.rtt),
               connection.congestion_window == 0 ? "-" : std::to_string(connection.congestion_window),
               partner ? fmt::format("{} from {}", with_port(partner->remote, partner->remote_port),
                                     with_port(partner->local, partner->local_port))
                       : "-"});
  }
  std::string text = view.connections.empty() ? "" : table.to_string();
  text += fmt::format("{} of {} connections shown\n", view.connections.size(), view.total);
  return text;
}

std::vector<std::string> group_names(Source& source) {
  std::vector<std::string> names;
  for (const GroupView& group : source.cluster().groups) names.push_back(group.name);
  return names;
}

void show(Source& source, const Arguments& arguments, Output& out) {
  ConnectionFilter filter;
  filter.group = arguments.text("GROUP");
  filter.limit = arguments.number("COUNT").value_or(filter.limit);
  if (filter.group) {
    const auto names = group_names(source);
    if (std::find(names.begin(), names.end(), *filter.group) == names.end()) {
      out.fail(
          fmt::format("there is no group `{}`; this node knows: {}", *filter.group, joined(names, ", ")));
      return;
    }
  }
  const ConnectionsView view = source.connections(filter);
  if (out.format() == Format::json)
    out.put_json(to_json(view));
  else
    out.put(to_text(view));
}

}  // namespace

void add_show_conn(CommandTable& table, Source& source) {
  table.add({"show conn [group GROUP] [limit COUNT]",
             "connections (legs), 100 unless a limit is given",
             {{"GROUP", Parameter::Kind::text, "a group's name", [&source] { return group_names(source); }},
              {"COUNT", Parameter::Kind::number, "how many at most", {}}},
             [&source](const Arguments& arguments, Output& out) { show(source, arguments, out); }});
}

}  // namespace understudy::console
