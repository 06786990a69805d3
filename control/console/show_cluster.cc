#include <fmt/format.h>

#include "control/console/commands.h"
#include "control/console/takeover.h"

namespace understudy::console {
namespace {

std::string_view name_of(StandbyState state) {
  switch (state) {
    case StandbyState::none:
      return "none";
    case StandbyState::syncing:
      return "syncing";
    case StandbyState::synced:
      return "synced";
    case StandbyState::stale:
      return "stale";
  }
  return "none";
}

std::string boot_text(BootId boot) {
  return fmt::format("{:016x}", boot.value());
}

Json peer_json(const PeerView& peer) {
  Json links = Json::array();
  for (const LinkView& link : peer.links)
    links.push_back({{"name", link.name}, {"quiet_us", span_json(link.quiet)}});
  return {{"id", peer.id.value()},
          {"name", peer.name},
          {"boot", boot_text(peer.boot)},
          {"state", peer.state},
          {"links", links}};
}

Json group_json(const GroupView& group) {
  Json virtual_ips = Json::array();
  for (const Prefix& prefix : group.virtual_ips) virtual_ips.push_back(prefix.to_string());
  return {{"id", group.id.value()},
          {"name", group.name},
          {"state", group.state},
          {"in_state_us", to_us(group.in_state)},
          {"why", group.why},
          {"epoch", {{"counter", group.epoch.counter}, {"node", group.epoch.node.value()}}},
          {"owner", group.owner},
          {"standby", group.standby},
          {"standby_state", name_of(group.standby_state)},
          {"protected", group.protected_legs},
          {"unprotected", group.unprotected_legs},
          {"virtual_ips", virtual_ips},
          {"arp", group.arp_policy},
          {"mac", group.mac.to_string()},
          {"last_takeover", group.last_takeover ? takeover_json(*group.last_takeover) : Json(nullptr)}};
}

Json to_json(const ClusterView& view) {
  Json peers = Json::array(), groups = Json::array(), streams = Json::array();
  for (const PeerView& peer : view.peers) peers.push_back(peer_json(peer));
  for (const GroupView& group : view.groups) groups.push_back(group_json(group));
  for (const StreamView& stream : view.streams)
    streams.push_back({{"worker", stream.worker},
                       {"group", stream.group},
                       {"peer", stream.peer.value()},
                       {"lag_frames", stream.lag_frames},
                       {"lag_bytes", stream.lag_bytes},
                       {"retransmitted_frames", stream.retransmitted_frames},
                       {"last_commit_us", span_json(stream.last_commit)}});
  return {{"cluster", view.cluster},
          {"node", view.node},
          {"id", view.id.value()},
          {"boot", boot_text(view.boot)},
          {"longest_stall_us", to_us(view.longest_stall)},
          {"peers", peers},
          {"groups", groups},
          {"streams", streams}};
}

std::string peers_text(const ClusterView& view) {
  if (view.peers.empty()) return "No other node is configured.\n";
  TextTable table({{"PEER"}, {"ID", Align::right}, {"BOOT"}, {"STATE"}, {"LAST BEAT"}});
  for (const PeerView& peer : view.peers) {
    std::vector<std::string> links;
    for (const LinkView& link : peer.links)
      links.push_back(fmt::format("{} {}", link.name, span_text(link.quiet)));
    table.row(
        {peer.name, std::to_string(peer.id.value()), boot_text(peer.boot), peer.state, joined(links, ", ")});
  }
  return table.to_string();
}

std::string or_nobody(const std::string& name) {
  return name.empty() ? "nobody" : name;
}

std::string takeover_text(const TakeoverView& takeover) {
  return fmt::format(
      "  last takeover  {} ago, {}: {}\n"
      "                 {}\n",
      span_text(takeover.ago), takeover.what, takeover.why, split_text(takeover));
}

std::string group_text(const GroupView& group) {
  std::vector<std::string> virtual_ips;
  for (const Prefix& prefix : group.virtual_ips) virtual_ips.push_back(prefix.to_string());
  std::string text = fmt::format(
      "\nGroup {} (id {}): {}\n"
      "  why            {}\n"
      "  owner          {}, epoch {}.{}\n"
      "  standby        {} ({})\n"
      "  legs           {} protected, {} unprotected\n"
      "  virtual IPs    {}\n"
      "  ARP            {}, MAC {}\n",
      group.name, group.id.value(), group.state, group.why.empty() ? "-" : group.why, or_nobody(group.owner),
      group.epoch.counter, group.epoch.node.value(), or_nobody(group.standby), name_of(group.standby_state),
      group.protected_legs, group.unprotected_legs, joined(virtual_ips, ", "), group.arp_policy,
      group.mac.to_string());
  if (group.last_takeover) text += takeover_text(*group.last_takeover);
  return text;
}

std::string to_text(const ClusterView& view) {
  std::string text =
      fmt::format("Cluster {}, node {} (id {}, boot {}), longest stall {}\n\n", view.cluster, view.node,
                  view.id.value(), boot_text(view.boot), span_text(view.longest_stall));
  text += peers_text(view);
  for (const GroupView& group : view.groups) text += group_text(group);
  if (view.streams.empty()) return text;
  TextTable table({{"MIRROR WORKER", Align::right},
                   {"GROUP"},
                   {"PEER", Align::right},
                   {"LAG FRAMES", Align::right},
                   {"LAG BYTES", Align::right},
                   {"RETRANSMITTED", Align::right},
                   {"LAST COMMIT", Align::right}});
  for (const StreamView& stream : view.streams)
    table.row({std::to_string(stream.worker), stream.group, std::to_string(stream.peer.value()),
               std::to_string(stream.lag_frames), std::to_string(stream.lag_bytes),
               std::to_string(stream.retransmitted_frames), span_text(stream.last_commit)});
  return text + "\n" + table.to_string();
}

}  // namespace

void add_show_cluster(CommandTable& table, Source& source) {
  table.add({"show cluster",
             "nodes, groups, who owns what and what is protected",
             {},
             [&source](const Arguments&, Output& out) {
               const ClusterView view = source.cluster();
               if (out.format() == Format::json)
                 out.put_json(to_json(view));
               else
                 out.put(to_text(view));
             }});
}

}  // namespace understudy::console
